"""A run with everything that a stage can have, data that interrupts it at a chosen row, and its digests."""

import hashlib
import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from run_case import TINY_BERT, tiny_recipe
from safetensors.torch import load_file
from task_case import write_task

from sparsezoo_hub.training.python_documentation import read_topics
from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.stage_data import EVERY, StageData

TASK = "sst2"
BATCH = 4
_COMMON = f"max_length: 16, batch_size: {BATCH}"
_TEXT = f"{_COMMON}, data: text"
_HEAD = f"""
format: 1
name: everything
summary: Every part of a stage that has a state.
{TINY_BERT}
corpora:
  text: {{description: some English}}
stages:
"""
# Steps, and the stage; epochs have few steps, so that most interruptions have whole ones behind them.
STAGES: Mapping[str, tuple[int, str]] = {
    "teacher": (
        6,
        "model: backbone, objective: {kind: masked_lm_next_sentence}, "
        "learning_rate: {peak: 2.0e-3, schedule: restarts, restarts: [{at: 3, peak: 1.0e-3}]}",
    ),
    "magnitude": (
        11,
        "model: teacher, teacher: teacher, objective: {kind: masked_lm_next_sentence}, "
        "distillation: {hardness: 0.5, temperature: 2.0, hidden_states: 0.1, attentions: 0.1}, "
        "learning_rate: {peak: 3.0e-3, schedule: rewinding, warmup_ratio: 0.1}, weight_decay: 0.01, "
        "frozen_embeddings: {until: 4}, evaluations: 4, keep: best, "
        "pruning: {initial_sparsity: 0.3, final_sparsity: 0.9, policy_end: 5, end: 7, interval: 2}",
    ),
    "movement": (
        8,
        "model: teacher, objective: {kind: masked_lm, whole_word: true, short_probability: 0.2}, "
        "learning_rate: {peak: 2.0e-3, schedule: cyclic, cycle: 3}, "
        "pruning: {method: movement, start: 1, final_sparsity: 0.8, policy_end: 5, end: 7, interval: 2}",
    ),
    "surgeon": (
        12,
        "model: teacher, objective: {kind: masked_lm}, learning_rate: {peak: 1.0e-3}, "
        "plateau: {every: 2, min_improvement: 0.5, patience: 2}, "
        "pruning: {method: optimal_bert_surgeon, start: 1, final_sparsity: 0.8, policy_end: 4, end: 5, "
        "interval: 2, fisher: {num_gradients: 3, block_size: 8, batch_size: 2}}",
    ),
    "task-teacher": (
        4,
        "model: teacher, objective: {kind: sequence_classification}, learning_rate: {peak: 2.0e-3}, "
        "optimizer: sgd, group_by_length: true",
    ),
    "int8": (
        10,
        "model: magnitude, teacher: task-teacher, objective: {kind: sequence_classification}, "
        "distillation: {hardness: 0.5, temperature: 2.0}, learning_rate: {peak: 5.0e-3}, weight_decay: 0.1, "
        "lock: true, quantization: {start: 3, freeze: 7}, evaluations: 5, keep: best, fraction: 0.8, "
        "group_by_length: true",
    ),
}


def everything() -> str:
    """The recipe."""
    lines = [
        f"  - {{name: {name}, steps: {steps}, {said}, "
        f"{_TEXT if 'masked_lm' in said else f'{_COMMON}, data: {TASK}'}}}\n"
        for name, (steps, said) in STAGES.items()
    ]
    return f"{_HEAD}{''.join(lines)}package: int8\n"


def write_inputs(folder: Path) -> tuple[list[Path], Path]:
    """Texts of some hundred rows, and a task of some dozen."""
    folder.mkdir(parents=True, exist_ok=True)
    topics = sorted((topic.text for topic in read_topics()), key=len)
    text = folder / "text.jsonl"
    text.write_text("".join(f"{json.dumps({'text': each[:400]})}\n" for each in topics[20:60]))
    return [text], write_task(folder / "tasks", TASK, train=24, validation=8, test=8)


class InterruptingRows:
    """Rows that call ``interrupt`` when one is read the ``at``-th time."""

    def __init__(self, rows: Any, at: int, interrupt: Callable[[], None]) -> None:
        self.rows = rows
        self.left = at
        self.interrupt = interrupt

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        self.left -= 1
        if self.left == 0:
            self.interrupt()
        return self.rows[index]


def interrupt_at(run: RecipeRun, stage: str, at: int, interrupt: Callable[[], None]) -> None:
    """Let a run's data interrupt the training of one stage once.

    Args:
        run: not yet begun with that stage.
        stage: its name.
        at: the number of the row, as it is read.
        interrupt: called then.
    """
    stage_data = run.data.stage_data

    def interrupting(settings: Any, tokenizer: Any, seed: int) -> StageData:
        data = stage_data(settings, tokenizer, seed)
        if settings.name != stage:
            return data
        return replace(data, train=InterruptingRows(data.train, at, interrupt))

    run.data.stage_data = interrupting  # type: ignore[method-assign]


def kill() -> None:
    """Leave training as a killed process does: with what was written before, nothing else."""
    raise ConnectionAbortedError


def terminate() -> None:
    """Send this process SIGTERM."""
    signal.raise_signal(signal.SIGTERM)


def started(out: Path, inputs: tuple[list[Path], Path], every: int) -> RecipeRun:
    """A run that writes a checkpoint after so many steps."""
    texts, tasks = inputs
    return RecipeRun(
        tiny_recipe(everything()),
        out,
        text={EVERY: texts},
        data={EVERY: tasks},
        options=RunOptions(checkpoint_every=every),
    )


def finish(run: RecipeRun) -> None:
    """Make the parents and run all stages."""
    run.make_parents()
    for stage in run.recipe.stages:
        run.run_stage(stage.name)


def digests(out: Path) -> dict[str, str]:
    """Digests of all models' tensors and of their results but for the seconds, by file."""
    found = {}
    for path in sorted((out / "stages").rglob("seed-*/*")):
        if path.suffix == ".safetensors":
            tensors = load_file(path)
            parts = [name.encode() + tensors[name].numpy().tobytes() for name in sorted(tensors)]
        elif path.name == "result.json":
            result = json.loads(path.read_text())
            for timed in (result, *result["curve"]):
                timed.pop("seconds")
            parts = [json.dumps(result, sort_keys=True).encode()]
        else:
            continue
        found[str(path.relative_to(out))] = hashlib.sha256(b"".join(parts)).hexdigest()
    return found
