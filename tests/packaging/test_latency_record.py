from pathlib import Path

import pytest

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.latency_record import HEADING, record_latency
from sparsezoo_hub.packaging.manifest import Latency, LatencyEntry, read_manifest
from sparsezoo_hub.packaging.verify import require_verified


def entry(way: str, length: int, median: float) -> LatencyEntry:
    return LatencyEntry(way=way, batch=1, length=length, median=median, fastest=median / 2, slowest=median)


def latency(median: float, note: str | None = None) -> Latency:
    return Latency(
        hardware="a machine",
        threads=2,
        rounds=7,
        note=note,
        versions={"torch": "2"},
        entries=(
            entry("dense", 128, 100.0),
            entry("sparse", 128, median),
            entry("dense", 384, 300.0),
            entry("sparse", 384, 60.0),
        ),
    )


def test_a_package_with_a_record_verifies_and_its_card_has_the_ratios(package: Path) -> None:
    before = read_manifest(package / "manifest.json")
    record_latency(package, latency(25.0))
    manifest = require_verified(package)
    assert manifest.measurements.latency == latency(25.0)
    assert manifest.measurements.sizes == before.measurements.sizes
    card = (package / "README.md").read_text()
    section = card[card.index(HEADING) : card.index("## Size of the weights")]
    assert "| sparse | 1 x 128 | 25 | 12.5 to 25 | 4 |" in section
    assert "| sparse | 1 x 384 | 60 | 30 to 60 | 5 |" in section
    assert "7 rounds" in section
    assert "a machine, threads: 2" in section


def test_a_second_record_takes_the_place_of_the_first_and_nothing_else(package: Path) -> None:
    path = package / "README.md"
    record_latency(package, latency(25.0, note="Slow because of X"))
    first = path.read_text()
    assert "Slow because of X." in first
    record_latency(package, latency(50.0))
    second = path.read_text()
    assert second.count(HEADING) == 1
    assert "Slow" not in second
    expected = first.replace("| 25 | 12.5 to 25 | 4 |", "| 50 | 25 to 50 | 2 |")
    assert second == expected.replace("Slow because of X.\n", "")


def test_what_somebody_wrote_into_the_card_stays(package: Path) -> None:
    path = package / "README.md"
    card = path.read_text()
    own = card[: card.index("## Size of the weights")] + "## My words\n\nKeep | these.\n"
    path.write_text(own)
    record_latency(package, latency(25.0))
    assert path.read_text().startswith(own)
    record_latency(package, latency(50.0))
    text = path.read_text()
    assert text.startswith(own)
    assert text.count(HEADING) == 1


def test_a_manifest_without_a_record_is_as_before_there_were_any(package: Path) -> None:
    assert '"latency"' not in (package / "manifest.json").read_text()


def test_a_folder_that_is_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="is no package"):
        record_latency(tmp_path, latency(25.0))
    assert list(tmp_path.iterdir()) == []
