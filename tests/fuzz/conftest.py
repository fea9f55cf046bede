"""How many inputs, and a Hub to send them to. `benchmarks/fuzz.py` asks for more than the tests do."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacked_hub import AttackedHub
from hypothesis import HealthCheck, settings

settings.register_profile(
    "fuzz",
    max_examples=int(os.environ.get("SPARSEZOO_FUZZ_INPUTS", "60")),
    deadline=None,
    database=None,
    # Which input comes when is drawn anew for a long run, and is the same for every run of the tests.
    derandomize="SPARSEZOO_FUZZ_INPUTS" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fuzz")


@pytest.fixture(scope="module")
def attacked_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackedHub]:
    """A real server in a folder that nothing else writes to, with what it says on standard error."""
    outside = tmp_path_factory.mktemp("outside")
    root = outside / "hub"
    command = [sys.executable, "-m", "sparsezoo_hub.hub.local_hub", "--root", str(root), "--port", "0"]
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            [*command, "--until-stdin-closes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as server,
    ):
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        yield AttackedHub(address.removeprefix("http://"), root, (root / "token").read_text().strip(), said)
        server.terminate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that one example after the other may write to."""
    return tmp_path
