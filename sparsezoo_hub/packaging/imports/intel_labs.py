"""Checkpoints of IntelLabs' Model-Compression-Research-Package (Prune OFA).

While it prunes, ``weight`` is ``weight_original`` with ``weight_mask``. While it distils, the model is under
``student.`` and its teachers under ``teachers.``. While it quantizes, every linear layer has its own
FakeQuantize states and counters.
"""

from sparsezoo_hub.packaging.imports.checkpoint import Checkpoint
from sparsezoo_hub.packaging.imports.decoded import Decoded
from sparsezoo_hub.packaging.imports.masked_weights import has_masked_weights, masked_weights
from sparsezoo_hub.packaging.imports.quantizer_states import without_quantizer_states

_ORIGINAL = "_original"
_STUDENT, _TEACHERS = "student.", "teachers."
# Of its QuantizedLinear; SparseML quantizes inputs in a wrapper.
_OWN_QUANTIZER = ".input_fake_quant."


def is_intel_labs(checkpoint: Checkpoint) -> bool:
    """Return whether the checkpoint has tensors that only IntelLabs' package writes."""
    names = checkpoint.tensors
    return has_masked_weights(names, _ORIGINAL) or any(
        name.startswith(_STUDENT) or _OWN_QUANTIZER in name for name in names
    )


def decode_intel_labs(checkpoint: Checkpoint) -> Decoded:
    """Return the weights and masks; teachers and quantizers are left out.

    Raises:
        PackageError: if masks and weights do not fit.
    """
    plain = without_quantizer_states(checkpoint.tensors)
    teachers = [name for name in plain.tensors if name.startswith(_TEACHERS)]
    student = {
        name.removeprefix(_STUDENT): tensor
        for name, tensor in plain.tensors.items()
        if name not in set(teachers)
    }
    decoded = masked_weights(student, _ORIGINAL)
    return Decoded(decoded.tensors, decoded.masks, (*plain.left_out, *teachers))
