"""Task: a downstream task with its data."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sparsezoo_hub.core.objective_settings import TaskSettings
from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.labelled_text import LabelledSplit
from sparsezoo_hub.training.tasks.loading import check_folder, load_folder, load_hub, no_folder
from sparsezoo_hub.training.tasks.task_data import TaskData
from sparsezoo_hub.training.tasks.task_format import TaskFormat


@dataclass(frozen=True)
class Task(TaskFormat):
    """A downstream task.

    Args:
        source: returns the examples of a task whose data is on every machine, the same ones at every call.
    """

    source: Callable[[], LabelledSplit] | None = None

    def load(self, folder: Path | None = None, own: TaskSettings | None = None) -> TaskData:
        """Return the data, from a folder's files, or else from the task's own source or the Hub.

        Args:
            folder: with the task's files.
            own: what the files look like, where they differ from the task's format.

        Raises:
            CorpusError: if there is none, or it cannot be used; names file and row.
        """
        if folder is not None:
            return load_folder(self, folder, own)
        if self.source is not None:
            split = self.source()
            return TaskData(self, split.train, split.validation)
        return load_hub(self)

    def check(self, folder: Path | None = None) -> None:
        """Refuse what ``load`` would only find out after earlier stages; reads no rows.

        Raises:
            CorpusError: if the folder lacks training or validation files, or is needed and not given.
        """
        if folder is not None:
            check_folder(self, folder)
        elif self.source is None and self.hub is None:
            raise CorpusError(no_folder(self))
