import json
import os
import subprocess
import sys
from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path

import onnx
import pytest
import typer

from sparsezoo_hub.cli.app import app

pytest.importorskip("optimum.commands.optimum_cli", reason="optimum 2.3 or newer is not installed")

OURS_ONLY = {"model", "folder", "help"}  # optimum's own form is --model and output


def optimum_cli(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "optimum.commands.optimum_cli", *map(str, arguments)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_command_is_listed_among_optimums_exports() -> None:
    listed = optimum_cli("export", "--help")
    assert listed.returncode == 0, listed.stderr
    assert "sparsezoo" in listed.stdout


def test_it_takes_every_option_of_our_own_export_and_no_other() -> None:
    plugin = import_module("optimum.commands.register.register_sparsezoo")
    parser = ArgumentParser()
    plugin.SparsezooExportCommand.parse_args(parser)
    theirs = {action.dest for action in parser._actions} - {"help", "model", "output"}
    verb = typer.main.get_command(app).commands["export"]  # type: ignore[attr-defined]
    ours = {option.lstrip("-").replace("-", "_") for each in verb.params for option in each.opts}
    assert theirs == ours - OURS_ONLY


def test_a_package_is_exported(written: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text('{"text": "Every good boy does fine."}\n{"text": "Rain, and then the sun again."}\n')
    done = optimum_cli(
        "export", "sparsezoo", "--model", written, "--text", text, "--json", tmp_path / "onnx folder"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["max_abs_diff"] < 1e-4
    onnx.checker.check_model(tmp_path / "onnx folder" / "model.onnx")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--model", ".", "."], 1, "error: . exists: choose another folder, or delete it"),
        (["--model", ".", "--per-channel", "out"], 2, "--per-channel is for --int8"),
        (["out"], 2, "-m/--model"),
    ],
)
def test_a_failure_has_one_message_and_the_exit_code_of_our_own_command(
    arguments: list[str], code: int, message: str, tmp_path: Path
) -> None:
    failed = optimum_cli("export", "sparsezoo", *arguments)
    assert failed.returncode == code
    assert message in " ".join(failed.stderr.split())
    assert "Traceback" not in failed.stderr
