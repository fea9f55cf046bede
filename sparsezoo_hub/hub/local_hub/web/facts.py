"""What a repository says about its model: the card's metadata, config.json, a package's manifest."""

import json
import re
from dataclasses import dataclass
from typing import Any

from dulwich.objects import Commit
from dulwich.repo import Repo

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.hub.local_hub.large_files import LargeFiles
from sparsezoo_hub.hub.local_hub.models import describe_model
from sparsezoo_hub.hub.local_hub.trees import find_entry, read_file
from sparsezoo_hub.packaging.layout import MANIFEST
from sparsezoo_hub.packaging.manifest import Manifest, parse_manifest

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
LARGEST_MANIFEST = 4 << 20
LARGEST_CONFIG = 1 << 20

_CLASS = re.compile(r"[A-Z][A-Za-z0-9]{0,40}?(For[A-Z][A-Za-z]{0,40}|Model)")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,60}")


@dataclass(frozen=True, slots=True)
class RepoFile:
    """One file: its path, its length in bytes, and its SHA-256 if it is kept as a large file."""

    path: str
    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model at one commit.

    Args:
        repo_id: `owner/name`.
        sha: the commit.
        modified: when it was made, in ISO 8601.
        created: when the repository was, in ISO 8601.
        tags: what it can be found by.
        pipeline_tag: the Hub's name of its task, if the card says it.
        metadata: the card's, {} if it has none that can be read.
        files: all of them, sorted by path.
        model_type: transformers' name of the architecture, if there is a config.json with one.
        model_class: the class, likewise.
        manifest: of a package, None otherwise.
        problem: why there is no manifest although there is a manifest.json, None otherwise.
    """

    repo_id: str
    sha: str
    modified: str
    created: str
    tags: tuple[str, ...]
    pipeline_tag: str | None
    metadata: dict[str, Any]
    files: tuple[RepoFile, ...]
    model_type: str | None
    model_class: str | None
    manifest: "Manifest | None"
    problem: str | None

    @property
    def total_size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def weights_size(self) -> int | None:
        """Bytes of the weights file, None if there is none."""
        return next((file.size for file in self.files if file.path == WEIGHTS_FILE), None)

    @property
    def auto_class(self) -> str:
        """The class of transformers to load it with."""
        match = _CLASS.fullmatch(self.model_class or "")
        return "AutoModel" if match is None or match[1] == "Model" else f"AutoModel{match[1]}"

    @property
    def is_quantized(self) -> bool:
        """Whether it comes in int8: as a package, or by its card's own word."""
        if self.manifest is not None:
            return self.manifest.quantization is not None
        return self.metadata.get("base_model_relation") == "quantized"

    @property
    def successor(self) -> str | None:
        """What the card names as its new version."""
        named = self.metadata.get("new_version")
        return named if isinstance(named, str) and named else None


def read_facts(repo: Repo, repo_id: str, commit: Commit, large_files: LargeFiles) -> ModelFacts:
    """Return what the files at `commit` say; what cannot be read is left out, never an error."""
    # Who may see it is no fact about its files.
    described = describe_model(repo, repo_id, commit, private=True, sizes=True)
    model_type, model_class = _read_config(read_small(repo, commit, CONFIG_FILE, LARGEST_CONFIG, large_files))
    manifest, problem = None, None
    files = tuple(
        RepoFile(file["rfilename"], file["size"], file.get("lfs", {}).get("sha256"))
        for file in described["siblings"]
    )
    if any(file.path == MANIFEST for file in files):
        content = read_small(repo, commit, MANIFEST, LARGEST_MANIFEST, large_files)
        manifest, problem = _read_manifest(content)
    return ModelFacts(
        repo_id=repo_id,
        sha=described["sha"],
        modified=described["lastModified"],
        created=described["createdAt"],
        tags=tuple(described["tags"]),
        pipeline_tag=described["pipeline_tag"],
        metadata=described["cardData"],
        files=files,
        model_type=model_type,
        model_class=model_class,
        manifest=manifest,
        problem=problem,
    )


def read_small(repo: Repo, commit: Commit, path: str, most: int, large_files: LargeFiles) -> bytes | None:
    """Return a file's content, wherever it is kept; None if there is none, or it is longer than `most`."""
    entry = find_entry(repo, commit, path)
    if entry is None or entry.is_folder:
        return None
    content = read_file(repo, entry)
    if content.size > most:
        return None
    if content.pointer is None:
        return content.blob
    try:
        return large_files.path(content.pointer.sha256).read_bytes()
    except FileNotFoundError:
        return None


def _read_config(content: bytes | None) -> tuple[str | None, str | None]:
    try:
        config = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(config, dict):
        return None, None
    model_type, classes = config.get("model_type"), config.get("architectures")
    first = classes[0] if isinstance(classes, list) and classes else None
    return _name(model_type), _name(first)


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and _NAME.fullmatch(value) else None


def _read_manifest(content: bytes | None) -> tuple[Manifest | None, str | None]:
    if content is None:
        return None, f"{MANIFEST} is longer than {LARGEST_MANIFEST} bytes, or its content is missing"
    try:
        return parse_manifest(content, MANIFEST), None
    except PackageError as error:
        return None, str(error)
