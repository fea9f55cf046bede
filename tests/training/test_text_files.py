import gzip
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.corpora import read_text_files

LINE = "A sentence that is long enough to be text."


def rows(*values: object) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def bad_files() -> dict[str, tuple[str, bytes, str]]:
    """Name of the case: file name, its bytes, what the message must say."""
    good = rows({"text": LINE}, {"text": LINE + " Another."})
    packed = gzip.compress(good)
    return {
        "empty text": ("a.txt", b"", "is empty"),
        "only spaces": ("a.txt", b" \n\t\n ", "no text"),
        "only blank rows": ("a.jsonl", rows({"text": ""}, {"text": " "}), "no text"),
        "empty rows": ("a.jsonl", b"", "is empty"),
        "empty gzip": ("a.jsonl.gz", b"", "is empty"),
        "nothing in gzip": ("a.jsonl.gz", gzip.compress(b""), "no text"),
        "nul bytes": ("a.txt", b"text\0more", "NUL"),
        "latin-1": ("a.txt", "caf\u00e9".encode("latin-1"), "UTF-8 (byte 3)"),
        "binary row": ("a.jsonl", good + b"\xff\xfe\n", "line 3: is not UTF-8"),
        "nul in a row": ("a.jsonl", good + b'{"text": "\0"}\n', "line 3: is binary"),
        "gzip named jsonl": ("a.jsonl", packed, "a.jsonl, line 1"),
        "no text field": ("a.jsonl", rows({"text": LINE}, {"sentence": LINE}), "line 2: needs"),
        "text is a number": ("a.jsonl", rows({"text": LINE}, {"text": 5}), "line 2: needs"),
        "text is null": ("a.jsonl", rows({"text": None}), "line 1: needs"),
        "row is a list": ("a.jsonl", rows([LINE]), "got a list"),
        "row is a string": ("a.jsonl", rows(LINE), "got a str"),
        "broken json": ("a.jsonl", rows({"text": LINE}) + b'{"text": "cut\n', "line 2: is not JSON"),
        "blank lines count": ("a.jsonl", b'\n\n{"text": }\n', "line 3: is not JSON"),
        "deep json": ("a.jsonl", b"[" * 200_000 + b"\n", "line 1: is not JSON"),
        "truncated gzip": ("a.jsonl.gz", packed[:-12], "whole gzip"),
        "damaged gzip": ("a.jsonl.gz", packed[:14] + b"\xff\xff\xff" + packed[17:], "gzip"),
        "not gzip": ("a.jsonl.gz", good, "whole gzip"),
        "unknown suffix": ("a.csv", b"text\nhello\n", "none of .txt, .txt.gz"),
        "no suffix": ("a", b"hello\n", "none of .txt, .txt.gz"),
    }


@pytest.mark.parametrize("case", bad_files())
def test_bad_file_is_refused_in_one_line_with_its_path(case: str, tmp_path: Path) -> None:
    name, content, expected = bad_files()[case]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CorpusError) as caught:
        read_text_files([path])
    message = str(caught.value)
    assert expected in message
    assert str(path) in message
    assert "\n" not in message


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"gone\.txt: does not exist"):
        read_text_files([tmp_path / "gone.txt"])


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="is a folder; name the text files"):
        read_text_files([tmp_path])


def test_no_path_is_refused() -> None:
    with pytest.raises(CorpusError, match="no text file is given"):
        read_text_files([])


def test_same_file_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(LINE)
    with pytest.raises(CorpusError, match="given twice"):
        read_text_files([path, path])


def test_the_three_formats_give_the_same_texts(tmp_path: Path) -> None:
    texts = [f"Document {number}. {LINE}" for number in range(25)]
    (tmp_path / "a.jsonl").write_bytes(rows(*({"id": 1, "text": text} for text in texts)))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    for number, text in enumerate(texts):
        (tmp_path / f"{number:02}.TXT").write_text(text)
    plain = read_text_files([tmp_path / "a.jsonl"])
    packed = read_text_files([str(tmp_path / "a.jsonl.gz")])
    single = read_text_files(sorted(tmp_path.glob("*.TXT")))
    assert [each.text for each in plain] == texts
    assert [each.text for each in packed] == texts
    assert [each.text for each in single] == texts
    assert plain[2].name == "a.jsonl:3"
    assert single[2].name == "02.TXT"


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfHello")
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + rows({"text": "World"}))
    documents = read_text_files([tmp_path / "a.txt", tmp_path / "a.jsonl"])
    assert [each.text for each in documents] == ["Hello", "World"]


def test_every_format_gives_the_same_documents(tmp_path: Path) -> None:
    texts = [f"{LINE} Number {number}." for number in range(30)]
    content = rows(*({"text": text} for text in texts))
    (tmp_path / "a.jsonl").write_bytes(content)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(content))
    with pa.CompressedOutputStream(str(tmp_path / "a.jsonl.zst"), "zstd") as packed:
        packed.write(content)
    pq.write_table(pa.table({"text": texts, "id": range(30)}), tmp_path / "a.parquet", row_group_size=7)
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"):
        documents = read_text_files([tmp_path / name])
        assert [each.text for each in documents] == texts, name
        assert documents[7].name == f"{name}:8"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"sentence": [LINE]}, "a.parquet: needs a column 'text', got sentence"),
        ({"text": [1, 2]}, "a.parquet: its column 'text' must hold strings, got int64"),
        ({"text": [LINE, None]}, "a.parquet, row 2: needs a string under 'text', got null"),
    ],
)
def test_a_parquet_file_without_texts_is_refused(
    table: dict[str, list[object]], said: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=re.escape(f"{tmp_path}/{said}")):
        read_text_files([tmp_path / "a.parquet"])
