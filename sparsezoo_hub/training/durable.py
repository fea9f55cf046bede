"""Durable: what has been written stays written when the power fails."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Wait until the disk has a file's bytes, or knows the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until the disk has a folder and all that is in it."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def move_into_place(partial: Path, folder: Path) -> None:
    """Give a finished folder its name, so that after a power cut it is there whole or not at all.

    Raises:
        OSError: if the disk refuses, or something that is not an empty folder has the name.
    """
    sync_tree(partial)
    partial.rename(folder)
    sync(folder.parent)
