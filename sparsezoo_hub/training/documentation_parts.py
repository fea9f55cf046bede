"""Documentation parts: which part of Python a passage of its documentation is about."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.corpora import Document, split_by_document
from sparsezoo_hub.training.labelled_text import LabelledSplit, LabelledText
from sparsezoo_hub.training.python_documentation import TOPIC_PREFIX, python_documentation

VALIDATION_FRACTION = 0.2
MIN_WORDS = 30
MIN_EXAMPLES = 2_000
# Below this share of alphabetic words, a paragraph is a table, a grammar or code.
_MIN_PROSE = 0.6

LANGUAGE = "language"

# The chapters of Python's library reference, a label for neighbours; the language reference is the topics.
# asyncio stands with concurrency, which is what its text is about. Chapters that are a collection of
# unrelated modules (text, data types, numbers) are left out: no passage tells that it belongs to one.
# A module that an installation lacks is not missed.
DOCUMENTATION_PARTS: Mapping[str, str] = {
    "concurrency": """
        _threading_local asynchat asyncio asyncore concurrent contextvars multiprocessing queue sched
        selectors signal subprocess threading
    """,
    "development": """
        __future__ _py_abc _pyrepl _sitebuiltins abc annotationlib ast atexit bdb cProfile cmd code codeop
        compileall contextlib dataclasses dis doctest ensurepip imp importlib inspect keyword modulefinder
        opcode pdb pkgutil profile pstats py_compile pyclbr pydoc runpy site symtable sysconfig tabnanny
        timeit token tokenize trace traceback tracemalloc typing unittest venv warnings zipimport
    """,
    "files-and-system": """
        _pyio argparse bz2 compression configparser copyreg csv ctypes curses dbm filecmp fileinput fnmatch
        genericpath getopt getpass glob gzip io linecache logging lzma netrc ntpath optparse os pathlib
        pickle pickletools pipes platform plistlib posixpath pty shelve shutil sqlite3 stat tarfile tempfile
        tomllib tty zipapp zipfile
    """,
    "internet": """
        _markupbase base64 cgi cgitb email ftplib html http imaplib ipaddress json mailbox mailcap mimetypes
        nntplib nturl2path poplib quopri smtpd smtplib socket socketserver ssl telnetlib urllib uu uuid
        webbrowser wsgiref xml xmlrpc
    """,
    LANGUAGE: "",
}
_PART_OF = {module: part for part, modules in DOCUMENTATION_PARTS.items() for module in modules.split()}


@cache
def load_documentation_parts() -> LabelledSplit:
    """Return passages of the installed documentation, each with the part that it documents.

    Raises:
        CorpusError: if too little documentation is installed.
    """
    return split_parts(python_documentation())


def split_parts(documents: Sequence[Document]) -> LabelledSplit:
    """Return the passages of documents as examples; each part's documents are split four to one.

    Args:
        documents: topics and modules of ``python_documentation``.

    Raises:
        CorpusError: if a part has fewer than two documents, or all together fewer than 2,000 passages.
    """
    by_part: dict[str, list[Document]] = {part: [] for part in DOCUMENTATION_PARTS}
    for document in documents:
        part = part_of(document.name)
        if part is not None:
            by_part[part].append(document)
    train: list[LabelledText] = []
    validation: list[LabelledText] = []
    seen: set[str] = set()
    for part, of_part in by_part.items():
        if len(of_part) < 2:  # noqa: PLR2004 - one for each side
            raise CorpusError(
                f"part {part!r} of the documentation has {len(of_part)} documents, 2 are needed: "
                "use a Python with its standard library's sources and pydoc_data"
            )
        for side, chosen in zip(
            (train, validation), split_by_document(of_part, VALIDATION_FRACTION), strict=True
        ):
            for document in chosen:
                side.extend(
                    LabelledText(passage, part, document.name) for passage in passages(document.text, seen)
                )
    if len(train) + len(validation) < MIN_EXAMPLES:
        raise CorpusError(
            f"the documentation gives {len(train) + len(validation):,} passages, {MIN_EXAMPLES:,} "
            "are needed: use a Python with its standard library's sources and pydoc_data"
        )
    return LabelledSplit(tuple(DOCUMENTATION_PARTS), tuple(train), tuple(validation))


def part_of(name: str) -> str | None:
    """Return the part that a document of ``python_documentation`` belongs to, None for no part."""
    if name.startswith(TOPIC_PREFIX):
        return LANGUAGE
    return _PART_OF.get(name.split(".", maxsplit=1)[0])


def passages(text: str, seen: set[str]) -> Iterator[str]:
    """Yield the prose of a document on one line each: paragraphs, joined until they have 30 words.

    Args:
        text: paragraphs are separated by a blank line.
        seen: paragraphs to leave out, because an earlier document has them (topics repeat each other, and
            so do modules that replace one another); those of this document are added.
    """
    words: list[str] = []
    for paragraph in text.split("\n\n"):
        added = paragraph.split()
        key = " ".join(added)
        if key in seen or sum(map(_is_word, added)) < _MIN_PROSE * len(added):
            continue
        seen.add(key)
        words += added
        if len(words) >= MIN_WORDS:
            yield " ".join(words)
            words = []


def _is_word(token: str) -> bool:
    return token.strip("\"'`*().,:;").isalpha()
