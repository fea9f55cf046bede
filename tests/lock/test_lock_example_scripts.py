"""transformers' own example scripts keep every zero of a locked model once they have one line more.

They are in no wheel. TRANSFORMERS_EXAMPLES=…/transformers/examples/pytorch pytest tests/lock -k example
runs those that are there; they import `evaluate`, which is no dependency of ours.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from packaging_case import TEXTS, locked_model, wordpiece_tokenizer
from safetensors.torch import load_file
from transformers import AutoModel

from sparsezoo_hub import PatternLock, is_locked
from sparsezoo_hub.core.masks import mask_digest

EXAMPLES = os.environ.get("TRANSFORMERS_EXAMPLES")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EXAMPLES, reason="TRANSFORMERS_EXAMPLES names no folder examples/pytorch"),
    pytest.mark.skipif(importlib.util.find_spec("evaluate") is None, reason="the scripts import evaluate"),
]

LINE = "import sparsezoo_hub\n"
ABOVE = "import transformers\n"

# Where `evaluate.load("accuracy")` looks first: a folder of that name. The real ones come from the Hub.
METRIC = """
import datasets
import evaluate

class Stub(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(description="", citation="", features=datasets.Features({features}))

    def _compute(self, predictions, references):
        return {{"seen": float(len(predictions))}}
"""
TEXT = 'datasets.Value("string")'
METRICS = {
    "accuracy": '{"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}',
    "squad": f'{{"predictions": {{"id": {TEXT}, "prediction_text": {TEXT}}}, "references": {{"id": {TEXT}, '
    f'"answers": datasets.Sequence({{"text": {TEXT}, "answer_start": datasets.Value("int32")}})}}}}',
}

TRAINER = "--do_train --max_steps 3 --report_to none --use_cpu --save_strategy no --logging_steps 1"
LOOP = "--max_train_steps 3"


@dataclass(frozen=True)
class Script:
    path: str
    files: str  # the suffix of the files of its task
    arguments: str


SCRIPTS = {
    "glue": Script(
        "text-classification/run_glue.py", "glue.json", f"{TRAINER} --do_eval --max_seq_length 16"
    ),
    "glue-no-trainer": Script(
        "text-classification/run_glue_no_trainer.py", "glue.json", f"{LOOP} --max_length 16"
    ),
    # No --do_eval: trainer_qa.py reads use_legacy_prediction_loop, which transformers 5 no longer has.
    "qa": Script("question-answering/run_qa.py", "qa.json", f"{TRAINER} --max_seq_length 32 --doc_stride 8"),
    "qa-no-trainer": Script(
        "question-answering/run_qa_no_trainer.py", "qa.json", f"{LOOP} --max_seq_length 32 --doc_stride 8"
    ),
    "mlm": Script("language-modeling/run_mlm.py", "mlm.txt", f"{TRAINER} --do_eval --max_seq_length 16"),
    "mlm-no-trainer": Script(
        "language-modeling/run_mlm_no_trainer.py", "mlm.txt", f"{LOOP} --max_seq_length 16"
    ),
}


def write_task_files(folder: Path) -> None:
    for split in ("train", "validation"):
        rows = [{"sentence": text, "label": number % 2} for number, text in enumerate(TEXTS * 3)]
        (folder / f"{split}-glue.json").write_text("\n".join(json.dumps(row) for row in rows))
        questions = [
            {
                "id": str(number),
                "title": "",
                "context": text,
                "question": "What?",
                "answers": {"text": [text.split()[0]], "answer_start": [0]},
            }
            for number, text in enumerate(TEXTS * 3)
        ]
        (folder / f"{split}-qa.json").write_text(json.dumps({"data": questions}))
        (folder / f"{split}-mlm.txt").write_text("\n".join(TEXTS * 3))
    for name, features in METRICS.items():
        (folder / name).mkdir()
        (folder / name / f"{name}.py").write_text(METRIC.format(features=features))


def run_script(script: Script, folder: Path, line: str) -> None:
    """Run the script with ``line`` above its import of transformers, from a copy of its folder."""
    original = Path(str(EXAMPLES), script.path)
    if not original.exists():
        pytest.skip(f"{script.path} is not in this checkout")
    copied = Path(shutil.copytree(original.parent, folder / "scripts"), original.name)
    text = copied.read_text()
    assert text.count(f"\n{ABOVE}") == 1
    text = text.replace(f"\n{ABOVE}", f"\n{line}{ABOVE}")
    # run_mlm_no_trainer.py reads a name that accelerate 1 no longer has.
    copied.write_text(text.replace("DistributedType.TPU", "DistributedType.XLA"))
    write_task_files(folder)
    completed = subprocess.run(
        [
            *(sys.executable, str(copied), "--model_name_or_path", str(folder / "sparse")),
            *("--train_file", f"train-{script.files}", "--validation_file", f"validation-{script.files}"),
            *("--output_dir", "out", "--learning_rate", "0.01", "--weight_decay", "0.1", "--seed", "1"),
            *("--per_device_train_batch_size", "4", *script.arguments.split()),
        ],
        cwd=folder,
        env={
            **os.environ,
            "HF_HOME": str(folder / "home"),
            "HF_HUB_OFFLINE": "1",
            "ACCELERATE_USE_CPU": "true",
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert completed.returncode == 0, completed.stderr[-4000:]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = locked_model()
    PatternLock.lock(model, PatternLock.masks(model))
    model.save_pretrained(tmp_path / "sparse")
    wordpiece_tokenizer().save_pretrained(tmp_path / "sparse")
    return tmp_path


def layer_weights(folder: Path) -> dict[str, torch.Tensor]:
    weights = load_file(folder / "model.safetensors")
    return {name: value for name, value in weights.items() if ".layer." in name and value.ndim == 2}


def num_revived(folder: Path) -> int:
    after = layer_weights(folder / "out")
    before = layer_weights(folder / "sparse")
    assert after.keys() == before.keys()
    return sum(int((after[name][weight == 0] != 0).sum()) for name, weight in before.items())


@pytest.mark.parametrize("name", SCRIPTS)
def test_with_one_line_the_script_keeps_every_zero_and_trains_the_rest(name: str, folder: Path) -> None:
    run_script(SCRIPTS[name], folder, LINE)
    assert num_revived(folder) == 0
    after = layer_weights(folder / "out")
    for weight, old in layer_weights(folder / "sparse").items():
        assert (after[weight] != old)[old != 0].float().mean() > 0.5, weight
    again = AutoModel.from_pretrained(folder / "out")
    assert is_locked(again)
    before = AutoModel.from_pretrained(folder / "sparse")
    assert mask_digest(PatternLock.masks(again)) == mask_digest(PatternLock.masks(before))


@pytest.mark.parametrize("name", SCRIPTS)
def test_without_the_line_the_script_revives_the_zeros(name: str, folder: Path) -> None:
    run_script(SCRIPTS[name], folder, "")
    assert num_revived(folder) > 1000
