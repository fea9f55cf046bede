"""The metadata of a card: the YAML block that the Hub reads."""

import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import CardData, EvalResult, ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined] # public, not in __all__

from sparsezoo_hub.core.pattern_lock import QUANT_METHOD
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.manifest import TaskResult
from sparsezoo_hub.packaging.markdown import one_line

LIBRARY = "transformers"
LOCK_TAG = QUANT_METHOD.replace("_", "-")
TAGS = ("sparsezoo-hub",)
# Only of a model with a pattern. A dense one has no tag for that: on the Hub, "dense" is said of retrieval.
SPARSE_TAGS = ("sparse", "sparsity", "pruned", LOCK_TAG)

# The ending of a transformers class: the Hub's task, and the class to load with.
HEADS = {
    "ForMaskedLM": ("fill-mask", "AutoModelForMaskedLM"),
    "ForPreTraining": ("fill-mask", "AutoModelForPreTraining"),
    "ForSequenceClassification": ("text-classification", "AutoModelForSequenceClassification"),
    "ForTokenClassification": ("token-classification", "AutoModelForTokenClassification"),
    "ForQuestionAnswering": ("question-answering", "AutoModelForQuestionAnswering"),
}
_NO_HEAD = ("feature-extraction", "AutoModel")


def head_of(architecture: str) -> tuple[str, str]:
    """Return the Hub's task and the Auto class for a transformers class like ``BertForMaskedLM``."""
    return next((head for ending, head in HEADS.items() if architecture.endswith(ending)), _NO_HEAD)


def hub_id(name: str | None) -> str | None:
    """Return ``name`` if it can be a Hub repository's id and is no folder here, else None."""
    return name if name is not None and _is_hub_id(name) and not Path(name).exists() else None


def card_metadata(
    *,
    name: str,
    model_type: str,
    architecture: str,
    sparse: bool,
    results: Sequence[TaskResult],
    base_model: str | None,
    license_id: str | None,
) -> ModelCardData:
    """Return the metadata of a card; only results of this very model are claimed.

    Args:
        name: the model's name, for the model index.
        model_type: transformers' name of the architecture, becomes a tag.
        architecture: the class, decides the task.
        sparse: whether it has a pattern; a dense model is not tagged as if it had.
        results: those with a ``label`` are about other models and are left out.
        base_model: Hub id; left out if it can be none.
        license_id: the Hub's name of the licence, None if the licence is not known.
    """
    own = [result for result in results if result.label is None]
    task, _ = head_of(architecture)
    return ModelCardData(
        language="en",
        license=None if license_id is None else one_line(license_id),
        library_name=LIBRARY,
        pipeline_tag=task,
        tags=[*_tags(sparse), one_line(model_type)],
        base_model=hub_id(base_model),
        metrics=sorted({_slug(result.metric) for result in own}) or None,
        model_name=one_line(name) if own else None,
        eval_results=[_eval_result(result) for result in own] or None,
    )


def check_card(path: Path, *, sparse: bool = True) -> CardData:
    """Return the metadata of a written card, checked as far as that goes without the Hub.

    ``ModelCard.validate`` asks the Hub; this is what can be known without a network.

    Args:
        path: the card.
        sparse: whether the package has a pattern.

    Raises:
        PackageError: if the card cannot be read, or its metadata is not what a package's card must have.
    """
    try:
        text = path.read_bytes().decode()
        if not text.startswith("---\n"):
            raise ValueError("it does not begin with a YAML block")
        data = ModelCard(text).data
    except Exception as error:  # whatever YAML or the Hub's library raise on such a card
        raise PackageError(
            f"{path} is no model card: {one_line(error)}; package the model again to generate it"
        ) from None
    problems = []
    if data.get("library_name") != LIBRARY:
        problems.append(f"library_name must be {LIBRARY}, got {data.get('library_name')!r}")
    tags = data.get("tags") or []
    missing = [tag for tag in _tags(sparse) if tag not in tags]
    if missing:
        problems.append(f"tags must have {', '.join(missing)}, got {tags!r}")
    untrue = [tag for tag in SPARSE_TAGS if tag in tags and not sparse]
    if untrue:
        problems.append(f"tags of a dense model must not have {', '.join(untrue)}")
    base_model = data.get("base_model")
    if base_model is not None and not _is_hub_id(str(base_model)):
        problems.append(f"base_model must be a Hub id, got {base_model!r}")
    if problems:
        raise PackageError(f"{path}: {'; '.join(problems)}; package the model again to generate the card")
    return data


def _tags(sparse: bool) -> tuple[str, ...]:
    return (*SPARSE_TAGS, *TAGS) if sparse else TAGS


def _is_hub_id(name: str) -> bool:
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return not name.endswith("\n")  # which the Hub's own pattern lets through


def _eval_result(result: TaskResult) -> EvalResult:
    return EvalResult(
        task_type=_slug(result.task),
        task_name=one_line(result.task) or "unnamed",
        dataset_type=_slug(result.dataset),
        dataset_name=one_line(result.dataset) or "unnamed",
        dataset_split=result.split,
        metric_type=_slug(result.metric),
        metric_name=f"{one_line(result.metric)} (mean of {len(result.seeds)} seeds)",
        metric_value=result.mean,
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9._/-]+", "-", one_line(text).lower()).strip("-./") or "unnamed"
