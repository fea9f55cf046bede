import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging_case import tiny_measurements
from pydantic import ValidationError

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.manifest import (
    ComponentEntry,
    FileEntry,
    Manifest,
    Measurements,
    Parents,
    SparsityEntry,
    hash_file,
    manifest_text,
    read_manifest,
    write_manifest,
)


def tiny_manifest(**changes: object) -> Manifest:
    component = ComponentEntry(numel=10, zeros=9, sparsity=0.9)
    fields = {
        "name": "tiny-90",
        "created": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "files": {"README.md": FileEntry(sha256="a" * 64, size=3)},
        "sparsity": SparsityEntry(target=0.9, overall=0.9, per_component={"w": component}),
        "mask_digest": "sha256:" + "b" * 64,
        "parents": Parents(backbone="random weights"),
        "measurements": tiny_measurements(),
        "versions": {"python": "3.11"},
    }
    return Manifest.model_validate({**fields, **changes})


def test_a_manifest_reads_back_equal(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.json", tiny_manifest())
    assert read_manifest(tmp_path / "manifest.json") == tiny_manifest()


@given(name=st.text(), hardware=st.none() | st.text(), mean=st.floats(0, 1e300))
def test_any_text_and_number_reads_back_equal(name: str, hardware: str | None, mean: float) -> None:
    name, hardware = (
        None if each is None else each.encode(errors="replace").decode() for each in (name, hardware)
    )
    manifest = tiny_manifest(name=name, measurements=Measurements(hardware=hardware, train_seconds=mean))
    content = json.loads(manifest_text(manifest))
    del content["digest"]
    assert Manifest.model_validate(content) == manifest


def test_the_digest_is_over_the_sorted_json_of_everything_else() -> None:
    content = json.loads(manifest_text(tiny_manifest()))
    digest = content.pop("digest")
    canonical = json.dumps(content, indent=2, sort_keys=True) + "\n"
    assert digest == "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
    assert content["created"] == "2026-01-02T03:04:05Z"


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    content = manifest_text(tiny_manifest(measurements=Measurements(hardware="2 cores"))).encode()
    for position, byte in enumerate(content):
        # White space is exchanged for other white space, which leaves the JSON's meaning as it was.
        changed = {ord(" "): ord("\t"), ord("\n"): ord(" ")}.get(byte, byte ^ 1)
        path.write_bytes(content[:position] + bytes([changed]) + content[position + 1 :])
        with pytest.raises(PackageError) as caught:
            read_manifest(path)
        assert "\n" not in str(caught.value)


def test_added_white_space_is_found(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(manifest_text(tiny_manifest()) + "\n")
    with pytest.raises(PackageError, match="was changed after packaging"):
        read_manifest(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"{}", b"[" * 100_000])
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(PackageError, match=r"manifest\.json") as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"manifest\.json is missing: .* is no package"):
        read_manifest(tmp_path / "manifest.json")


def test_a_problem_is_named_with_its_path(tmp_path: Path) -> None:
    content = json.loads(manifest_text(tiny_manifest()))
    content["sparsity"]["overall"] = 1.5
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(PackageError, match=r"\$\.sparsity\.overall: .* got 1\.5"):
        read_manifest(tmp_path / "manifest.json")


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "a/../b", "a//b", "./a", "a\\b", "a/", ".", "", "a\0b", "manifest.json"]
)
def test_paths_that_are_not_plainly_inside_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="files"):
        tiny_manifest(files={name: FileEntry(sha256="a" * 64, size=1)})


@pytest.mark.parametrize(
    "changes",
    [
        {"unknown": 1},
        {"format": 2},
        {"mask_digest": "b" * 64},
        {"created": datetime(2026, 1, 1)},
        {"created": "2026-01-02T03:04:05+02:00"},
    ],
)
def test_unknown_or_odd_fields_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        tiny_manifest(**changes)


def test_a_measurement_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValidationError):
        Measurements(train_seconds=float("nan"))


def test_hash_file_agrees_with_hashlib(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # more than one chunk
    (tmp_path / "f").write_bytes(content)
    entry = hash_file(tmp_path / "f")
    assert (entry.sha256, entry.size) == (hashlib.sha256(content).hexdigest(), len(content))
