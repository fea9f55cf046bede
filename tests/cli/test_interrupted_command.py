import os
import signal
import subprocess
import sys
from pathlib import Path

from sparsezoo_hub.training.python_documentation import python_documentation

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart" / "bert-tiny-90.yaml"


def test_ctrl_c_says_how_to_go_on_and_leaves_no_half_of_a_stage(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(document.text for document in python_documentation()[:40]))
    command = [sys.executable, "-m", "sparsezoo_hub.train", str(RECIPE)]
    with subprocess.Popen(
        [*command, "--text", str(text), "--out", str(tmp_path / "run")],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]  # the run, the stage, its first steps
        assert "teacher: step" in lines[2]  # it trains
        process.send_signal(signal.SIGINT)
        lines += process.stdout.readlines()
    assert process.returncode == 75
    assert lines[-1].startswith("interrupted by SIGINT after step ")
    assert not any("Traceback" in line for line in lines)
    left = [path.name for path in (tmp_path / "run" / "stages").glob("*/*")]
    assert left == ["seed-0.checkpoints"]
