"""Whole text: files that are either as they were or as they are meant to be, whenever a process ends."""

from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file aside and move it into place."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
