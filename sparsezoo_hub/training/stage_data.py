"""Stage data: the text and the task data that a run's stages learn from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Subset
from transformers import PreTrainedTokenizerBase

from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.objective_settings import MaskedLM, MaskedLMNextSentence, TaskSettings
from sparsezoo_hub.core.recipe import Recipe, Stage
from sparsezoo_hub.errors import RecipeError
from sparsezoo_hub.training.corpora import Document, read_text_files, split_by_document
from sparsezoo_hub.training.evaluation import Evaluation, evaluate
from sparsezoo_hub.training.masked_lm_data import masked_lm_data
from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.python_documentation import python_documentation
from sparsezoo_hub.training.tasks import find_task, prepare_task
from sparsezoo_hub.training.tasks.loading import data_folder
from sparsezoo_hub.training.tasks.task_settings import check_settings

VALIDATION_FRACTION = 0.05
# The name under which options give one text, or one data folder, to every stage.
EVERY = ""


@dataclass(frozen=True)
class StageData:
    """What a stage trains and is judged on.

    Args:
        train: the examples.
        collate: from a list of them to a batch.
        evaluate: judges a model on the validation set; draws no random numbers.
        labels: of a task, in the order of a head's outputs.
        evaluate_test: judges a model on a task's test set, for the last look; None if there is none.
    """

    train: Any
    collate: Callable[[Any], Any]
    evaluate: Callable[[nn.Module], Evaluation]
    labels: tuple[str, ...] = ()
    evaluate_test: Callable[[nn.Module], Evaluation] | None = None


class RunData:
    """The text and the task data of a run; each is read once.

    Args:
        recipe: whose stages name corpora and tasks.
        text: files by the corpus that they are for; ``EVERY`` for all of them.
        data: folders by the task that they are for; ``EVERY`` for all of them.

    Raises:
        RecipeError: if a stage's data is neither a corpus of the recipe nor a task of the stage's kind, a
            corpus has no text, or text or data are given for what the recipe does not have.
    """

    def __init__(
        self,
        recipe: Recipe,
        text: Mapping[str, Sequence[Path]],
        data: Mapping[str, Path],
    ) -> None:
        self.recipe = recipe
        self.text = {name: tuple(files) for name, files in text.items()}
        self.folders = dict(data)
        self._documents: dict[str, tuple[list[Document], list[Document]]] = {}
        self._prepared: dict[tuple[Any, ...], StageData] = {}
        self._check()

    def documents(self, corpus: str) -> tuple[list[Document], list[Document]]:
        """Return training and validation documents of a corpus.

        Raises:
            CorpusError: if a file cannot be used.
        """
        if corpus not in self._documents:
            files = self.files(corpus)
            documents = read_text_files(files) if files else python_documentation()
            self._documents[corpus] = split_by_document(documents, VALIDATION_FRACTION, seed=0)
        return self._documents[corpus]

    def files(self, corpus: str) -> tuple[Path, ...]:
        """Return the files that were given for a corpus, none for one that is on every machine."""
        return self.text.get(corpus, self.text.get(EVERY, ()))

    def folder(self, task: str) -> Path | None:
        """Return the folder that was given for a task."""
        return self.folders.get(task, self.folders.get(EVERY))

    def given_files(self) -> list[tuple[str, Path]]:
        """Return every file that was given, with what it is for."""
        files = [(f"text {name}", path) for name, given in self.text.items() for path in given]
        tasks = {stage.data for stage in self.recipe.stages if not stage.is_language_modelling}
        for task in sorted(tasks):
            folder = self.folder(task)
            if folder is not None:
                inside = sorted(data_folder(find_task(task), folder).iterdir())
                files += [(f"data {task}", path) for path in inside if path.is_file()]
        return files

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
        train, validation = self.documents(stage.data)
        dataset, collate, rows, collate_rows = masked_lm_data(
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
        judge = partial(evaluate, objective=OBJECTIVES[objective.kind], examples=rows, collate=collate_rows)
        return StageData(dataset, collate, judge)

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
        for name in self.text:
            if name != EVERY and name not in self.recipe.corpora:
                known = ", ".join(self.recipe.corpora) or "none"
                raise RecipeError(
                    f"recipe {self.recipe.name} has no corpus {name!r}, its corpora are: {known}"
                )
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
        corpus = self.recipe.corpora[check_choice(stage.data, self.recipe.corpora, "corpus")]
        if corpus.source == "files" and not self.files(stage.data):
            raise ValueError(
                f"corpus {stage.data!r} ({corpus.description}) is not part of this package: "
                f"give your own text with --text FILE or --text {stage.data}=FILE"
            )
