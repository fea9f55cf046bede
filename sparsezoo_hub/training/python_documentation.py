"""Python documentation: real English text that is installed with Python itself.

Two kinds of documents: each topic of ``pydoc_data.topics`` (the language reference and the built-in
types) and each module of the standard library (its docstrings, read from the source; nothing is imported).
"""

import ast
import inspect
import re
import sysconfig
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.corpora import Document, clean_text

TOPIC_PREFIX = "topic:"
MIN_CHARACTERS = 1_000_000

# Installed packages, tests, and what some systems have and others do not, so that the text is much the
# same everywhere; encodings are tables that take long to parse and document nothing.
_OMITTED = frozenset(
    {
        "__pycache__", "_bundled", "dist-packages", "distutils", "encodings", "idlelib", "idle_test",
        "lib2to3", "pydoc_data", "site-packages", "test", "tests", "tkinter", "turtledemo",
    }
)  # fmt: skip
_HEADING_RULE = re.compile(r"^[ ]*([*=\-~^\"#+])\1{2,}[ ]*$", re.MULTILINE)


@cache
def python_documentation() -> tuple[Document, ...]:
    """Return the documents of the Python that runs: topics first, then modules, each sorted by name.

    Raises:
        CorpusError: if less than a million characters of documentation are installed.
    """
    documents = (*read_topics(), *read_modules(Path(sysconfig.get_path("stdlib"))))
    check_size(documents)
    return documents


def check_size(documents: tuple[Document, ...]) -> None:
    """Refuse documentation that is too small to train on.

    Raises:
        CorpusError: if the documents have less than a million characters together.
    """
    size = sum(len(document.text) for document in documents)
    if size < MIN_CHARACTERS:
        raise CorpusError(
            f"the documentation installed with Python ({sysconfig.get_path('stdlib')}) has {size:,} "
            f"characters, {MIN_CHARACTERS:,} are needed: use a Python with its standard library's "
            "sources and pydoc_data, or text of your own (--text)"
        )


def read_topics() -> list[Document]:
    """Return the topics of ``pydoc_data``, ``topic:assert`` and so on; none where it is not installed."""
    try:
        from pydoc_data.topics import topics  # noqa: PLC0415 - a distribution may leave it out
    except ImportError:
        return []
    documents = (
        Document(TOPIC_PREFIX + name, clean_text(_prose(text))) for name, text in sorted(topics.items())
    )
    return [document for document in documents if document.text]


def read_modules(stdlib: Path) -> list[Document]:
    """Return the docstrings of the standard library, one document per module, named as it is imported.

    Args:
        stdlib: the folder of the standard library; tests, installed packages and the like are left out.
    """
    documents = (Document(_module_name(path, stdlib), _docstrings(path)) for path in _sources(stdlib))
    return sorted((document for document in documents if document.text), key=lambda each: each.name)


def _sources(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name in _OMITTED:
            continue
        if path.suffix == ".py":
            yield path
        elif path.is_dir() and path.name.isidentifier():
            yield from _sources(path)


def _module_name(path: Path, stdlib: Path) -> str:
    parts = path.relative_to(stdlib).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _docstrings(path: Path) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in the library's own strings
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ""  # one unreadable module leaves enough text; what is left is measured
    texts = (clean_text(_prose(_without_examples(inspect.cleandoc(text)))) for text in _documented(tree))
    return "\n\n".join(text for text in texts if text)


def _documented(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        docstring = ast.get_docstring(node, clean=False)
        if docstring:
            yield docstring
    if isinstance(node, ast.Module | ast.ClassDef | ast.If | ast.Try | ast.ExceptHandler):
        for child in ast.iter_child_nodes(node):  # not into functions: what they hide is rarely documented
            yield from _documented(child)


def _prose(text: str) -> str:
    return _HEADING_RULE.sub("", text)


def _without_examples(text: str) -> str:
    """Return a docstring without its interactive examples: each goes on to the next blank line."""
    lines: list[str] = []
    inside = False
    for line in text.split("\n"):
        inside = bool(line.strip()) and (inside or line.lstrip().startswith(">>>"))
        if not inside:
            lines.append(line)
    return "\n".join(lines)
