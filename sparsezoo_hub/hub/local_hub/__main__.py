"""``python -m sparsezoo_hub.hub.local_hub``: the Hub as a process of its own."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from sparsezoo_hub.errors import SparseZooError
from sparsezoo_hub.hub.local_hub.server import serve
from sparsezoo_hub.hub.local_hub.tokens import write_token

DEFAULT_PORT = 8800


def main() -> int:
    """Serve until interrupted, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sparsezoo_hub.hub.local_hub", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="the Hub's folder; created if missing")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="stop when the standard input ends: with the parent"
    )
    arguments = parser.parse_args()
    if arguments.until_stdin_closes:
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    try:
        serve(arguments.root, arguments.port, token=write_token(arguments.root), on_start=_announce)
    except SparseZooError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _announce(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


def _stop_at_end_of_input() -> None:
    # The pipe closes when the parent ends, whatever ended it: no system call that only Linux has.
    # Not through sys.stdin, whose lock a thread may not hold while the interpreter ends.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
