import json
import tracemalloc
from base64 import b64encode
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsezoo_hub.hub.local_hub.byte_ranges import parse_range
from sparsezoo_hub.hub.local_hub.commit_stream import AddFile, CommitRequest, CommitStream, Delete
from sparsezoo_hub.hub.local_hub.large_files import LargeFiles
from sparsezoo_hub.hub.local_hub.lfs_pointer import LfsPointer, is_large, parse_pointer


@pytest.fixture(scope="module")
def large_files(tmp_path_factory: pytest.TempPathFactory) -> LargeFiles:
    store = LargeFiles(tmp_path_factory.mktemp("hub"))
    store.prepare()
    return store


def read(large_files: LargeFiles, blocks: Iterable[bytes]) -> CommitRequest:
    stream = CommitStream(large_files)
    try:
        for block in blocks:
            stream.feed(block)
        return stream.finish()
    finally:
        stream.close()


LINES = st.lists(
    st.one_of(
        st.tuples(st.just("file"), st.text('ab/ü"\\{', min_size=1, max_size=6), st.binary(max_size=300)),
        st.tuples(st.just("deletedFile"), st.text('abü"{', min_size=1, max_size=6), st.just(b"")),
    ),
    max_size=5,
)


def has_good_path(line: tuple[str, str, bytes]) -> bool:
    return "\\" not in line[1] and "" not in line[1].split("/")


@settings(deadline=None)
@given(
    lines=LINES,
    cuts=st.lists(st.integers(1, 200), min_size=1),
    first=st.booleans(),
    last=st.booleans(),
)
def test_a_commit_reads_the_same_however_it_is_cut_into_blocks(
    large_files: LargeFiles,
    lines: list[tuple[str, str, bytes]],
    cuts: list[int],
    first: bool,
    last: bool,
) -> None:
    lines = [line for line in lines if has_good_path(line)]
    body = json.dumps(
        {"key": "header", "value": {"summary": "s", "description": "d", "parentCommit": "abcde"}}
    )
    for key, path, content in lines:
        fields = {"content": b64encode(content).decode(), "path": path, "encoding": "base64"}
        value = fields if first else dict(reversed(fields.items()))
        body += "\n" + json.dumps({"key": key, "value": value if key == "file" else {"path": path}})
    data = (body + "\n" * last).encode()
    blocks, start = [], 0
    while start < len(data):
        end = start + cuts[len(blocks) % len(cuts)]
        blocks.append(data[start:end])
        start = end
    request = read(large_files, blocks)
    assert (request.message, request.parent) == ("s\n\nd", "abcde")
    seen = [
        ("file", operation.path, operation.content.small())
        if isinstance(operation, AddFile)
        else ("deletedFile", operation.path, b"")
        for operation in request.operations
        if isinstance(operation, (AddFile, Delete))
    ]
    assert seen == lines


def test_a_large_file_inside_a_commit_takes_little_memory(large_files: LargeFiles) -> None:
    block = b64encode(bytes(range(256)) * 3 * 1024)
    body = [b'{"key": "header", "value": {"summary": "s"}}\n{"key": "file", "value": {"content": "']
    body += [block] * 64
    body += [b'", "path": "model.safetensors", "encoding": "base64"}}\n']
    tracemalloc.start()
    try:
        (operation,) = read(large_files, body).operations
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(operation, AddFile)
    assert operation.content.size == 64 * 256 * 3 * 1024
    assert peak < 12 << 20


@given(size=st.integers(0, 10**17), sha256=st.binary(min_size=32, max_size=32))
def test_a_pointer_is_read_back(size: int, sha256: bytes) -> None:
    pointer = LfsPointer(sha256.hex(), size)
    assert parse_pointer(pointer.to_bytes()) == pointer
    assert parse_pointer(pointer.to_bytes() + b"\n") is None


def test_what_is_kept_beside_git_follows_from_size_name_and_bytes() -> None:
    assert is_large("a.json", b"{}", (1 << 20) + 1)
    assert is_large("model.safetensors", b"x", 1)
    assert is_large("noise", b"\xff\xfe\xfd\xfc", 4)
    assert not is_large("a.json", b"{}", 1 << 20)
    assert not is_large("empty.bin", b"", 0)
    # A sample of 512 bytes may end inside a character.
    assert not is_large("ü.txt", ("x" + "ü" * 400).encode()[:512], 801)
    assert is_large("cut.txt", ("x" + "ü" * 400).encode()[:512], 512)


@given(start=st.integers(0, 20), stop=st.integers(0, 20), size=st.integers(1, 15))
def test_a_range_is_what_slicing_would_give(start: int, stop: int, size: int) -> None:
    content = bytes(range(size))
    if start < size and stop >= start:
        part = parse_range(f"bytes={start}-{stop}", size)
        assert part is not None
        assert content[part.start : part.stop] == content[start : stop + 1]
