"""Lost workers: when one of the processes that train together dies, the others say so and end."""

import contextlib
from collections.abc import Iterator

import torch.distributed as dist

from sparsezoo_hub.errors import WorkerError

# How gloo's errors about a connection begin, beside torch's own classes.
_GLOO = "gloo/transport"
# And torch's, about a process that reads data.
_DATA = "DataLoader worker"


@contextlib.contextmanager
def lost_workers() -> Iterator[None]:
    """Turn what a broken connection to another process, or the loss of a data worker, raises into one line.

    Raises:
        WorkerError: in place of it.
    """
    try:
        yield
    except RuntimeError as error:
        if str(error).startswith(_DATA):
            raise WorkerError(
                f"a process that reads the text is lost ({str(error).splitlines()[0]}): if it was killed for "
                "memory, give fewer --workers; the same command goes on from the last checkpoint"
            ) from error
        if not isinstance(error, (dist.DistBackendError, dist.DistNetworkError)) and _GLOO not in str(error):
            raise
        raise WorkerError(
            "the connection to another process of this run is lost; the one that ended first has said why, "
            "or was killed (out of memory, for example): the same command goes on from the last checkpoint"
        ) from error
