"""Mutations: bytes and documents that are nearly right."""

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

NASTY_TEXTS = (
    "", "\0", "../../token", "\ud800", "\u202e", "x" * 3000, "__class__", "NaN", "1e999", "~",
    "!!python/object:os.system",
    "*", "[", "a\nb", "é", "\u2028", "-", "0", "/", "C:\\x", "{{7*7}}", "%s%n", "\x1b[31m", ".git/config",
)  # fmt: skip
_TOKENS = (
    b"\xff", b"\0", b"NaN", b"1e999", b"-1", b"9" * 30, b"9" * 5000, b"null", b"[]", b"{}", b'"', b"\n",
    b"&a ", b"*a",
    b"<<: ", b"!!python/object:os.system {}", b'"\\ud800"', b"../", b"[" * 3000, b"{a: " * 1000, b"? ",
    b"- ", b"\t",
    b"---\n", b"...\n", b": ", b"!!binary x", b"!!timestamp x", b"0x", b"2024-99-99", b"!!set {a}",
    b"%YAML 9.9\n",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", b"!!int x", b"!!float x", b"1:60:99", b"\x85", b"0b2", b".inf",
    b"2024-13-01 x",
)  # fmt: skip
_REPLACEMENTS: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 10**30, -(10**400), 1e308, 1e-320, float("inf"), float("nan"), [], {},
    [[]], [None],
    {"": ""}, {"a": {"b": []}}, [0] * 50, *NASTY_TEXTS,
)  # fmt: skip


def mutated(content: bytes) -> st.SearchStrategy[bytes]:
    """The content with some edits: flipped bits, inserted tokens, missing, doubled or cut pieces."""
    place = st.integers(0, max(0, len(content) - 1))
    edit = st.tuples(
        st.sampled_from(["flip", "insert", "replace", "delete", "double", "cut"]),
        place,
        st.integers(1, 40),
        st.sampled_from(_TOKENS) | st.binary(max_size=6),
    )

    def edited(edits: list[tuple[str, int, int, bytes]]) -> bytes:
        result = content
        for kind, start, length, token in edits:
            end = start + length
            piece = {
                "flip": bytes(each ^ (1 << length % 8) for each in result[start : start + 1])
                + result[start + 1 : end],
                "insert": token + result[start:end],
                "replace": token,
                "delete": b"",
                "double": result[start:end] * 2,
                "cut": b"",
            }[kind]
            result = result[:start] + piece + (b"" if kind == "cut" else result[end:])
        return result

    return st.lists(edit, min_size=1, max_size=4).map(edited)


def values(content: Any) -> st.SearchStrategy[Any]:
    """The document with up to three of its values replaced or taken away; sometimes it is as it was."""
    replacement = st.sampled_from(_REPLACEMENTS) | st.text(max_size=8) | st.integers() | st.floats()
    edit = st.tuples(st.integers(0, 10**6), st.booleans(), replacement)

    def edited(edits: list[tuple[int, bool, Any]]) -> Any:
        result = copy.deepcopy(content)
        for number, away, value in edits:
            places = list(_places(result))
            if not places:
                return value
            holder, key = places[number % len(places)]
            if away:
                del holder[key]
            else:
                holder[key] = copy.deepcopy(value)
        return result

    return st.lists(edit, max_size=3).map(edited)


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    keys = (
        list(content)
        if isinstance(content, dict)
        else range(len(content))
        if isinstance(content, list)
        else ()
    )
    for key in keys:
        yield content, key
        yield from _places(content[key])
