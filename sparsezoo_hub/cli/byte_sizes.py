"""Sizes as people write them."""

import re

import typer

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?b)?", re.IGNORECASE)


def parse_bytes(text: str, option: str) -> int:
    """Return the number of bytes that ``1.5GB`` says; one MB is 10^6 bytes.

    Args:
        text: what the user wrote.
        option: where they wrote it, for the message.

    Raises:
        typer.BadParameter: if it is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"must be a size, 100MB for example, got {text!r}", param_hint=option)
    return int(float(match[1]) * _UNITS[(match[2] or "").lower()])
