import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sparsezoo_hub"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# What each name of the package may import besides itself: the names to its left in
# errors <- core <- {training | packaging <- hub | runtime} <- cli
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "core": {"errors"},
    "training": {"errors", "core"},
    "packaging": {"errors", "core"},
    "hub": {"errors", "core", "packaging"},
    "runtime": {"errors", "core", "packaging"},
    "cli": {"errors", "core", "training", "packaging", "hub", "runtime"},
    "__init__": {"errors", "core", "hub", "runtime"},
    "train": {"errors", "core", "training", "packaging", "hub", "runtime", "cli"},
}
OF_DISK_AND_NETWORK = {
    "os", "io", "pathlib", "shutil", "tempfile", "glob", "subprocess",
    "socket", "ssl", "http", "urllib", "requests", "httpx", "huggingface_hub", "transformers",
}  # fmt: skip


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported, wherever the statement or the call of ``import_module`` stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            yield from (each.value for each in node.args if isinstance(each, ast.Constant))


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def layers_imported(source: str) -> set[str]:
    names = (name.split(".") for name in imported(ast.parse(source)))
    # The package itself (its version) is free: Python imports it before any of its modules.
    return {
        parts[1] for parts in names if parts[0] == "sparsezoo_hub" and parts[1:2] not in ([], ["__version__"])
    }


def test_every_file_belongs_to_a_known_layer() -> None:
    assert {layer(path) for path in SOURCES} <= set(ALLOWED)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_layer_imports_only_layers_to_its_left(path: Path) -> None:
    assert layers_imported(path.read_text(encoding="utf-8")) - {layer(path)} <= ALLOWED[layer(path)]


def test_core_touches_no_disk_and_no_network() -> None:
    for path in sorted((PACKAGE / "core").rglob("*.py")):
        roots = {name.split(".")[0] for name in imported(ast.parse(path.read_text(encoding="utf-8")))}
        assert not roots & OF_DISK_AND_NETWORK, path


def test_imports_are_absolute() -> None:
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        relative = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
        assert not relative, path


def test_no_file_is_over_300_lines_or_named_for_nothing() -> None:
    for folder in ("sparsezoo_hub", "tests", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, path
            assert path.stem not in {"utils", "helpers", "misc", "common"}, path


@pytest.mark.parametrize(
    ("source", "layers"),
    [
        ("import sparsezoo_hub.core.masks", {"core"}),
        ("from sparsezoo_hub import errors", {"errors"}),
        ("from sparsezoo_hub.hub.push import push", {"hub"}),
        ("def f():\n    from sparsezoo_hub.training import run", {"training"}),
        ("import_module('sparsezoo_hub.hub.plugin')", {"hub"}),
        ("import importlib\nimportlib.import_module('sparsezoo_hub.cli')", {"cli"}),
        ("from sparsezoo_hub import __version__", set()),
        ("import sparsezoo_hub", set()),
        ("import torch", set()),
    ],
)
def test_this_test_sees_every_way_to_import(source: str, layers: set[str]) -> None:
    assert layers_imported(source) == layers
