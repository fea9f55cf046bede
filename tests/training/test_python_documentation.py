import sys
from pathlib import Path

import pytest

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.corpora import Document
from sparsezoo_hub.training.python_documentation import (
    check_size,
    python_documentation,
    read_modules,
    read_topics,
)

MODULE = '''"""Summary.

Explanation of the module.

>>> answer()
42
... more
After the example.

The end.
"""

def function():
    """What a function does.

        Indented.
    """

class Thing:
    "A thing."

    async def method(self):
        "What a method does."

        def hidden():
            "Never seen."

if True:
    def conditional():
        "Under a condition."
'''


def test_the_installed_documentation_has_more_than_a_megabyte_in_unique_documents() -> None:
    documents = python_documentation()
    assert sum(len(each.text.encode()) for each in documents) >= 1_000_000
    names = [each.name for each in documents]
    assert len(set(names)) == len(names)
    assert {"topic:assert", "asyncio.events", "email", "threading", "os"} <= set(names)


def test_installed_packages_tests_and_what_systems_lack_are_no_part_of_it() -> None:
    roots = {each.name.split(".")[0] for each in python_documentation()}
    assert not roots & {"numpy", "torch", "test", "tkinter", "idlelib", "distutils", "site-packages"}


def test_modules_are_read_without_being_imported(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text('"""Loud."""\nraise SystemExit("imported")\n')
    assert read_modules(tmp_path) == [Document("loud", "Loud.")]
    assert "loud" not in sys.modules


def test_a_module_gives_its_docstrings_in_the_order_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(MODULE)
    (document,) = read_modules(tmp_path)
    assert document.text.split("\n\n") == [
        "Summary.",
        "Explanation of the module.",
        "The end.",
        "What a function does.",
        "Indented.",
        "A thing.",
        "What a method does.",
        "Under a condition.",
    ]


def test_modules_are_named_as_they_are_imported_and_sorted(tmp_path: Path) -> None:
    for name in ("b/__init__.py", "b/c.py", "a.py", "b/test/x.py", "site-packages/y.py", "d-e/z.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('"""Text."""')
    assert [each.name for each in read_modules(tmp_path)] == ["a", "b", "b.c"]


def test_a_module_that_cannot_be_parsed_or_documents_nothing_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "binary.py").write_bytes(b'"\xff"')
    (tmp_path / "bare.py").write_text("value = 1\n")
    (tmp_path / "escape.py").write_text('"""Doc \\d."""\n')
    assert [each.name for each in read_modules(tmp_path)] == ["escape"]


def test_a_missing_library_folder_gives_no_modules(tmp_path: Path) -> None:
    assert read_modules(tmp_path / "python311.zip") == []


def test_missing_topics_give_no_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    assert read_topics() == []


def test_headings_lose_their_rules() -> None:
    lines = {line for each in read_topics() for line in each.text.split("\n")}
    assert "Assignment statements" in lines
    assert not [line for line in lines if len(line) > 2 and set(line) in ({"*"}, {"="}, {"-"})]


def test_too_little_documentation_says_what_to_do() -> None:
    with pytest.raises(CorpusError, match=r"has 4 characters, 1,000,000 are needed.*--text"):
        check_size((Document("a", "text"),))
