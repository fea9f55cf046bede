"""A file larger than one would keep in memory, up to a Hub of one's own and down again.

    python benchmarks/hub_large_file.py [--size 5e9]

Tells the seconds and how much memory the server held; fails with an AssertionError if the file comes back
changed. Needs three times the file's length on the disk of the temporary folder.
"""

import argparse
import hashlib
import random
import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars

from sparsezoo_hub.hub.local_hub.process import running_hub

REPO = "org/m"
BLOCK = 1 << 24


def peak_memory(pid: int) -> int:
    """Return the most memory that a process held since `forget_peak`, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def forget_peak(pid: int) -> int:
    """Count the most memory from now on, and return what the process holds now, in bytes."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_memory(pid)


@dataclass
class LargeTransfer:
    """What `send_up_and_down` measured: seconds, and bytes of the server's memory."""

    up: float
    down: float
    idle: int
    peak_up: int
    peak_down: int


def send_up_and_down(root: Path, folder: Path, size: int, *, inline: bool = False) -> LargeTransfer:
    """Send a file to a server and fetch it again; it must come back as it was.

    Args:
        root: the Hub's folder, new.
        folder: for the file, and the file that comes back; both are deleted again.
        size: its length in bytes.
        inline: inside the commit, as the client does up to 512 MiB, and not by LFS.
    """
    path, back = folder / "large.bin", folder / "back"
    sent = _write(path, size)
    with running_hub(root) as server:
        api = HfApi(
            endpoint=server.url,
            token=server.token,
            headers={} if inline else {"X-Upload-Mode": "lfs"},
        )
        api.create_repo(REPO)
        # Everything that the first of each kind loads is loaded.
        api.upload_file(repo_id=REPO, path_or_fileobj=BytesIO(bytes(2_000_000)), path_in_repo="first.bin")
        api.hf_hub_download(REPO, "first.bin", local_dir=back)
        idle = forget_peak(server.pid)
        began = time.perf_counter()
        # An opened file goes by LFS at any size, which is what a client without Xet does.
        with path.open("rb") as file:
            api.upload_file(
                repo_id=REPO, path_or_fileobj=str(path) if inline else file, path_in_repo="large.bin"
            )
        up = time.perf_counter() - began
        peak_up = peak_memory(server.pid)
        path.unlink()
        forget_peak(server.pid)
        began = time.perf_counter()
        got = Path(api.hf_hub_download(REPO, "large.bin", local_dir=back))
        down = time.perf_counter() - began
        peak_down = peak_memory(server.pid)
    with got.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == sent
    got.unlink()
    return LargeTransfer(up, down, idle, peak_up, peak_down)


def _write(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    block = random.Random(0).randbytes(BLOCK)  # noqa: S311 - not for secrets
    with path.open("wb") as file:
        for start in range(0, size, BLOCK):
            piece = (b"%016d" % start + block)[: min(BLOCK, size - start)]
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=float, default=5e9, help="bytes")
    size = int(parser.parse_args().size)
    disable_progress_bars()
    with TemporaryDirectory() as folder:
        sent = send_up_and_down(Path(folder, "hub"), Path(folder), size)
    print(
        f"{size / 1e9:g} GB up in {sent.up:.0f} s, down in {sent.down:.0f} s; the server held"
        f" {sent.idle / 1e6:.0f} MB before, at most {sent.peak_up / 1e6:.0f} MB while receiving and"
        f" {sent.peak_down / 1e6:.0f} MB while sending"
    )


if __name__ == "__main__":
    main()
