"""Units hold every document of a corpus once, however it is cut."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from stream_case import TEXTS, json_lines, write_corpus

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.corpora import MOST_CHARACTERS, cut_text
from sparsezoo_hub.training.streams import units
from sparsezoo_hub.training.streams.corpus import split_texts
from sparsezoo_hub.training.streams.unit_reader import RawDocument, UnitReader
from sparsezoo_hub.training.streams.units import Segment, Unit, cut_units
from sparsezoo_hub.training.text_addresses import TextFile, local_file

lines = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30), min_size=1)
in_a_folder = examples(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# Without the time of writing, so that every process collects the same test.
TORN = gzip.compress(b'{"text": "x"}\n' * 99, mtime=0)[:-9]


def documents(files: Sequence[TextFile], unit: Unit, chunk_bytes: int) -> list[list[RawDocument]]:
    reader = UnitReader(files, unit, chunk_bytes)
    chunks = []
    while (chunk := reader.chunk(len(chunks))) is not None:
        chunks.append(chunk)
    return chunks


def texts_of(files: Sequence[TextFile], every: Sequence[Unit], chunk_bytes: int = 500) -> list[str]:
    chunks = (chunk for unit in every for chunk in documents(files, unit, chunk_bytes))
    return [text for chunk in chunks for document in chunk for text in document.texts()]


def cut_anywhere(path: Path, data: st.DataObject) -> list[Segment]:
    cuts = sorted(data.draw(st.sets(st.integers(1, path.stat().st_size - 1), max_size=6)))
    return [Segment(0, start, end, 1) for start, end in zip([0, *cuts], [*cuts, None], strict=True)]


@in_a_folder
@given(texts=lines, data=st.data())
def test_lines_are_read_once_wherever_a_file_is_cut(
    texts: list[str], data: st.DataObject, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(json_lines([f"x{text}" for text in texts]))
    read = [
        document.content
        for segment in cut_anywhere(path, data)
        for chunk in documents([local_file(path)], Unit((segment,)), 50)
        for document in chunk
    ]
    assert read == path.read_bytes().splitlines(keepends=True)


@in_a_folder
@given(texts=lines, data=st.data())
def test_a_text_is_read_once_wherever_its_file_is_cut(
    texts: list[str], data: st.DataObject, tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\n".join([*texts, "end"]).encode())
    read = [
        str(document.content)
        for segment in cut_anywhere(path, data)
        for chunk in documents([local_file(path)], Unit((segment,)), 50)
        for document in chunk
    ]
    assert "".join("".join(read).split()) == "".join(path.read_bytes().decode().lstrip("\ufeff").split())


def test_a_long_text_is_cut_as_it_is_in_memory(tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {number}. " + "word " * (number % 400) for number in range(4000))
    assert len(text) > 3 << 20
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "a.txt").write_text(text)
    for name in ("a.txt", "a.txt.gz"):
        file = local_file(tmp_path / name)
        chunks = documents([file], Unit((Segment(0, 0, None, 1),)), 100_000)
        pieces = [str(document.content).strip() for chunk in chunks for document in chunk]
        assert pieces == list(cut_text(text, MOST_CHARACTERS))


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
def test_units_together_hold_every_document_once(name: str, tmp_path: Path) -> None:
    files = [local_file(write_corpus(tmp_path / name))]
    every = cut_units(files)
    assert len(every) >= 8
    assert sorted(texts_of(files, every)) == sorted(TEXTS)


def test_a_large_corpus_has_units_for_the_most_lanes_in_any_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "SMALLEST_CHUNK", 100)  # as a large one is for the chunks of a large one
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"):
        files = [local_file(write_corpus(tmp_path / name))]
        every = cut_units(files)
        assert len(every) >= units.MOST_LANES, name
        assert sorted(texts_of(files, every)) == sorted(TEXTS), name


def test_small_files_are_put_together(tmp_path: Path) -> None:
    files = [local_file(write_corpus(tmp_path / f"{number}.jsonl", [TEXTS[number]])) for number in range(400)]
    every = cut_units(files)
    assert 1 < len(every) < 10
    assert texts_of(files, every) == TEXTS[:400]
    chunks = documents(files, every[0], 1000)
    assert all(len(chunk) > 2 for chunk in chunks[:-1])


def test_a_chunk_can_be_read_again(tmp_path: Path) -> None:
    files = [local_file(write_corpus(tmp_path / "a.jsonl.gz"))]
    reader = UnitReader(files, cut_units(files)[3], 500)
    second = reader.chunk(1)
    assert reader.chunk(0) != second
    assert reader.chunk(1) == second


def test_repeated_and_empty_documents_of_a_chunk_are_dropped(tmp_path: Path) -> None:
    files = [local_file(write_corpus(tmp_path / "a.jsonl", ["one two", " one  two", "", "three"]))]
    [chunk] = documents(files, cut_units(files)[0], 1000)
    train, validation = split_texts(chunk)
    assert sorted(train + validation) == ["one two", "three"]


def test_a_document_longer_than_a_chunk_is_cut(tmp_path: Path) -> None:
    files = [local_file(write_corpus(tmp_path / "a.jsonl", ["word " * 300_000]))]
    pieces = texts_of(files, cut_units(files))
    assert all(19_990 <= len(piece) <= 40_000 for piece in pieces[:-1])  # without the spaces around
    assert " ".join(pieces).split() == ["word"] * 300_000


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "caf\u00e9 ".encode() * 9 + b"\xe9 x", "a.txt: is not UTF-8 (byte 54)"),
        ("a.txt", b"text \xc3", "a.txt: is not UTF-8 (its end)"),
        ("a.txt", b"a\0b", "a.txt: is binary"),
        ("a.jsonl", b'\n{"text": "x"}\n{"text": 3}\n', "a.jsonl, line 3: needs an object with a string"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}\n[]\n', mtime=0), "a.jsonl.gz, line 2: needs an object"),
        ("a.jsonl.gz", TORN, "a.jsonl.gz: is not a whole gzip file"),
        ("a.jsonl.zst", b"no zstd", "a.jsonl.zst: is not a whole zstd file"),
        ("a.parquet", b"no parquet", "a.parquet: is not a whole parquet file"),
        ("a.jsonl", b"", "a.jsonl: is empty"),
        ("a.csv", b"x", "a.csv: is none of .txt"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    files = [local_file(path)]
    with pytest.raises(CorpusError) as caught:
        texts_of(files, cut_units(files))
    assert str(caught.value).startswith(f"{tmp_path}/{said}")
    assert "\n" not in str(caught.value)
