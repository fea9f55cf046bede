"""Tasks: what a model is transferred to, with its data, tokenized, and its metrics.

A data folder has files called train, validation and, where there is one, test (``data_files``), as jsonl,
json, csv or parquet. A row of each shape has these fields, unless the task or the folder's ``task.yaml``
says that they are called otherwise (``task_settings``):

==========================  ==================================================================================
sequence_classification     ``text``, ``text_pair`` (for pairs only), ``label``: a string, or an integer that
                            counts in the labels' order
token_classification        ``tokens``: a list of words; ``tags``: a list of one tag each, IOB strings or
                            integers
question_answering          ``id`` (optional), ``question``, ``context``, ``answers``:
                            ``{"text": [...], "answer_start": [...]}`` (characters), both empty for no answer
==========================  ==================================================================================

The tasks ``text-classification``, ``token-classification`` and ``question-answering`` are a user's own: their
labels come from the data, ``labels.json`` or ``task.yaml``.
"""

from sparsezoo_hub.training.tasks.catalogue import TASKS, find_task
from sparsezoo_hub.training.tasks.prepared import PreparedTask, prepare_task
from sparsezoo_hub.training.tasks.task import Task
from sparsezoo_hub.training.tasks.task_data import TaskData

__all__ = ["TASKS", "PreparedTask", "Task", "TaskData", "find_task", "prepare_task"]
