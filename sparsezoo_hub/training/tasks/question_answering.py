"""Question answering: the part of a context that answers a question."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.tasks.answers import Answered, answer_metrics
from sparsezoo_hub.training.tasks.batches import Encoded, Feature, model_inputs
from sparsezoo_hub.training.tasks.shape import Heads
from sparsezoo_hub.training.tasks.task_data import Question

STRIDE = 128
MAX_ANSWER_TOKENS = 30
MIN_CONTEXT = 4
_ROWS_AT_ONCE = 2_000


class Window(NamedTuple):
    """Which example a feature shows, and the characters of each of its context's tokens (tokens, 2)."""

    example: int
    characters: NDArray[np.int32]


class Span(NamedTuple):
    """An answer: what a window gives for it, and its characters in the context."""

    score: float
    start: int
    end: int


@dataclass(frozen=True)
class QuestionAnswering:
    """The shape of extractive question answering, as Devlin et al. (2019), sections 4.2 and 4.3.

    A context that is too long is read in overlapping windows; in one without the answer, [CLS] is the answer.

    Args:
        tokenizer: of the model.
        max_length: tokens of a window at most, with the whole question.
        no_answer: whether a question may have no answer.
        stride: tokens that neighbouring windows share, fewer where a window has not the room.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    no_answer: bool = False
    stride: int = STRIDE

    def encode(self, examples: Sequence[Question]) -> Encoded:
        """Return one feature to a window; windows of an example stand together.

        Raises:
            CorpusError: if a question leaves no room for its context.
        """
        windows: list[tuple[Window, Feature]] = []
        for start in range(0, len(examples), _ROWS_AT_ONCE):
            batch = examples[start : start + _ROWS_AT_ONCE]
            # The library has one stride for all: questions that need another are tokenized apart.
            by_stride: dict[int, list[int]] = defaultdict(list)
            for row, stride in enumerate(self._strides(batch)):
                by_stride[stride].append(start + row)
            for stride, rows in by_stride.items():
                windows += self._windows(examples, rows, stride)
        windows.sort(key=lambda window: window[0].example)
        features = [feature for _, feature in windows]
        answered = {
            window.example for window, feature in windows if feature["start_positions"] != feature["cls"]
        }
        hidden = sum(bool(each.answers) for each in examples) - len(answered)
        notice = f"{hidden} answers stand whole in no window; raise max_length"
        return Encoded(
            [{name: value for name, value in each.items() if name != "cls"} for each in features],
            examples,
            [window for window, _ in windows],
            (notice,) if hidden else (),
        )

    def outcomes(self, encoded: Encoded, heads: Heads) -> list[Answered]:
        """Return each question's best answer, over all of its windows."""
        best: dict[int, Span] = {}
        empty: dict[int, float] = {}
        for window, feature, start, end in zip(encoded.origins, encoded.features, *heads, strict=True):
            span = best_span(start, end, feature["context"], window.characters)
            cls = int(np.argmax(feature["input_ids"] == self.tokenizer.cls_token_id))
            score = float(start[cls] + end[cls])
            # A context has no answer only if none of its windows has one.
            empty[window.example] = min(score, empty.get(window.example, score))
            if window.example not in best or span.score > best[window.example].score:
                best[window.example] = span
        return [
            Answered(
                example.context[best[index].start : best[index].end],
                example.answers,
                empty[index] - best[index].score,
            )
            for index, example in enumerate(encoded.examples)
        ]

    def metrics(self, outcomes: Sequence[Answered]) -> dict[str, float]:
        """Return ``f1`` and ``exact_match``; with ``no_answer`` also those at the best threshold."""
        return answer_metrics(outcomes, self.no_answer)

    def check_defined(self, examples: Sequence[Question], what: str) -> None:
        """Accept every set: a question without an answer is judged too."""

    def _strides(self, examples: Sequence[Question]) -> list[int]:
        encoded = self.tokenizer(
            [each.question.strip() for each in examples], add_special_tokens=False, verbose=False
        )
        room = self.max_length - self.tokenizer.num_special_tokens_to_add(pair=True)
        strides = []
        for example, ids in zip(examples, encoded["input_ids"], strict=True):
            left = room - len(ids)
            if left < MIN_CONTEXT:
                raise CorpusError(
                    f"question {example.id} has {len(ids)} tokens, which leaves {max(left, 0)} of max_length "
                    f"{self.max_length} for its context, {MIN_CONTEXT} are needed: raise max_length"
                )
            strides.append(min(self.stride, left // 2))
        return strides

    def _windows(
        self, examples: Sequence[Question], rows: Sequence[int], stride: int
    ) -> list[tuple[Window, dict[str, Any]]]:
        encoded = self.tokenizer(
            [examples[row].question.strip() for row in rows],
            [examples[row].context for row in rows],
            truncation="only_second",
            max_length=self.max_length,
            stride=stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids="token_type_ids" in self.tokenizer.model_input_names,
        )
        found = []
        for index, sample in enumerate(encoded["overflow_to_sample_mapping"]):
            example = examples[rows[sample]]
            inputs = model_inputs(encoded, index)
            in_context = np.array([part == 1 for part in encoded.sequence_ids(index)])
            first, behind = int(in_context.argmax()), len(in_context) - int(in_context[::-1].argmax())
            offsets = np.asarray(encoded["offset_mapping"][index], dtype=np.int32)[first:behind]
            cls = int(np.argmax(inputs["input_ids"] == self.tokenizer.cls_token_id))
            start, end = answer_tokens(example, offsets) or (cls - first, cls - first)
            feature = {
                **inputs,
                "context": (first, behind),
                "start_positions": first + start,
                "end_positions": first + end,
                "cls": cls,
            }
            found.append((Window(rows[sample], offsets), feature))
        return found


def answer_tokens(example: Question, offsets: NDArray[np.int32]) -> tuple[int, int] | None:
    """Return the first and the last token of a question's first answer, None if it is not all in the window.

    Args:
        example: the question.
        offsets: (tokens, 2), the characters of each of the window's context tokens, in order.
    """
    if not example.answers:
        return None
    answer = example.answers[0]
    start = example.starts[0] + len(answer) - len(answer.lstrip())
    end = start + len(answer.strip())
    first = int(np.searchsorted(offsets[:, 1], start, side="right"))
    last = int(np.searchsorted(offsets[:, 0], end, side="left")) - 1
    if first > last or offsets[0, 0] > start or offsets[-1, 1] < end:
        return None
    return first, last


def best_span(
    start: NDArray[Any], end: NDArray[Any], context: tuple[int, int], characters: NDArray[np.int32]
) -> Span:
    """Return the span of at most 30 tokens whose logits have the highest sum; the earliest of equals.

    Args:
        start: (length,), logits of the first token.
        end: (length,), logits of the last token.
        context: the first position of the context, and the one behind its last.
        characters: (tokens, 2), of each token of the context.
    """
    starts, ends = start[slice(*context)], end[slice(*context)]
    width = min(MAX_ANSWER_TOKENS, len(ends))
    behind = np.concatenate([ends, np.full(width - 1, -np.inf, dtype=ends.dtype)])
    scores = starts[:, None] + np.lib.stride_tricks.sliding_window_view(behind, width)
    first, length = divmod(int(scores.argmax()), width)
    return Span(float(scores[first, length]), int(characters[first, 0]), int(characters[first + length, 1]))
