"""A token cache changes nothing but the work."""

import os
from pathlib import Path

import pytest
from stream_case import dealt, loader, parts, settings, write_corpus

from sparsezoo_hub.errors import PackageError


def test_batches_are_the_same_with_a_cache_and_come_from_it_alone(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "a.jsonl")
    part = parts({"": path})
    without = list(dealt([loader(settings(part))], 6))
    cached = settings(part, cache=tmp_path / "tokens")
    assert list(dealt([loader(cached)], 6)) == without
    # The text is gone, in all but what tells the file from another.
    before = path.stat()
    path.write_bytes(b"\n" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert list(dealt([loader(cached)], 6)) == without
    assert not list((tmp_path / "tokens").rglob("*.partial"))


def test_another_file_tokenizer_or_row_has_other_tokens(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "a.jsonl")
    cache = tmp_path / "tokens"
    for changed in range(3):
        if changed == 1:
            os.utime(path, ns=(0, 0))
        stream = settings(parts({"": path}), cache=cache, length=30 if changed == 2 else 27)
        next(iter(loader(stream)))
        units = {file.parent for file in cache.rglob("*.safetensors")}
        assert len(units) == 8 * (changed + 1)  # one for each lane


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_a_damaged_file_is_named_and_written_anew(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cached = settings(parts({"": write_corpus(tmp_path / "a.jsonl")}), cache=tmp_path / "tokens")
    first = list(dealt([loader(cached)], 2))
    damaged = sorted((tmp_path / "tokens").rglob("*.safetensors"))[3]
    whole = damaged.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    damaged.write_bytes({"cut": whole[:-100], "flipped": flipped, "emptied": b""}[damage])
    assert list(dealt([loader(cached)], 2)) == first
    assert f"{damaged} is damaged" in caplog.text
    assert damaged.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("a file")
    cached = settings(parts({"": write_corpus(tmp_path / "a.jsonl")}), cache=tmp_path / "tokens")
    with pytest.raises(PackageError, match=r"tokens cannot be written: .* a part of the path is a file"):
        next(iter(loader(cached)))
