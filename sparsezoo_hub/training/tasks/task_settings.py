"""Task settings: what a data folder says about its fields and labels, in ``task.yaml`` and ``labels.json``.

``task.yaml`` makes a user's own files a task without code, all of its keys optional::

    fields: {text: review, label: stars}   # from the shape's field to the files' own
    labels: [negative, positive]           # in the order of the files' integers
    positive: [positive]                   # what F1 counts
    metric: f1                             # the main one

``labels.json`` is a list of the names of the files' integers.
"""

import json
from pathlib import Path

import yaml
from pydantic import ValidationError

from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.objective_settings import TaskSettings
from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.tasks.task_format import FIELDS, METRICS

SETTINGS = "task.yaml"
LABELS = "labels.json"


def read_settings(folder: Path, kind: str) -> TaskSettings:
    """Return the settings of a data folder; empty without ``task.yaml``.

    Args:
        folder: with the data.
        kind: of the task, which says which fields and metrics there are.

    Raises:
        CorpusError: if the file is not what its documentation says.
    """
    path = folder / SETTINGS
    try:
        if not path.exists():
            return TaskSettings()
        # The base loader makes nothing but strings: a label "no" stays one.
        content = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
        settings = TaskSettings.model_validate(content or {})
        check_settings(settings, kind)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CorpusError(
            f"{path}: {where}: {first['msg']}; its keys are {', '.join(TaskSettings.model_fields)}"
        ) from error
    except yaml.YAMLError as error:
        raise CorpusError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: is not UTF-8 (byte {error.start}); convert it to UTF-8") from error
    except ValueError as error:
        raise CorpusError(f"{path}: {error}") from error
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror or error}") from error
    return settings


def check_settings(settings: TaskSettings, kind: str) -> None:
    """Check that settings speak of fields and metrics that a kind of task has.

    Raises:
        ValueError: if they do not, or a label is named twice.
    """
    for name in settings.fields:
        check_choice(name, FIELDS[kind], f"field of {kind}")
    if settings.metric is not None:
        check_choice(settings.metric, METRICS[kind], f"metric of {kind}")
    for given in (settings.labels, settings.positive):
        if len(set(given)) != len(given):
            raise ValueError(f"names a label twice: {', '.join(given)}")


def read_label_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the integers of a data folder; none without ``labels.json``.

    Raises:
        CorpusError: if it is not a list of different strings.
    """
    path = folder / LABELS
    try:
        content = json.loads(path.read_text("utf-8")) if path.exists() else []
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: cannot be read as JSON: {error}") from error
    if (
        not isinstance(content, list)
        or not all(isinstance(each, str) for each in content)
        or len(set(content)) != len(content)
    ):
        raise CorpusError(f"{path}: must be a list of different names, got {str(content)[:80]}")
    return tuple(content)
