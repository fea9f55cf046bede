"""Numbers, sizes and dates as the pages write them."""

from datetime import UTC, datetime

from sparsezoo_hub.packaging.markdown import one_line

LONGEST_TEXT = 200
# A file of any origin may claim any number: beyond this one, digits tell nobody anything.
LARGEST = 10**18
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000
# Three digits, whatever the number.
_DECIMALS = ((9.995, 2), (99.95, 1))
# Between these, as many decimals stand below each other as accuracies are written with.
_LEAST, _MOST = 0.01, 10
_MINUTE = 60
_HOUR = 60 * _MINUTE


def size_words(size: int) -> str:
    """Return a number of bytes in decimal units: `90.9 MB`."""
    if size > LARGEST:
        return "over 1000 PB"
    number, unit = float(size), _UNITS[0]
    for unit in _UNITS:
        if number < _STEP or unit == _UNITS[-1]:
            break
        number /= _STEP
    if unit == _UNITS[0]:
        return f"{size} byte" if size == 1 else f"{size} bytes"
    decimals = next((decimals for below, decimals in _DECIMALS if number < below), 0)
    return f"{number:.{decimals}f} {unit}"


def count_words(count: int) -> str:
    """Return a count with its thousands set apart."""
    return f"{count:,}" if count <= LARGEST else "over 10^18"


def fraction_words(fraction: float) -> str:
    """Return a fraction, as a sparsity or an accuracy is written: `0.900`."""
    return f"{fraction:.3f}"


def short_words(value: float) -> str:
    """Return a measurement with about four digits."""
    return f"{value:.3f}" if _LEAST <= abs(value) < _MOST else f"{value:.4g}"


def duration_words(seconds: float) -> str:
    """Return a time in the largest unit that leaves it two digits."""
    if seconds > LARGEST:
        return "over 10^18 s"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.3g} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} h"


def date_words(iso: str) -> str:
    """Return the day of an ISO 8601 time, in UTC: `21 Nov 2026`."""
    return _parsed(iso).strftime("%-d %b %Y")


def time_words(iso: str) -> str:
    """Return an ISO 8601 time to the minute, in UTC: `21 Nov 2026 19:24 UTC`."""
    return _parsed(iso).strftime("%-d %b %Y %H:%M UTC")


def text_line(value: object) -> str:
    """Return a text of any origin on one line, cut where it gets too long to read."""
    line = one_line(str(value)[: 4 * LONGEST_TEXT])
    return line if len(line) <= LONGEST_TEXT else f"{line[: LONGEST_TEXT - 1]}…"


def _parsed(iso: str) -> datetime:
    return datetime.fromisoformat(iso).astimezone(UTC)
