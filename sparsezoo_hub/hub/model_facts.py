"""The facts of a model: what its manifest, its config and its card say, wherever it lies.

Only small files are read; a Hub's are kept in the client's cache, and no weights are fetched.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, is_offline_mode
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

from sparsezoo_hub.core.recipe_families import recipe_family
from sparsezoo_hub.errors import HubError, PackageError
from sparsezoo_hub.hub.cached_packages import cached_packages
from sparsezoo_hub.hub.local_hub.card_metadata import CardError, read_metadata
from sparsezoo_hub.hub.refusals import one_line_refusals
from sparsezoo_hub.hub.snapshot import split_reference
from sparsezoo_hub.packaging.architecture import read_config
from sparsezoo_hub.packaging.layout import CARD, CONFIG, MANIFEST, ONNX_FOLDER, ONNX_INT8_FOLDER, WEIGHTS
from sparsezoo_hub.packaging.manifest import Manifest, TaskResult, read_manifest
from sparsezoo_hub.packaging.markdown import one_line

NEEDED = (MANIFEST, CONFIG)


@dataclass(frozen=True)
class ModelFacts:
    """A package at a glance, as it says of itself.

    Args:
        name: what the user or the Hub calls it: a folder, ``owner/name`` or ``owner/name@revision``.
        repo_id: its repository, None for a folder.
        commit: the repository's commit that was read, None for a folder.
        folder: where the files that were read lie.
        manifest: the package's.
        model_type: transformers' name of the architecture (``bert``).
        architecture: the class (``BertForMaskedLM``).
        successor: the repository that its card names as its new version, None if it names none.
    """

    name: str
    repo_id: str | None
    commit: str | None
    folder: Path
    manifest: Manifest
    model_type: str
    architecture: str
    successor: str | None

    @property
    def family(self) -> str | None:
        """The family of recipes that its own name or its parents' speak of; None if they speak of none."""
        parents = self.manifest.parents
        return recipe_family(self.manifest.name, parents.backbone, parents.base_model)

    @property
    def results(self) -> tuple[TaskResult, ...]:
        """What was measured of this very model."""
        return tuple(each for each in self.manifest.measurements.results if each.label is None)

    @property
    def num_zeros(self) -> int:
        """Zeros among the pruned weights."""
        return sum(each.zeros for each in self.manifest.sparsity.per_component.values())

    @property
    def num_pruned(self) -> int:
        """Entries of the pruned weights, kept or not."""
        return sum(each.numel for each in self.manifest.sparsity.per_component.values())

    @property
    def sizes(self) -> dict[str, int | None]:
        """Bytes of the weights (plain, gzip, compact) and of the ONNX models; None where there is none."""
        sizes, files = self.manifest.measurements.sizes, self.manifest.files
        return {
            "weights": files[WEIGHTS].size if WEIGHTS in files else None,
            "gzip": None if sizes is None else sizes.gzip,
            "compact": None if sizes is None else sizes.compact,
            "onnx": self._size_below(ONNX_FOLDER),
            "int8": self._size_below(ONNX_INT8_FOLDER),
        }

    def _size_below(self, folder: str) -> int | None:
        found = [each.size for name, each in self.manifest.files.items() if name.startswith(f"{folder}/")]
        return sum(found) if found else None

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        sparsity, parents = self.manifest.sparsity, self.manifest.parents
        quantization = self.manifest.quantization
        return {
            "id": self.name,
            "commit": self.commit,
            "name": self.manifest.name,
            "family": self.family,
            "model_type": self.model_type,
            "architecture": self.architecture,
            "dense": self.manifest.is_dense,
            "sparsity": sparsity.overall,
            "target": sparsity.target,
            "pruned_weights": self.num_pruned,
            "zeros": self.num_zeros,
            "results": [each.model_dump(mode="json", exclude={"label"}) for each in self.results],
            "sizes": self.sizes,
            "quantization": None if quantization is None else quantization.method,
            "parents": parents.model_dump(mode="json"),
            "mask_digest": self.manifest.mask_digest,
            "created": self.manifest.created.isoformat(),
            "successor": self.successor,
        }


def read_facts(
    reference: str, *, endpoint: str | None = None, token: str | None = None, more: tuple[str, ...] = ()
) -> ModelFacts:
    """Return the facts of a package.

    Args:
        reference: a folder, ``owner/name`` or ``owner/name@revision``.
        endpoint: the Hub's address; by default HF_ENDPOINT, or the public Hub.
        token: for private repositories.
        more: other small files to have in ``folder`` as well, where the repository has them.

    Raises:
        PackageError: if it is no package, or its manifest or its config cannot be read.
        HubError: if it is no folder, and the Hub does not have it or does not answer.
    """
    folder = Path(reference)
    if folder.is_dir():
        return _facts(folder, reference, None, None)
    repo_id, revision = split_reference(reference)
    if is_offline_mode() and revision is None:
        # A search has fetched a commit, and the client does not know it as the main branch.
        revision = next((each.commit for each in cached_packages() if each.repo_id == repo_id), None)
    api = HfApi(endpoint=endpoint, token=token, library_name="sparsezoo_hub")
    with one_line_refusals(f"{reference} is no folder here; look at it", api.endpoint):
        try:
            return hub_facts(api, repo_id, revision, name=reference, more=more)
        except LocalEntryNotFoundError:
            if not is_offline_mode():
                raise
            raise HubError(
                f"{reference} is no folder here and not in the cache, and HF_HUB_OFFLINE is set: fetch it "
                "once without that"
            ) from None


def hub_facts(
    api: HfApi, repo_id: str, revision: str | None, *, name: str, more: tuple[str, ...] = ()
) -> ModelFacts:
    """Return the facts of a repository at a revision; every file is of the same commit.

    Raises:
        PackageError: if it is no package, or its manifest or its config cannot be read.
        HfHubHTTPError: as the client raises it, if the Hub refuses; and what it raises without a connection.
    """
    for file in NEEDED:
        try:
            path = Path(api.hf_hub_download(repo_id, file, revision=revision))
        except RemoteEntryNotFoundError:
            raise PackageError(f"{name} is no package: {file} is missing there") from None
        revision = path.parent.name  # the commit that the first one is of
    for file in (CARD, *more):
        try:
            api.hf_hub_download(repo_id, file, revision=revision)
        except RemoteEntryNotFoundError:
            continue
        except LocalEntryNotFoundError:  # never fetched, and the Hub cannot be asked
            continue
    return _facts(path.parent, name, repo_id, revision)


def _facts(folder: Path, name: str, repo_id: str | None, commit: str | None) -> ModelFacts:
    manifest = read_manifest(folder / MANIFEST)
    try:
        config = read_config(folder)
    except RecursionError:
        raise PackageError(f"{folder / CONFIG} is nested too deep to be a config") from None
    classes = config.get("architectures")
    return ModelFacts(
        name=name,
        repo_id=repo_id,
        commit=commit,
        folder=folder,
        manifest=manifest,
        model_type=one_line(config.get("model_type") or "unknown"),
        architecture=one_line(classes[0] if isinstance(classes, list) and classes else "unknown"),
        successor=_successor(folder / CARD),
    )


def _successor(card: Path) -> str | None:
    try:
        named = (read_metadata(card.read_text(encoding="utf-8")) or {}).get("new_version")
    except (OSError, UnicodeDecodeError, CardError):
        return None
    return one_line(named) if isinstance(named, str) else None
