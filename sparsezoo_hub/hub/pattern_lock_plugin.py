"""The pattern lock as a transformers plug-in, so that stock ``from_pretrained`` locks a pruned model.

transformers runs third-party code at loading only for quantization methods, so the lock registers as one.
Nothing is quantized, and an ordinary model is left behind: ``.half()``, Trainer and ``torch.compile`` behave
as always.
"""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RemoteEntryNotFoundError
from torch import Tensor
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from sparsezoo_hub.core.masks import mask_digest
from sparsezoo_hub.core.pattern_lock import QUANT_METHOD, PatternLock, masks_from_zeros, trusts_zeros
from sparsezoo_hub.core.targets import linear_modules
from sparsezoo_hub.errors import LockError, MaskError
from sparsezoo_hub.packaging.layout import MASKS
from sparsezoo_hub.packaging.mask_file import read_masks

if TYPE_CHECKING:  # it is what imports us, by way of the quantizers
    from transformers.modeling_utils import PreTrainedModel


@register_quantization_config(QUANT_METHOD)
class PatternLockConfig(QuantizationConfigMixin):
    """The ``quantization_config`` block of a locked model.

    Args:
        sparsity: fraction of zeros over the locked weights.
        mask_digest: ``sha256:…`` of the masks (``core.masks.mask_digest``).
    """

    def __init__(self, sparsity: float, mask_digest: str, **_unused: Any) -> None:
        self.quant_method = QUANT_METHOD  # type: ignore[assignment]  # transformers' enum has its own only
        self.sparsity = sparsity
        self.mask_digest = mask_digest


@register_quantizer(QUANT_METHOD)
class PatternLockLoader(HfQuantizer):
    """Locks the zeros of a model once its weights are loaded."""

    quantization_config: PatternLockConfig

    def _process_model_before_weight_loading(
        self, model: "PreTrainedModel", checkpoint_files: list[str] | None = None, **_unused: Any
    ) -> None:
        self.checkpoint = Path(checkpoint_files[0]) if checkpoint_files else None
        self.download_arguments = _download_arguments()

    def postprocess_model(self, model: "PreTrainedModel", **_unused: Any) -> "PreTrainedModel":
        """Lock the model and take every trace of quantization off it.

        Raises:
            LockError: if weights are not in memory (offloaded), so that nothing can be locked.
            MaskError: if neither the zeros nor the mask file of the checkpoint fit the promised digest.
        """
        for trace in ("hf_quantizer", "is_quantized", "quantization_method"):
            model.__dict__.pop(trace, None)
        _check_present(model)
        masks = masks_from_zeros(model)
        if mask_digest(masks) != self.quantization_config.mask_digest and not trusts_zeros():
            masks = self._masks_from_file(model)
        PatternLock.lock(model, masks)
        return model

    def is_serializable(self) -> bool:
        """Return True: a locked model is saved as it is, zeros in place."""
        return True

    @property
    def is_trainable(self) -> bool:
        """True: training a locked model is what the lock is for."""
        return True

    def _masks_from_file(self, model: "PreTrainedModel") -> dict[str, Tensor]:
        """The zeros alone do not tell: a kept weight became 0, or the head lacks a locked weight."""
        promised = self.quantization_config.mask_digest
        path = None if self.checkpoint is None else _mask_file(self.checkpoint, self.download_arguments)
        if path is None:
            raise MaskError(
                f"{model.name_or_path}: the zeros of the weights do not fit the mask digest {promised[:19]}… "
                f"of config.json, and there is no {MASKS} beside them; add the file, or remove "
                "quantization_config from config.json to load the weights without a lock, or load inside "
                "`with sparsezoo_hub.trusting_zeros():` to lock the zeros that there are"
            )
        masks = read_masks(path)
        if mask_digest(masks) != promised:
            raise MaskError(
                f"{path} is not the mask file that config.json promises: its digest is "
                f"{mask_digest(masks)[:19]}…, expected {promised[:19]}…; download the repository again"
            )
        present = linear_modules(model)
        return {name: mask for name, mask in masks.items() if name in present}


def _check_present(model: "PreTrainedModel") -> None:
    away = [name for name, module in linear_modules(model).items() if module.weight.is_meta]
    if away:
        raise LockError(
            f"{model.name_or_path}: {len(away)} weights are offloaded, {away[0]} for example, and cannot be "
            "locked: load the model into memory (a device_map without offloading)"
        )


def _download_arguments() -> dict[str, Any]:
    """Return the token and the wish for local files that ``from_pretrained`` was called with.

    transformers tells a quantizer neither, and the mask file needs both: so they are read where they are,
    in the running call.
    """
    frame = inspect.currentframe()
    while frame is not None:
        told = frame.f_locals.get("download_kwargs") if frame.f_code.co_name == "from_pretrained" else None
        if isinstance(told, dict):
            return {name: told[name] for name in ("token", "local_files_only") if name in told}
        frame = frame.f_back
    return {}


def _mask_file(checkpoint: Path, download_arguments: dict[str, Any]) -> Path | None:
    """Return the mask file beside a checkpoint, fetched if the checkpoint lies in the Hub's cache."""
    beside = checkpoint.parent / MASKS
    if beside.exists():
        return beside
    snapshot = next((each for each in checkpoint.parents if each.parent.name == "snapshots"), None)
    if snapshot is None or not snapshot.parent.parent.name.startswith("models--"):
        return None
    repository = snapshot.parent.parent
    repo_id = repository.name.removeprefix("models--").replace("--", "/")
    try:
        return Path(
            hf_hub_download(
                repo_id,
                beside.relative_to(snapshot).as_posix(),
                revision=snapshot.name,
                cache_dir=repository.parent,
                **download_arguments,
            )
        )
    except RemoteEntryNotFoundError:
        return None
    except (LocalEntryNotFoundError, HfHubHTTPError) as error:
        raise MaskError(
            f"{repo_id}: the zeros of the weights alone do not tell the pattern, and {MASKS} is not in the "
            f"cache and cannot be fetched ({type(error).__name__}); load once without local_files_only or "
            "HF_HUB_OFFLINE, with a token that may read the repository"
        ) from error
