"""The part of a file that a request asks for."""

import re

from sparsezoo_hub.hub.local_hub.refusals import RefusalError

_SINGLE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE | re.ASCII)


def parse_range(header: str | None, size: int) -> range | None:
    """Return the positions that a `Range` header asks for, None for the whole file.

    Args:
        header: its value; several ranges, or another unit, mean the whole file, as HTTP allows.
        size: length of the file in bytes.

    Raises:
        RefusalError: 416, if it lies outside the file.
    """
    match = _SINGLE.fullmatch(header or "")
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, stop = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        stop = min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= stop:
        raise RefusalError(
            416,
            f"Range {header!r}: must lie inside the file's {size} bytes",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return range(start, stop)
