"""Tiny task data that a model can learn, in the shape and under the field names of any task."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import BertTokenizer

from sparsezoo_hub.training.tasks import find_task
from sparsezoo_hub.training.tasks.task_format import QUESTION, TEXT, WORDS, TaskFormat

FILLER = ("river", "stone", "window", "paper", "garden", "music", "winter", "bread", "letter", "street")
# Each class has a word of its own that gives it away; each type of entity one from each end.
CUES = ("apple", "tiger", "copper", "violin", "harbor", "desert", "rocket", "candle", "bishop", "walnut")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def word_tokenizer(*more: str) -> BertTokenizer:
    """A WordPiece tokenizer that knows the words of this file, and letters."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,'()$@-?"
    words = [*FILLER, *CUES, "is", "where", "here", *more, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys((*SPECIAL, *words)))}
    return BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=512)


def write_task(
    folder: Path, name: str, *, train: int = 64, validation: int = 24, test: int = 12, seed: int = 0
) -> Path:
    """Write ``folder/name`` with jsonl files of a task's splits; return ``folder``, as ``--data`` takes it.

    Every label is in every split of at least as many rows as there are labels; in a task where questions may
    have no answer, every third has none. A user's own task gets two labels, or one type of entity.
    """
    task = find_task(name)
    generator = random.Random(seed)  # noqa: S311 - not a secret
    parts = len(task.validation)
    names = task.validation if parts > 1 else ("validation",)
    sizes = {"train": train, **dict.fromkeys(names, validation // parts)}
    if task.test is not None:
        sizes["test"] = test
    (folder / name).mkdir(parents=True)
    for split, size in sizes.items():
        rows = [_ROWS[task.kind](task, index, generator) for index in range(size)]
        write_jsonl(folder / name / f"{split}.jsonl", rows)
    return folder


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def _text_row(task: TaskFormat, index: int, generator: random.Random) -> Mapping[str, Any]:
    labels = task.labels or ("first", "second")
    label = index % len(labels)
    words = [*generator.choices(FILLER, k=5), CUES[label]]
    generator.shuffle(words)
    row = {"text": " ".join(words), "label": labels[label]}
    if "text_pair" in task.fields:
        row["text_pair"] = " ".join(generator.choices(FILLER, k=4))
    return _renamed(task, row)


def _words_row(task: TaskFormat, index: int, generator: random.Random) -> Mapping[str, Any]:
    labels = task.labels or ("O", "B-THING", "I-THING")
    begins = [label for label in labels if label[0] == "B"]
    kind = index % len(begins)
    tokens, tags = generator.choices(FILLER, k=6), ["O"] * 6
    at = generator.randrange(5)
    tokens[at : at + 2] = [CUES[kind], CUES[-1 - kind]]
    tags[at : at + 2] = [begins[kind], begins[kind].replace("B", "I", 1)]
    return _renamed(task, {"tokens": tokens, "tags": tags})


def _question_row(task: TaskFormat, index: int, generator: random.Random) -> Mapping[str, Any]:
    words = generator.choices(FILLER, k=12)
    cue = generator.choice(CUES)
    at = generator.randrange(12)
    answers: dict[str, list[Any]] = {"text": [], "answer_start": []}
    if not (task.no_answer and index % 3 == 0):
        words[at] = cue
        answers = {"text": [cue], "answer_start": [len(" ".join([*words[:at], ""]))]}
    row = {
        "id": f"q{index}",
        "question": f"where is {cue}?",
        "context": " ".join(words),
        "answers": answers,
    }
    return _renamed(task, row)


def _renamed(task: TaskFormat, row: Mapping[str, Any]) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for field, value in row.items():
        *outer, last = task.fields.get(field, field).split(".")
        place = renamed
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = [value] if outer else value  # PubMedQA's contexts are a list
    return renamed


_ROWS = {TEXT: _text_row, WORDS: _words_row, QUESTION: _question_row}
