import os
import signal
from pathlib import Path

from forked_processes import command, ended, errors, forked, wait_until, words

from sparsezoo_hub.training.python_documentation import python_documentation

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart" / "bert-tiny-90.yaml"


def test_ctrl_c_says_how_to_go_on_and_leaves_no_half_of_a_stage(tmp_path: Path) -> None:
    text, said = tmp_path / "text.txt", tmp_path / "said"
    text.write_text("\n\n".join(document.text for document in python_documentation()[:40]))
    process = forked(said, command, "train", str(RECIPE), "--text", str(text), "--out", str(tmp_path / "run"))
    wait_until(lambda: said.exists() and "teacher: step" in said.read_text(), process)  # it trains
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    assert ended([process]) == [75], words(said)
    assert errors(said).read_text().splitlines()[-1].startswith("interrupted by SIGINT after step ")
    assert "Traceback" not in words(said)
    left = [path.name for path in (tmp_path / "run" / "stages").glob("*/*")]
    assert left == ["seed-0.checkpoints"]
