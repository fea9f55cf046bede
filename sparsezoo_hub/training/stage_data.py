"""Stage data: the text and the task data that a run's stages learn from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.utils.data import Subset
from transformers import PreTrainedTokenizerBase

from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.objective_settings import MaskedLM, MaskedLMNextSentence, TaskSettings
from sparsezoo_hub.core.recipe import Recipe, Stage
from sparsezoo_hub.errors import RecipeError
from sparsezoo_hub.training.corpora import Document
from sparsezoo_hub.training.evaluation import Evaluation, evaluate
from sparsezoo_hub.training.masked_lm_data import masked_lm_data
from sparsezoo_hub.training.numbered_rows import Mask
from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.run_text import EVERY, RunText
from sparsezoo_hub.training.streams.packed_rows import RowSettings
from sparsezoo_hub.training.streams.streamed_text import StreamedRows, StreamedText
from sparsezoo_hub.training.tasks import find_task, prepare_task
from sparsezoo_hub.training.tasks.loading import data_folder
from sparsezoo_hub.training.tasks.task_settings import check_settings
from sparsezoo_hub.training.text_addresses import TextFile, file_sha256


@dataclass(frozen=True)
class StageData:
    """What a stage trains and is judged on.

    Args:
        train: the examples.
        collate: from a list of them, masked if ``mask`` is there, to a batch; draws no random numbers.
        evaluate: judges a model on the validation set; draws no random numbers.
        labels: of a task, in the order of a head's outputs.
        evaluate_test: judges a model on a task's test set, for the last look; None if there is none.
        mask: of an example and a seed; None if examples are taken as they are.
    """

    train: Any
    collate: Callable[[Any], Any]
    evaluate: Callable[[nn.Module], Evaluation]
    labels: tuple[str, ...] = ()
    evaluate_test: Callable[[nn.Module], Evaluation] | None = None
    mask: Mask | None = None


class RunData:
    """The text and the task data of a run; each is read once.

    Args:
        recipe: whose stages name corpora and tasks.
        text: addresses by the corpus that they are for; ``EVERY`` for all of them.
        data: folders by the task that they are for; ``EVERY`` for all of them.
        options: of the run: whether text is streamed.
        commits: of branches on a Hub, as an earlier start has found them.

    Raises:
        CorpusError: if an address means no file, or text that is not streamed is too large for memory.
        RecipeError: if a stage's data is neither a corpus of the recipe nor a task of the stage's kind, a
            corpus has no text, or text or data are given for what the recipe does not have.
    """

    def __init__(
        self,
        recipe: Recipe,
        text: Mapping[str, Sequence[str | Path]],
        data: Mapping[str, Path],
        options: RunOptions = RunOptions(),  # noqa: B008 - frozen
        commits: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.recipe = recipe
        self.folders = dict(data)
        self._prepared: dict[tuple[Any, ...], StageData] = {}
        self._check()
        self.options = options
        self.text = RunText(recipe, text, options, commits)

    def documents(self, corpus: str) -> tuple[list[Document], list[Document]]:
        """Return training and validation documents of a corpus; of a streamed one, a sample of the first.

        Raises:
            CorpusError: if a file cannot be used.
        """
        return self.text.documents(corpus)

    def files(self, corpus: str) -> tuple[TextFile, ...]:
        """Return the files that were given for a corpus, none for one that is on every machine."""
        return self.text.files(corpus)

    def folder(self, task: str) -> Path | None:
        """Return the folder that was given for a task."""
        return self.folders.get(task, self.folders.get(EVERY))

    def given_files(self) -> list[tuple[str, Path]]:
        """Return every file of task data that was given, with what it is for."""
        files = []
        tasks = {stage.data for stage in self.recipe.stages if not stage.is_language_modelling}
        for task in sorted(tasks):
            folder = self.folder(task)
            if folder is not None:
                inside = sorted(data_folder(find_task(task), folder).iterdir())
                files += [(f"data {task}", path) for path in inside if path.is_file()]
        return files

    def lines(self) -> list[str]:
        """Return what a run's results depend on, a line for each file that was given.

        Raises:
            CorpusError: if one cannot be read.
        """
        of_tasks = [
            f"{what}: {path.resolve()} sha256:{file_sha256(path)}" for what, path in self.given_files()
        ]
        return self.text.lines() + of_tasks

    def first_corpus(self) -> str | None:
        """Return the corpus that a tokenizer is trained on: the first one that a stage learns from."""
        return next((stage.data for stage in self.recipe.stages if stage.is_language_modelling), None)

    def stage_data(self, stage: Stage, tokenizer: PreTrainedTokenizerBase, seed: int) -> StageData:
        """Return the data of a stage, tokenized.

        Args:
            stage: what it is for.
            tokenizer: of the run.
            seed: which examples are taken if the stage takes a fraction of them.

        Raises:
            CorpusError: if a text is too small, or a task's data cannot be used.
        """
        key = (stage.data, stage.max_length, stage.objective.model_dump_json())
        if key not in self._prepared:
            objective = stage.objective
            self._prepared[key] = (
                self._masked_lm(stage, objective, tokenizer)
                if isinstance(objective, MaskedLM)
                else self._task(stage, tokenizer)
            )
        prepared = self._prepared[key]
        if stage.fraction == 1:
            return prepared
        order = torch.randperm(len(prepared.train), generator=torch.Generator().manual_seed(seed))
        taken = order[: max(1, round(stage.fraction * len(prepared.train)))]
        return replace(prepared, train=Subset(prepared.train, taken.tolist()))

    def _masked_lm(self, stage: Stage, objective: MaskedLM, tokenizer: PreTrainedTokenizerBase) -> StageData:
        streamed = self.text.streamed(stage.data)
        if streamed is not None:
            return self._streamed_lm(stage, objective, tokenizer, streamed)
        train, validation = self.documents(stage.data)
        dataset, mask, rows, collate = masked_lm_data(
            [each.text for each in train],
            [each.text for each in validation],
            tokenizer,
            max_length=stage.max_length,
            masking_probability=objective.masking_probability,
            whole_word=objective.whole_word,
            short_probability=objective.short_probability,
            next_sentence=isinstance(objective, MaskedLMNextSentence),
            seed=0,
        )
        judge = partial(evaluate, objective=OBJECTIVES[objective.kind], examples=rows, collate=collate)
        return StageData(dataset, collate, judge, mask=mask)

    def _streamed_lm(
        self, stage: Stage, objective: MaskedLM, tokenizer: PreTrainedTokenizerBase, text: StreamedText
    ) -> StageData:
        next_sentence = isinstance(objective, MaskedLMNextSentence)
        rows = StreamedRows(
            text,
            tokenizer,
            RowSettings(stage.max_length, objective.short_probability, next_sentence),
            objective.masking_probability,
            objective.whole_word,
            self.options.token_cache,
        )
        judge = partial(
            evaluate,
            objective=OBJECTIVES[objective.kind],
            examples=rows.validation(),
            collate=rows.collate,
        )
        return StageData(rows, rows.collate, judge, mask=rows.masking)

    def _task(self, stage: Stage, tokenizer: PreTrainedTokenizerBase) -> StageData:
        task = find_task(stage.data)
        data = task.load(self.folder(stage.data), self.recipe.tasks.get(stage.data))
        prepared = prepare_task(task, data, tokenizer, stage.max_length)
        return StageData(
            prepared.train,
            prepared.collate,
            prepared.evaluate,
            prepared.labels,
            prepared.evaluate_test if data.test else None,
        )

    def _check(self) -> None:
        """Refuse what a later stage would only find after hours."""
        for index, stage in enumerate(self.recipe.stages):
            try:
                self._check_stage(stage)
            except ValueError as error:
                raise RecipeError(f"recipe {self.recipe.name}, $.stages[{index}].data: {error}") from None
        tasks = [stage.data for stage in self.recipe.stages if not stage.is_language_modelling]
        for name in self.folders:
            if name != EVERY and name not in tasks:
                known = ", ".join(dict.fromkeys(tasks)) or "none"
                raise RecipeError(f"recipe {self.recipe.name} has no task {name!r}, its tasks are: {known}")

    def _check_stage(self, stage: Stage) -> None:
        if not stage.is_language_modelling:
            task = find_task(stage.data)
            if task.kind != stage.objective.kind:
                raise ValueError(
                    f"task {stage.data} is for {task.kind}, the stage's objective is {stage.objective.kind}"
                )
            check_settings(self.recipe.tasks.get(stage.data, TaskSettings()), task.kind)
            task.check(self.folder(stage.data))
            return
        check_choice(stage.data, self.recipe.corpora, "corpus")
