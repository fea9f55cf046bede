"""How large a file on a Hub may be."""

from sparsezoo_hub.hub.local_hub.refusals import RefusalError

# What the public Hub takes of one file, too.
LARGEST_FILE = 50 * 10**9


def check_file_size(name: str, size: int, largest: int) -> None:
    """Refuse a file that is larger than this Hub takes.

    Args:
        name: its path, or its digest, for the message.
        size: its length in bytes.
        largest: how many bytes a file may have.

    Raises:
        RefusalError: 413.
    """
    if size > largest:
        raise RefusalError(
            413,
            f"{name} has {size} bytes, and this Hub takes files of at most {largest}: split it, or ask"
            " whoever runs the Hub for a higher --max-file-size",
        )
