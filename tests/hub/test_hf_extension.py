"""The `hf` command with our extension, as it is once installed; no network, and a home of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # every command is a process

DOCUMENT = Path(__file__).parents[2] / "docs" / "hub-library.md"
SCRIPTS = Path(sys.executable).parent

Hf = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def hf(tmp_path_factory: pytest.TempPathFactory) -> Hf:
    """Install the extension by the lines of the documentation, and return the real `hf`."""
    home = tmp_path_factory.mktemp("home")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HOME": str(home),
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_ENDPOINT": "http://127.0.0.1:9",  # nobody answers there
        "COLUMNS": "200",
    }
    (lines,) = re.findall(r"```sh\n(mkdir .*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    subprocess.run(["sh", "-euc", lines], env=environment, check=True)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(SCRIPTS / "hf"), *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def test_it_is_listed_among_the_commands(hf: Hf) -> None:
    assert re.search(r"sparsezoo\s+Sparse encoder models that stay sparse", hf("--help").stdout)
    listed = json.loads(hf("extensions", "list", "--format", "json").stdout)
    assert [each["command"] for each in listed] == ["hf sparsezoo"]


def test_verify_passes_a_package_and_fails_a_changed_one(hf: Hf, written: Path, tmp_path: Path) -> None:
    passed = hf("sparsezoo", "verify", written, "--json")
    assert passed.returncode == 0, passed.stderr
    checks = {check["name"]: check["ok"] for check in json.loads(passed.stdout)}
    assert checks == dict.fromkeys(
        ["manifest", "files", "hashes", "zeros", "digest", "sparsity", "recipe", "card", "onnx"], True
    )
    changed = Path(shutil.copytree(written, tmp_path / "changed"))
    with (changed / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    failed = hf("sparsezoo", "verify", changed)
    assert failed.returncode == 1
    assert "failed hashes: changed after packaging: model.safetensors" in failed.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["recipes", "check", "no-such-recipe"], 1, "error: no-such-recipe is no file, and unknown recipe"),
        (["no-such-verb"], 2, "No such command 'no-such-verb'"),
    ],
)
def test_errors_and_exit_codes_pass_through(hf: Hf, arguments: list[str], code: int, message: str) -> None:
    failed = hf("sparsezoo", *arguments)
    assert failed.returncode == code
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr
