"""Texts of any origin, line by line, with what hides in them made visible."""

import re

MOST_LINES = 5000
LONGEST_LINE = 5_000

# What makes a text look like another one: direction marks, what has no width, and controls that are no
# tab or line end.
_HIDDEN = re.compile(
    "([\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff])"
)

# Pieces of a line, and of each whether it stands for a character that cannot be seen.
Line = list[tuple[str, bool]]


def text_lines(text: str) -> tuple[list[Line], int]:
    """Return the lines of a text, as many and as much of them as a page shows, and how many it has."""
    lines = text.removesuffix("\n").replace("\r\n", "\n").split("\n") if text else []
    return [_pieces(line) for line in lines[:MOST_LINES]], len(lines)


def _pieces(line: str) -> Line:
    shown = line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} …"
    # Splitting by a group gives every other piece to the group.
    return [
        (f"U+{ord(piece):04X}", True) if place % 2 else (piece, False)
        for place, piece in enumerate(_HIDDEN.split(shown))
    ]
