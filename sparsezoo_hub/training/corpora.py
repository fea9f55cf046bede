"""Corpora: documents of clean text, and their split into training and validation."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.text_addresses import TextFile, local_file
from sparsezoo_hub.training.text_files import read_rows

# Fewer documents than this, and they are cut: one long file must still give both sides of a split.
_ENOUGH_DOCUMENTS = 20
_LEAST_CHARACTERS = 1_000
MOST_CHARACTERS = 20_000

# Control characters, and halves of surrogate pairs, which JSON can escape and UTF-8 cannot write.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff]")
_SPACES = re.compile(r"[^\S\n]{2,}|[^\S\n ]")
_LINE_EDGES = re.compile(r" ?\n ?")
_BLANK_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True)
class Document:
    """One text that belongs together: never on both sides of a split.

    Args:
        name: unique within a corpus; decides the side.
        text: clean, not empty; paragraphs are separated by a blank line.
    """

    name: str
    text: str


def clean_text(text: str) -> str:
    """Return ``text`` in Unicode's NFC, without control characters and runs of spaces or blank lines."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _SPACES.sub(" ", _CONTROL.sub(" ", text))
    return _BLANK_LINES.sub("\n\n", _LINE_EDGES.sub("\n", text)).strip()


def read_text_files(paths: Sequence[str | Path | TextFile]) -> list[Document]:
    """Return the documents of text files, clean, in the files' order.

    A ``.txt`` file is one document, a row of ``.jsonl`` or ``.parquet`` is one. Empty documents, and
    those that repeat an earlier one, are dropped. If fewer than 20 are left, each is cut at blank lines
    (else at line ends, else at spaces) into documents of 20,000 to 40,000 characters, or shorter ones
    (1,000 to 2,000 at least) where that gives fewer than about 20.

    Args:
        paths: UTF-8 files, plain or compressed; rows need a string under ``text``.

    Raises:
        CorpusError: if there is no path, one is given twice, or a file is missing, a folder, empty,
            binary, of another format, broken, or without text.
    """
    if not paths:
        raise CorpusError("no text file is given: name at least one .txt, .jsonl or .parquet file")
    documents: list[Document] = []
    seen: set[bytes] = set()
    for file, name in _named(paths):
        has_text = False
        for row, text in read_rows(file):
            cleaned = clean_text(text)
            if not cleaned:
                continue
            has_text = True
            digest = hashlib.sha256(cleaned.encode()).digest()
            if digest not in seen:
                seen.add(digest)
                documents.append(Document(name if row is None else f"{name}:{row}", cleaned))
        if not has_text:
            raise CorpusError(f"{file.address}: holds no text; give a file with text in it")
    return documents if len(documents) >= _ENOUGH_DOCUMENTS else _cut_documents(documents)


def split_by_document(
    documents: Sequence[Document], validation_fraction: float, seed: int = 0
) -> tuple[list[Document], list[Document]]:
    """Return the documents for training and those for validation, each in the given order.

    Documents are visited in the order of a hash of seed and name, and go to validation as long as they fit
    into its share of the characters; if none fits, the shortest goes. So the split depends on the set
    of documents, not on their order.

    Args:
        documents: at least two, with unique names.
        validation_fraction: the share of the characters that validation may take, in (0, 1).
        seed: another seed, another split.

    Raises:
        CorpusError: if there are fewer than two documents, or two of the same name.
        ValueError: if the fraction is outside (0, 1).
    """
    if not 0.0 < validation_fraction < 1.0:
        raise ValueError(f"validation_fraction must lie in (0, 1), got {validation_fraction}")
    if len(documents) < 2:  # noqa: PLR2004 - one for each side
        raise CorpusError(
            f"{len(documents)} document cannot be split into training and validation: give more text, "
            f"at least {2 * _LEAST_CHARACTERS:,} characters or two documents"
        )
    names = {document.name for document in documents}
    if len(names) < len(documents):
        raise CorpusError(f"{len(documents)} documents have only {len(names)} names: name each differently")
    left = validation_fraction * sum(len(document.text) for document in documents)
    chosen: set[str] = set()
    for document in sorted(documents, key=lambda document: _rank(document.name, seed)):
        if len(document.text) <= left and len(chosen) < len(documents) - 1:
            chosen.add(document.name)
            left -= len(document.text)
    if not chosen:
        chosen.add(min(documents, key=lambda each: (len(each.text), _rank(each.name, seed))).name)
    return (
        [document for document in documents if document.name not in chosen],
        [document for document in documents if document.name in chosen],
    )


def text_digest(documents: Iterable[Document]) -> str:
    """Return ``sha256:…`` over the texts in their order; names do not count."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(document.text.encode() + b"\0")
    return f"sha256:{digest.hexdigest()}"


def _rank(name: str, seed: int) -> tuple[bytes, str]:
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest(), name


def _named(paths: Sequence[str | Path | TextFile]) -> Iterable[tuple[TextFile, str]]:
    # The bare file name where it is unique, so that a split does not depend on where the files lie.
    files = [path if isinstance(path, TextFile) else local_file(path) for path in paths]
    bare = [file.name for file in files]
    for index, file in enumerate(files):
        if file in files[:index]:
            raise CorpusError(f"{file.address}: is given twice; name each text file once")
        yield file, file.name if bare.count(file.name) == 1 else file.address


def _cut_documents(documents: Sequence[Document]) -> list[Document]:
    total = sum(len(document.text) for document in documents)
    size = min(max(total // _ENOUGH_DOCUMENTS, _LEAST_CHARACTERS), MOST_CHARACTERS)
    cut: list[Document] = []
    for document in documents:
        pieces = list(cut_text(document.text, size))
        if len(pieces) == 1:
            cut.append(document)
        else:
            cut.extend(Document(f"{document.name}#{number}", piece) for number, piece in enumerate(pieces, 1))
    return cut


def cut_text(text: str, size: int) -> Iterable[str]:
    """Yield the pieces of a text, cut at blank lines, else at line ends, else at spaces, else anywhere.

    Args:
        text: any.
        size: a piece has between this many characters and twice as many; the last may be shorter.
    """
    start = 0
    for end in cuts(text, size):
        yield text[start:end].strip()
        start = end
    yield text[start:].strip()


def cuts(text: str, size: int) -> Iterable[int]:
    """Yield where ``cut_text`` cuts; what comes behind the last cut does not depend on what came before."""
    start = 0
    while len(text) - start > 2 * size:
        ends = (text.find(separator, start + size, start + 2 * size) for separator in ("\n\n", "\n", " "))
        start = next((end for end in ends if end >= 0), start + 2 * size)
        yield start
