"""Card claims: whether the results in a card's metadata are those that were measured."""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import CardData, EvalResult

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.card_metadata import card_metadata
from sparsezoo_hub.packaging.manifest import TaskResult


def check_claims(path: Path, data: CardData, results: Sequence[TaskResult]) -> None:
    """Check that a card claims no result that the manifest does not have.

    Args:
        path: the card, for the message.
        data: its metadata.
        results: of the manifest.

    Raises:
        PackageError: if the card claims another value, metric, data set, split or task.
    """
    measured = card_metadata(
        name="any",
        model_type="any",
        architecture="",
        sparse=True,
        results=results,
        base_model=None,
        license_id=None,
    ).eval_results
    known = {_claim(each) for each in measured or ()}
    wrong = [each for each in data.get("eval_results") or () if _claim(each) not in known]
    if wrong:
        task, dataset, split, metric, value = _claim(wrong[0])
        raise PackageError(
            f"{path} claims {metric} {value} on {dataset} ({split}, {task}), which the manifest does not "
            "have; package the model again"
        )


def _claim(result: EvalResult) -> tuple[object, ...]:
    return (
        result.task_type,
        result.dataset_type,
        result.dataset_split,
        result.metric_type,
        # A metric may be any YAML value in a card that somebody else wrote.
        repr(result.metric_value),
    )
