"""Evaluation of a model as it lies in a folder."""

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer, DataCollatorWithPadding, PreTrainedModel

from sparsezoo_hub.core.recipe import MaskedLM
from sparsezoo_hub.errors import BackboneError
from sparsezoo_hub.training.corpora import read_text_files, split_by_document
from sparsezoo_hub.training.evaluation import Evaluation, evaluate
from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.python_documentation import python_documentation
from sparsezoo_hub.training.run import VALIDATION_FRACTION
from sparsezoo_hub.training.stage_data import masked_validation, tokenized_examples
from sparsezoo_hub.training.tasks import find_task


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
    rows = masked_validation(documents, tokenizer, probability, max_length)
    return evaluate(model, objective, rows, DataCollatorWithPadding(tokenizer))


def evaluate_task(folder: Path, name: str, max_length: int) -> Evaluation:
    """Return loss and accuracy of a classifier over a task's validation set.

    Args:
        folder: model and tokenizer.
        name: of the task.
        max_length: tokens per text; longer ones are cut.

    Raises:
        BackboneError: if the model was not trained for the task's labels, or takes fewer tokens.
        ValueError: if there is no such task.
    """
    task = find_task(name)
    objective = OBJECTIVES[task.kind]
    model = objective.auto_class.from_pretrained(folder)
    labels = tuple(model.config.id2label[index] for index in range(model.config.num_labels))
    if set(labels) != set(task.labels):
        raise BackboneError(
            f"{folder} predicts {list(labels)}, task {name} has {list(task.labels)}: fine-tune it first"
        )
    _check_length(folder, model, max_length)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    examples = tokenized_examples(task.load().validation, labels, tokenizer, max_length)
    return evaluate(model, objective, examples, DataCollatorWithPadding(tokenizer))


def _check_length(folder: Path, model: PreTrainedModel, max_length: int) -> None:
    longest = getattr(model.config, "max_position_embeddings", max_length)
    if max_length > longest:
        raise BackboneError(f"{folder} takes {longest} tokens, max_length is {max_length}: lower it")
