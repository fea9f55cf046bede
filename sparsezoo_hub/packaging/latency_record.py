"""The latency record: what ``benchmark`` measured, written into a package's manifest and card."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparsezoo_hub.packaging import layout
from sparsezoo_hub.packaging.card_template import section_text
from sparsezoo_hub.packaging.manifest import (
    Latency,
    LatencyEntry,
    Manifest,
    hash_file,
    read_manifest,
    write_manifest,
)
from sparsezoo_hub.packaging.markdown import Markdown
from sparsezoo_hub.packaging.placement import placed

HEADING = "## How fast it is"
# The section goes before this one; where somebody took it out of the card, to the card's end.
_NEXT = "## Size of the weights"
_SECTION = re.compile(rf"^{HEADING}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def record_latency(folder: Path, latency: Latency) -> Manifest:
    """Write how fast a package is into its manifest and its card, and return the manifest.

    Whatever else was written into the card stays. What was recorded before is replaced. The package is
    changed as a whole or not at all.

    Args:
        folder: a package, not one inside a Hub cache.
        latency: as measured.

    Raises:
        PackageError: if ``folder`` is no package, or cannot be written.
    """
    before = read_manifest(folder / layout.MANIFEST)
    card = (folder / layout.CARD).read_text(encoding="utf-8")
    with placed(folder) as staging:
        shutil.copytree(folder, staging, dirs_exist_ok=True)
        (staging / layout.CARD).write_bytes(_with_section(card, latency).encode())
        manifest = before.model_copy(
            update={
                "files": {**before.files, layout.CARD: hash_file(staging / layout.CARD)},
                "measurements": before.measurements.model_copy(update={"latency": latency}),
            }
        )
        write_manifest(staging / layout.MANIFEST, manifest)
    return manifest


def _with_section(card: str, latency: Latency) -> str:
    section = section_text(
        "latency.md.j2", {"heading": Markdown(HEADING), "latency": latency, "rows": _rows(latency)}
    )
    card = _SECTION.sub("", card)
    if f"\n{_NEXT}\n" in card:
        return card.replace(f"\n{_NEXT}\n", f"\n{section}\n{_NEXT}\n", 1)
    return f"{card.rstrip()}\n\n{section}"


def _rows(latency: Latency) -> list[Mapping[str, Any]]:
    first: dict[tuple[int, int], LatencyEntry] = {}
    rows: list[Mapping[str, Any]] = []
    for entry in latency.entries:
        reference = first.setdefault((entry.batch, entry.length), entry)
        rows.append({"entry": entry, "ratio": reference.median / entry.median})
    return rows
