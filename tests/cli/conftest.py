import json
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging_case import TEXTS

from sparsezoo_hub.cli.app import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A few texts of different lengths, to compare exports on."""
    path = tmp_path / "text.jsonl"
    path.write_text("\n".join(json.dumps({"text": each}) for each in TEXTS))
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process; returns exit code, standard output and standard error."""

    def run_command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["sparsezoo-hub", *map(str, arguments)])
        capfd.readouterr()  # what the fixtures wrote
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run_command
