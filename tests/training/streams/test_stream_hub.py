"""Text on a Hub: found by address, fixed to a commit, and streamed like files here."""

import json
import os
import subprocess
import sys
from pathlib import Path

from stream_case import TEXTS, dealt, loader, settings, write_corpus

from sparsezoo_hub.hub.local_hub.process import running_hub
from sparsezoo_hub.training.streams.corpus import streamed_corpus
from sparsezoo_hub.training.text_addresses import local_file


def test_text_on_a_hub_is_fixed_to_a_commit_and_gives_the_batches_of_the_same_files_here(
    tmp_path: Path,
) -> None:
    text = tmp_path / "text"
    half = len(TEXTS) // 2
    paths = [write_corpus(text / "a.jsonl", TEXTS[:half]), write_corpus(text / "b.parquet", TEXTS[half:])]
    with running_hub(tmp_path / "hub") as hub:
        completed = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("read_from_hub.py")), str(text)],
            env={
                **{name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"},
                "HF_ENDPOINT": hub.url,
                "HF_TOKEN": hub.token,
                "HF_HOME": str(tmp_path / "cache"),
                "HF_HUB_DISABLE_UPDATE_CHECK": "1",
                "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])]),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert completed.returncode == 0, completed.stderr
    said = json.loads(completed.stdout.splitlines()[-1])
    first = said["first"]
    assert said["commits"] == {"models/owner/text@main": first}
    assert said["files"] == [
        [f"hf://owner/text@{first}/data/{path.name}", path.stat().st_size] for path in paths
    ]
    assert said["later"]
    assert said["in_folder"] == ["a.jsonl", "b.parquet"]
    assert said["new_size"] == len('{"text": "new"}\n')
    assert said["pinned"] == {}
    here = streamed_corpus({"": [local_file(path) for path in paths]}, {})
    assert said["batches"] == list(dealt([loader(settings(here))], 4))
    assert said["in_memory"] == TEXTS[:3]
    gone, nothing, nonsense, none = said["problems"]
    assert gone.startswith("hf://owner/text/data/gone.jsonl: does not exist on the Hub; check owner")
    assert nothing.startswith("hf://owner/nothing/a.jsonl: cannot be looked up: ")
    assert nonsense.startswith("hf://x: cannot be looked up: ")
    assert none.startswith("hf://owner/text/*.txt: there is no file with ")
    assert all("\n" not in problem for problem in said["problems"])
