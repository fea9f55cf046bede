"""Whole text: files that are either as they were or as they are meant to be, whenever a process ends."""

from pathlib import Path

from sparsezoo_hub.training.durable import sync


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file aside and move it into place; a power cut leaves the old or the new one too."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    sync(partial)
    partial.replace(path)
    sync(path.parent)
