"""What pruning, the lock and distillation cost a training run, beside transformers' own loop.

    python benchmarks/training.py [--rounds 5] [--steps 30] [--layers 6] [--hidden 384] [--batch-size 16]
        [--length 128] [--bf16] [--compile]

Masked language modelling of one BERT (vocabulary 30,522) on the documentation that is installed with
Python, four ways: (a) the loop of transformers' run_mlm.py, its Trainer with its collator; (b) a dense
stage of a recipe; (c) the same while it is pruned to 90 %, a mask update every ten steps, its zeros held;
(d) as (c) with a dense teacher. Each round trains every way for ``--steps`` steps; the first ten do not
count. Prints tokens a second (median, and the range of the rounds) and the ratios that follow, of each
round by itself.
"""

import argparse
import copy
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.utils import logging

from sparsezoo_hub.core.objective_settings import MaskedLM
from sparsezoo_hub.core.recipe import Parent, Recipe, Stage
from sparsezoo_hub.core.stage_settings import Distillation, LearningRate, Pruning
from sparsezoo_hub.training.evaluation import Evaluation
from sparsezoo_hub.training.masked_lm_data import masked_lm_data
from sparsezoo_hub.training.objectives import predict_masked_tokens, with_label_positions
from sparsezoo_hub.training.processes import on_cpu
from sparsezoo_hub.training.progress import EVERY, Progress
from sparsezoo_hub.training.python_documentation import python_documentation
from sparsezoo_hub.training.run_log import RunLog
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.stage_data import StageData
from sparsezoo_hub.training.stage_models import Sources
from sparsezoo_hub.training.stage_training import train_stage
from sparsezoo_hub.training.watching import Watch
from sparsezoo_hub.training.wordpiece import train_wordpiece

VOCABULARY = 30_522
WAYS = {
    "a": "transformers' own loop",
    "b": "dense",
    "c": "pruned and locked",
    "d": "with a teacher",
}


