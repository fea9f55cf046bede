"""Word classification: one tag for each word of a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.objectives import IGNORED_LABEL
from sparsezoo_hub.training.tasks.batches import Encoded, model_inputs
from sparsezoo_hub.training.tasks.entities import OUTSIDE, entity_metrics
from sparsezoo_hub.training.tasks.shape import Heads
from sparsezoo_hub.training.tasks.task_data import TaggedWords

_ROWS_AT_ONCE = 2_000


@dataclass(frozen=True)
class WordClassification:
    """The shape of token classification.

    The first piece of each word has its tag (Devlin et al., 2019, section 5.3). A sentence that is too long
    goes on in the next window, so that every word is judged.

    Args:
        tokenizer: of the model.
        max_length: tokens of a window at most.
        labels: in the order of the head's outputs.
        has_entities: whether tags are judged as entities, or each for itself.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    labels: tuple[str, ...]
    has_entities: bool = True

    def encode(self, examples: Sequence[TaggedWords]) -> Encoded:
        """Return one feature to a window; its origin is its example and the words that it has the tags of."""
        index = {label: number for number, label in enumerate(self.labels)}
        features: list[dict[str, object]] = []
        origins: list[tuple[int, list[int]]] = []
        missed = sum(len(each.tokens) for each in examples)
        for start in range(0, len(examples), _ROWS_AT_ONCE):
            batch = examples[start : start + _ROWS_AT_ONCE]
            # A blank before the first word too: byte-level vocabularies tell words by it.
            encoded = self.tokenizer(
                ["".join(f" {token}" for token in each.tokens) for each in batch],
                truncation=True,
                max_length=self.max_length,
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
            firsts: dict[int, int] = {}
            for row, sample in enumerate(encoded["overflow_to_sample_mapping"]):
                example = batch[sample]
                words, labels = [], np.full(len(encoded["input_ids"][row]), IGNORED_LABEL, dtype=np.int16)
                places = _words_of(example.tokens, encoded["offset_mapping"][row])
                for position, word in places:
                    if word >= firsts.get(sample, 0):
                        firsts[sample] = word + 1
                        labels[position] = index[example.tags[word]]
                        words.append(word)
                if words:
                    features.append({**model_inputs(encoded, row), "labels": labels})
                    origins.append((start + sample, words))
                    missed -= len(words)
        return Encoded(features, examples, origins, tuple(_notices(len(features), len(examples), missed)))

    def outcomes(self, encoded: Encoded, heads: Heads) -> list[tuple[tuple[str, ...], list[str]]]:
        """Return the right and the predicted tags of each sentence; a word without a token is outside."""
        predicted = [[OUTSIDE] * len(each.tokens) for each in encoded.examples]
        logits = iter(heads[0])
        for example, words in encoded.origins:
            for word in words:
                predicted[example][word] = self.labels[int(next(logits).argmax())]
        return [(each.tags, tags) for each, tags in zip(encoded.examples, predicted, strict=True)]

    def metrics(self, outcomes: Sequence[tuple[tuple[str, ...], list[str]]]) -> dict[str, float]:
        """Return ``f1``, ``precision`` and ``recall`` of entities, and ``accuracy`` over all words."""
        right = sum(one == other for gold, tags in outcomes for one, other in zip(gold, tags, strict=True))
        accuracy = {"accuracy": right / sum(len(gold) for gold, _ in outcomes)}
        return {**entity_metrics(outcomes), **accuracy} if self.has_entities else accuracy

    def check_defined(self, examples: Sequence[TaggedWords], what: str) -> None:
        """Refuse examples without any entity."""
        if self.has_entities and all(tag == OUTSIDE for each in examples for tag in each.tags):
            raise CorpusError(f"the {what} set has no entity, so F1 is undefined: give a set with some")


def _words_of(tokens: Sequence[str], offsets: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return (position, word) of every piece of a word; a word's text begins behind one blank."""
    ends = np.cumsum([1 + len(token) for token in tokens])
    pieces = [
        (position, end - 1) for position, (begin, end) in enumerate(offsets) if end > begin
    ]  # special tokens have no text
    # A piece may bring the blank before its word along, so its last character says which word it is.
    words = np.searchsorted(ends, [last for _, last in pieces], side="right")
    return [(position, int(word)) for (position, _), word in zip(pieces, words, strict=True)]


def _notices(windows: int, sentences: int, missed: int) -> list[str]:
    notices = []
    if windows > sentences:
        notices.append(f"{sentences} sentences became {windows} windows; no word was cut")
    if missed:
        notices.append(
            f"{missed} words have no token (nothing but control characters); they count as outside"
        )
    return notices
