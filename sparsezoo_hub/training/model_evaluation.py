"""Evaluation of a model as it lies in a folder."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn
from transformers import AutoTokenizer, PreTrainedModel

from sparsezoo_hub.core.objective_settings import MaskedLM
from sparsezoo_hub.errors import BackboneError
from sparsezoo_hub.training.backbones import num_positions
from sparsezoo_hub.training.corpora import read_text_files, split_by_document
from sparsezoo_hub.training.evaluation import Evaluation, evaluate
from sparsezoo_hub.training.masked_lm_data import MAX_VALIDATION_ROWS
from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.python_documentation import python_documentation
from sparsezoo_hub.training.run_text import VALIDATION_FRACTION
from sparsezoo_hub.training.tasks import find_task, prepare_task
from sparsezoo_hub.training.tasks.task_format import QUESTION
from sparsezoo_hub.training.token_blocks import TokenBlocks
from sparsezoo_hub.training.token_masking import mask_once, padding_collator


def evaluate_masked_lm(folder: Path, text: Sequence[Path], max_length: int) -> Evaluation:
    """Return the masked-LM loss of a model.

    Args:
        folder: model and tokenizer.
        text: files, all of which count; without any, the validation documents of Python's documentation,
            which are those of a run on it.
        max_length: tokens per row.

    Raises:
        BackboneError: if the model has no language model's head, or takes fewer tokens.
        CorpusError: if the text cannot be used.
    """
    objective = OBJECTIVES["masked_lm"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, loading = objective.auto_class.from_pretrained(folder, output_loading_info=True)
    if loading["missing_keys"]:  # transformers would fill them with random numbers
        raise BackboneError(
            f"{folder} has no masked language model's head ({min(loading['missing_keys'])} is missing): "
            "evaluate it on a task instead"
        )
    _check_length(folder, model, max_length)
    documents = (
        read_text_files(text)
        if text
        else split_by_document(python_documentation(), VALIDATION_FRACTION, seed=0)[1]
    )
    probability = MaskedLM(kind="masked_lm").masking_probability
    blocks = TokenBlocks([each.text for each in documents], tokenizer, max_length)
    rows = mask_once(blocks, tokenizer, probability, MAX_VALIDATION_ROWS)
    return evaluate(model, objective, rows, padding_collator(tokenizer))


def evaluate_task(
    folder: Path,
    name: str,
    max_length: int | None = None,
    data: Path | None = None,
    judged: nn.Module | None = None,
) -> Evaluation:
    """Return loss, accuracy and metrics of a model over a task's validation set.

    Args:
        folder: model and tokenizer.
        name: of the task.
        max_length: tokens per example; without it the papers' for this task, or fewer if the model takes
            fewer. Longer texts are cut, longer sentences and contexts go on in further windows.
        data: a folder with the task's files.
        judged: another form of the folder's model, an exported one for example, called in its place.

    Raises:
        BackboneError: if the model was not trained for the task or its labels, or takes fewer tokens.
        CorpusError: if the data cannot be used.
        ValueError: if there is no such task.
    """
    task = find_task(name)
    model, loading = OBJECTIVES[task.kind].auto_class.from_pretrained(folder, output_loading_info=True)
    loaded = task.load(data)
    labels = tuple(model.config.id2label[index] for index in range(model.config.num_labels))
    # A user's own validation files need not show every label that the model knows.
    fits = set(loaded.labels) <= set(labels) if not task.labels else set(loaded.labels) == set(labels)
    if task.kind != QUESTION and not fits:
        raise BackboneError(
            f"{folder} predicts {list(labels)}, task {name} has {list(loaded.labels)}: fine-tune it first"
        )
    if loading["missing_keys"]:  # transformers would fill them with random numbers
        raise BackboneError(
            f"{folder} has no head for {task.kind} ({min(loading['missing_keys'])} is missing): "
            "fine-tune it first"
        )
    if max_length is None:
        max_length = min(task.max_length, num_positions(model.config))
    _check_length(folder, model, max_length)
    prepared = prepare_task(
        task,
        loaded,
        AutoTokenizer.from_pretrained(folder),
        max_length,
        labels=None if task.kind == QUESTION else labels,
        training=False,
    )
    return prepared.evaluate(model if judged is None else judged)


def _check_length(folder: Path, model: PreTrainedModel, max_length: int) -> None:
    longest = num_positions(model.config)
    if max_length > longest:
        raise BackboneError(f"{folder} takes {longest} tokens, max_length is {max_length}: lower it")
