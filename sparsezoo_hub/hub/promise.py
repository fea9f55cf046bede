"""The promise of what is published: whoever loads it tomorrow gets no less than today."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi
from huggingface_hub.errors import RemoteEntryNotFoundError

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.hub.results import measured_values
from sparsezoo_hub.packaging.layout import MANIFEST, ONNX_MODEL
from sparsezoo_hub.packaging.manifest import Manifest, read_manifest

# Of a pattern whose target the recipe does not tell: less than this is the rounding of a few weights.
_NOTICEABLE = 0.001


def published_manifest(api: HfApi, repo_id: str, revision: str) -> Manifest | None:
    """Return the manifest at a revision of a repository; None if there is none, or none that can be read."""
    with TemporaryDirectory() as folder:
        try:
            api.hf_hub_download(repo_id, MANIFEST, revision=revision, local_dir=folder)
            return read_manifest(Path(folder) / MANIFEST)
        except (RemoteEntryNotFoundError, PackageError):
            return None


def check_no_less(now: Manifest, before: Manifest | None, where: str) -> None:
    """Check that a package may take the place of another.

    Args:
        now: what is to be published.
        before: what is in its place, None if that is no package.
        where: what is being done, for the message (``push to org/model``).

    Raises:
        PackageError: if ``now`` promises less; names everything that it lowers.
    """
    if before is None:
        return
    lowered = [*_lowered_pattern(now, before), *_lowered_contents(now, before)]
    if lowered:
        raise PackageError(
            f"{where}: {now.name} {'; it '.join(lowered)}; whoever loads {before.name} from there counts on "
            "that: mend the package, choose another repository or branch, or push with --force"
        )


def _lowered_pattern(now: Manifest, before: Manifest) -> Iterator[str]:
    if before.is_dense:
        return
    if now.is_dense:
        yield f"is dense, {before.name} in its place has a locked pattern"
        return
    target, least = now.sparsity.target, before.sparsity.target
    if target is not None and least is not None:
        if target < least:
            yield f"has the target {target}, {before.name} in its place {least}"
    elif now.sparsity.overall < before.sparsity.overall - _NOTICEABLE:
        yield f"has the sparsity {now.sparsity.overall:.4f}, {before.name} {before.sparsity.overall:.4f}"
    lost = sorted(before.sparsity.per_component.keys() - now.sparsity.per_component.keys())
    if lost:
        yield f"has no pattern in {len(lost)} weights that had one, the first is {lost[0]}"


def _lowered_contents(now: Manifest, before: Manifest) -> Iterator[str]:
    if ONNX_MODEL in before.files and ONNX_MODEL not in now.files:
        yield f"has no {ONNX_MODEL}, which was there"
    if before.quantization is not None and now.quantization is None:
        yield "has no int8 model, which was there (package it with its ranges)"
    kept = measured_values(now)
    missing = [name for name in measured_values(before) if name not in kept]
    if missing:
        yield f"has lost {len(missing)} results: {', '.join(missing)}"
