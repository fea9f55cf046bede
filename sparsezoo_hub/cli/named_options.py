"""Options of the form [NAME=]VALUE."""

from collections.abc import Sequence
from pathlib import Path


def named(values: Sequence[str] | None, default: str) -> dict[str, list[str]]:
    """Return the values by name; those without one under ``default``.

    What comes before a ``=`` is no name if the whole is a path that is there, or in an address.
    """
    found: dict[str, list[str]] = {}
    for value in values or ():
        name, equals, rest = value.partition("=")
        if not equals or "://" in name or Path(value).exists():
            name, rest = default, value
        found.setdefault(name, []).append(rest)
    return found


def named_files(values: Sequence[str] | None) -> dict[str, list[str | Path]]:
    """Return files by corpus, those for every corpus under the empty name; ``hf://`` stays a text."""
    from sparsezoo_hub.training.text_addresses import is_hub_address

    return {
        name: [each if is_hub_address(each) else Path(each) for each in files]
        for name, files in named(values, "").items()
    }


def named_folders(values: Sequence[str] | None) -> dict[str, Path]:
    """Return folders by task, the one for every task under the empty name; the last one given counts."""
    return {name: Path(folders[-1]) for name, folders in named(values, "").items()}


def named_parents(values: Sequence[str] | None) -> dict[str, str]:
    """Return models by parent, one without a name is the backbone; the last one given counts."""
    from sparsezoo_hub.core.recipe import BACKBONE

    return {name: models[-1] for name, models in named(values, BACKBONE).items()}
