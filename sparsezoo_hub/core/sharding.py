"""Sharding: tensors that FSDP2 has spread over processes, whole and back."""

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor with the shards of all processes, which must all ask for it; others as they are."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def placed_like(values: Tensor, tensor: Tensor) -> Tensor:
    """Return values on a tensor's device, sharded as it is, each process from what it has: nothing is sent.

    Args:
        values: whole, the same on every process, or sharded already.
        tensor: of the same shape.
    """
    if isinstance(tensor, DTensor) and not isinstance(values, DTensor):
        return distribute_tensor(
            values.to(tensor.device), tensor.device_mesh, tensor.placements, src_data_rank=None
        )
    return values.to(tensor.device)
