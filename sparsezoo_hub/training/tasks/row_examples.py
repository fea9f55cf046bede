"""Row examples: from a table's rows to checked examples, one reader for each shape."""

from collections.abc import Callable, Mapping
from typing import Any

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.labelled_text import LabelledText
from sparsezoo_hub.training.tasks.data_files import Table
from sparsezoo_hub.training.tasks.entities import is_tag
from sparsezoo_hub.training.tasks.table_fields import field_rows, find_fields, label_of, stored_names
from sparsezoo_hub.training.tasks.task_data import Question, TaggedWords
from sparsezoo_hub.training.tasks.task_format import QUESTION, TEXT, WORDS, TaskFormat

Names = tuple[str, ...]


def read_examples(table: Table, task: TaskFormat, names: Names) -> tuple[Any, ...]:
    """Return the examples in a table.

    Args:
        table: of one file.
        task: what the file should hold.
        names: of integer labels, where the file itself stores none.

    Raises:
        CorpusError: at the first row that cannot be used; names file and row.
    """
    fields = find_fields(table, task)
    labels = fields.get("label", fields.get("tags", ""))
    names = stored_names(table, labels) or names
    read = _READERS[task.kind]
    return tuple(read(row, where, task, names) for where, row in field_rows(table, fields))


def _labelled_text(row: Mapping[str, Any], where: str, task: TaskFormat, names: Names) -> LabelledText:
    pair = _text(row["text_pair"], "text_pair", where) if "text_pair" in row else None
    label = label_of(row["label"], names, task.labels, where)
    return LabelledText(_text(row["text"], "text", where), label, text_pair=pair)


def _tagged_words(row: Mapping[str, Any], where: str, task: TaskFormat, names: Names) -> TaggedWords:
    tokens, tags = _list(row["tokens"], "tokens", where), _list(row["tags"], "tags", where)
    if len(tokens) != len(tags):
        raise CorpusError(f"{where}: has {len(tokens)} tokens and {len(tags)} tags; give one tag to a token")
    if not tokens:
        raise CorpusError(f"{where}: has no tokens; remove the row")
    if not all(isinstance(token, str) for token in tokens):
        raise CorpusError(f"{where}: tokens must be strings, got {tokens!r}")
    if not names and isinstance(tags[0], int):
        raise CorpusError(
            f"{where}: its tags are integers without names: list the names in labels.json, or as labels in "
            "task.yaml"
        )
    named = tuple(label_of(tag, names, task.labels, where) for tag in tags)
    if task.has_entities:
        for tag in named:
            if not is_tag(tag):
                raise CorpusError(
                    f"{where}: tag {tag!r} is not IOB (O, B-type, I-type): convert it, or set "
                    "metric: accuracy in task.yaml for tags that are not entities"
                )
    return TaggedWords(tuple(tokens), named)


def _question(row: Mapping[str, Any], where: str, task: TaskFormat, names: Names) -> Question:
    del names  # answers have none
    context = _text(row["context"], "context", where)
    answers, starts = _answers(row["answers"], where)
    if not answers and not task.no_answer:
        raise CorpusError(f"{where}: has no answer, which task {task.name} does not allow; remove the row")
    for answer, start in zip(answers, starts, strict=True):
        if not isinstance(answer, str) or not answer.strip():
            raise CorpusError(f"{where}: has an empty answer; correct it")
        if not isinstance(start, int) or start < 0 or context[start : start + len(answer)] != answer:
            there = context[start : start + len(answer)] if isinstance(start, int) and start >= 0 else ""
            raise CorpusError(
                f"{where}: answer {answer!r} is not in its context at {start}, where {there!r} stands; "
                "correct answer_start (in characters)"
            )
    identity = row.get("id")
    name = where.rpartition(" ")[2] if identity is None else str(identity)
    return Question(name, _text(row["question"], "question", where), context, tuple(answers), tuple(starts))


def _answers(value: Any, where: str) -> tuple[list[Any], list[Any]]:
    # SQuAD's own files list objects, the Hub's version of them has two lists.
    texts: Any = None
    starts: Any = None
    if isinstance(value, list) and all(isinstance(each, dict) for each in value):
        texts, starts = [each.get("text") for each in value], [each.get("answer_start") for each in value]
    elif isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start")
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        raise CorpusError(
            f"{where}: answers must be an object of two lists of one length, text and answer_start, "
            f"got {str(value)[:80]!r} (csv holds no lists: use jsonl or parquet)"
        )
    return texts, starts


def _text(value: Any, field: str, where: str) -> str:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = " ".join(value)
    if not isinstance(value, str):
        raise CorpusError(f"{where}: {field} must be text, got {value!r} ({type(value).__name__})")
    if not value.strip():
        raise CorpusError(f"{where}: {field} is empty; fill it or remove the row")
    return value


def _list(value: Any, field: str, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise CorpusError(
            f"{where}: {field} must be a list, got {str(value)[:80]!r} "
            "(csv holds no lists: use jsonl or parquet)"
        )
    return value


_READERS: Mapping[str, Callable[[Mapping[str, Any], str, TaskFormat, Names], Any]] = {
    TEXT: _labelled_text,
    WORDS: _tagged_words,
    QUESTION: _question,
}
