"""Markdown that stays text: names, labels and notes of any origin, put into a card."""

import re
import unicodedata
from typing import Any

_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~$!])")
# What some renderers turn into a link by itself: an address on the web, or one of e-mail.
_LINKED = re.compile(r"(:(?=//)|(?<=www)\.|@)", re.IGNORECASE)
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class Markdown(str):
    """Text that is Markdown already and is put into a card as it is."""

    __slots__ = ()


def one_line(value: object) -> str:
    """Return the text of ``value`` on one line: control characters and runs of white space become a space.

    Direction marks, lone surrogates and line separators are control characters here.
    """
    text = "".join(" " if unicodedata.category(each)[0] in "CZ" else each for each in str(value))
    return " ".join(text.split())


def inline(value: Any) -> str:
    """Return ``value`` as Markdown that shows its text: no markup, HTML, link or cell comes out of it."""
    if isinstance(value, Markdown):
        return value
    text = _LINKED.sub(r"\\\1", _SPECIAL.sub(r"\\\1", one_line(value)))
    return "".join(_HTML.get(each, each) for each in text)
