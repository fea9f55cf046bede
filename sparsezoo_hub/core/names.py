"""Names: the nearest match of an unknown one, and names made from other texts."""

import difflib
import re
from collections.abc import Collection


def check_choice(name: str, choices: Collection[str], what: str) -> str:
    """Return ``name`` unchanged.

    Args:
        name: what was asked for.
        choices: every name there is.
        what: the kind of name, for the message.

    Raises:
        ValueError: if ``name`` is none of the choices; lists them and the nearest match.
    """
    if name in choices:
        return name
    nearest = difflib.get_close_matches(name, list(choices), n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(f"unknown {what} {name!r}, choose one of: {', '.join(sorted(choices))}{hint}")


def slug(text: str) -> str:
    """Return a recipe's name made from a text: lower case, at most 96 characters, anything odd a hyphen."""
    return re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-._")[:96] or "unnamed"
