"""FSDP on a machine without accelerators.

accelerate takes FSDP on accelerators alone: ``AcceleratorState`` looks at it only where the distributed
type is ``MULTI_GPU`` or another of that kind, and ``MULTI_CPU`` is not among them. Here its type is set by
hand, as it would be there; all that follows is accelerate's and the Trainer's code.
"""

from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

# What accelerate launch tells the processes.
ENVIRONMENT = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
}


def take_fsdp_on_a_cpu() -> None:
    """Change accelerate in this process, for good."""
    begin = AcceleratorState.__init__

    def with_fsdp(self: AcceleratorState, *arguments: Any, **named: Any) -> None:
        first = not AcceleratorState._shared_state.get("_mixed_precision")
        begin(self, *arguments, **named)
        if first:
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.distributed_type = DistributedType.FSDP
            self.fsdp_plugin = named["fsdp_plugin"]

    AcceleratorState.__init__ = with_fsdp
