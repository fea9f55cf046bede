"""State dicts of ``torch.nn.utils.prune``: ``weight_orig`` and ``weight_mask``."""

from sparsezoo_hub.packaging.imports.checkpoint import Checkpoint
from sparsezoo_hub.packaging.imports.decoded import Decoded
from sparsezoo_hub.packaging.imports.masked_weights import has_masked_weights, masked_weights

_ORIGINAL = "_orig"


def is_torch_prune(checkpoint: Checkpoint) -> bool:
    """Return whether ``torch.nn.utils.prune`` masks a tensor of the checkpoint."""
    return has_masked_weights(checkpoint.tensors, _ORIGINAL)


def decode_torch_prune(checkpoint: Checkpoint) -> Decoded:
    """Return the weights and masks.

    Raises:
        PackageError: if masks and weights do not fit.
    """
    return masked_weights(checkpoint.tensors, _ORIGINAL)
