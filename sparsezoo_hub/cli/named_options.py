"""Options of the form [NAME=]VALUE."""

from collections.abc import Sequence
from pathlib import Path


def named(values: Sequence[str] | None, default: str) -> dict[str, list[str]]:
    """Return the values by name; those without one under ``default``. A path with ``=`` in it is no name."""
    found: dict[str, list[str]] = {}
    for value in values or ():
        name, equals, rest = value.partition("=")
        if not equals or Path(value).exists():
            name, rest = default, value
        found.setdefault(name, []).append(rest)
    return found


def named_files(values: Sequence[str] | None) -> dict[str, list[Path]]:
    """Return files by corpus, those for every corpus under the empty name."""
    return {name: [Path(each) for each in files] for name, files in named(values, "").items()}


def named_folders(values: Sequence[str] | None) -> dict[str, Path]:
    """Return folders by task, the one for every task under the empty name; the last one given counts."""
    return {name: Path(folders[-1]) for name, folders in named(values, "").items()}


def named_parents(values: Sequence[str] | None) -> dict[str, str]:
    """Return models by parent, one without a name is the backbone; the last one given counts."""
    from sparsezoo_hub.core.recipe import BACKBONE

    return {name: models[-1] for name, models in named(values, BACKBONE).items()}