class Stopwatch(TrainerCallback):
    """The seconds from the first steps, which do not count, to the last."""

    def __init__(self) -> None:
        self.times: dict[int, float] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the clock every ten steps, once the device is done."""
        del args, control, kwargs
        if state.global_step % EVERY == 0:
            self.note(state.global_step)

    def watch(self, progress: Progress) -> None:
        """Do the same as a recipe's watcher."""
        self.note(progress.step)

    def note(self, step: int) -> None:
        """Remember when a step was done."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times[step] = time.perf_counter()

    def tokens_per_second(self, tokens: int) -> float:
        """Return the speed, at so many tokens a step."""
        first, last = min(self.times), max(self.times)
        return tokens * (last - first) / (self.times[last] - self.times[first])


class Bench:
    """A model, its data, and the four ways."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        documents = python_documentation()
        tokenizer = train_wordpiece(documents, VOCABULARY)
        tokenizer.save_pretrained(folder / "model")
        self.tokenizer = AutoTokenizer.from_pretrained(folder / "model")
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=options.hidden,
            num_hidden_layers=options.layers,
            num_attention_heads=options.hidden // 64,
            intermediate_size=4 * options.hidden,
        )
        self.model = BertForMaskedLM(config)
        self.model.save_pretrained(folder / "model")
        texts = [document.text for document in documents]
        self.data = masked_lm_data(
            texts, texts[:20], self.tokenizer, max_length=options.length, masking_probability=0.15
        )

    def run(self, way: str) -> float:
        """Return the tokens a second of one way."""
        watch = Stopwatch()
        if way == "a":
            self._run_mlm(watch)
        else:
            self._stage(way, watch)
        return watch.tokens_per_second(self.options.batch_size * self.options.length)

    def teacher_tokens_per_second(self) -> float:
        """Return the speed of the teacher's forward passes alone."""
        device = torch.device("cpu" if on_cpu() else "cuda")
        teacher = copy.deepcopy(self.model).eval().to(device)
        watch = Stopwatch()
        rows = [self.data.train[index] for index in range(self.options.batch_size)]
        collate = DataCollatorForLanguageModeling(self.tokenizer, mlm_probability=0.15)
        batch = with_label_positions({**collate(rows)})
        batch = {name: each.to(device) for name, each in batch.items()}
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=self.options.bf16):
            for step in range(EVERY + 1):
                predict_masked_tokens(teacher, batch)
                if step in {0, EVERY}:
                    watch.note(step)
        return watch.tokens_per_second(self.options.batch_size * self.options.length)

    def _run_mlm(self, watch: Stopwatch) -> None:
        arguments = TrainingArguments(
            output_dir=str(self.folder / "a"),
            max_steps=self.options.steps,
            per_device_train_batch_size=self.options.batch_size,
            learning_rate=1e-4,
            use_cpu=on_cpu(),
            bf16=self.options.bf16,
            torch_compile=self.options.compile,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=not on_cpu(),
        )
        Trainer(
            copy.deepcopy(self.model),
            arguments,
            train_dataset=self.data.train,
            data_collator=DataCollatorForLanguageModeling(self.tokenizer, mlm_probability=0.15),
            callbacks=[watch],
        ).train()

    def _stage(self, way: str, watch: Stopwatch) -> None:
        steps = self.options.steps
        model = str(self.folder / "model")
        pruning = Pruning(final_sparsity=0.9, start=0, end=steps, interval=EVERY)
        stage = Stage(
            name=way,
            model="backbone",
            teacher="backbone" if way == "d" else None,
            distillation=Distillation(hardness=0.5, temperature=2.0) if way == "d" else None,
            objective=MaskedLM(kind="masked_lm"),
            data="text",
            max_length=self.options.length,
            steps=steps,
            batch_size=self.options.batch_size,
            learning_rate=LearningRate(peak=1e-4),
            pruning=None if way == "b" else pruning,
        )
        recipe = Recipe(
            name="benchmark",
            summary="",
            parents={"backbone": Parent(model_type="bert", pretrained=model)},
            stages=(stage,),
            package=way,
        )
        # What a model is worth in the end is not looked at.
        data = StageData(
            self.data.train, self.data.collate, lambda _: Evaluation(0.0, 0.0, 1), mask=self.data.mask
        )
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            run = Path(folder)
            train_stage(
                stage,
                0,
                Sources(model, model if way == "d" else None, self.tokenizer),
                data,
                run / "checkpoints",
                RunOptions(bf16=self.options.bf16, compile=self.options.compile),
                Watch(recipe, run, watch.watch, lambda _: None, RunLog(run / "log.jsonl")),
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("rounds", 5), ("steps", 30), ("layers", 6), ("hidden", 384), ("batch-size", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, Path(folder))
        measures: dict[str, Callable[[], float]] = {way: partial(bench.run, way) for way in WAYS}
        measures["teacher"] = bench.teacher_tokens_per_second
        speeds: dict[str, list[float]] = {name: [] for name in measures}
        for _ in range(options.rounds):
            for name, measure in measures.items():
                speeds[name].append(measure())
    show(speeds)


def show(speeds: dict[str, list[float]]) -> None:
    """Print the speeds, and the ratios of each round."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "CPU"
    console = Console()
    console.print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    table = Table("way", "tokens/s", "range")
    for name, label in {**WAYS, "teacher": "the teacher's forward pass alone"}.items():
        table.add_row(f"{name}: {label}", *_numbers(speeds[name], ",.0f"))
    console.print(table)
    alone = [1 / (1 / c + 1 / teacher) for c, teacher in zip(speeds["c"], speeds["teacher"], strict=True)]
    ratios = Table("ratio", "median", "range")
    for label, one, other in (
        ("dense over transformers' own loop, b/a", speeds["b"], speeds["a"]),
        ("pruned and locked over dense, c/b", speeds["c"], speeds["b"]),
        ("with a teacher over its parts alone", speeds["d"], alone),
    ):
        ratios.add_row(label, *_numbers([x / y for x, y in zip(one, other, strict=True)], ".3f"))
    console.print(ratios)


def _numbers(values: list[float], form: str) -> tuple[str, str]:
    return format(statistics.median(values), form), f"{min(values):{form}} to {max(values):{form}}"


if __name__ == "__main__":
    main()
