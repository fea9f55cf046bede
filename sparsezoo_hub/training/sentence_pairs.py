"""Sentence pairs: documents as rows of two segments, for BERT's next sentence prediction."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from sparsezoo_hub.errors import BackboneError, CorpusError
from sparsezoo_hub.training.sentences import split_sentences
from sparsezoo_hub.training.token_blocks import (
    SHORTEST_TEXT,
    check_short_probability,
    special_ids,
    text_length,
    tokenize,
)

IS_NEXT, IS_RANDOM = 0, 1
_DOCUMENTS_AT_ONCE = 256
_SPECIAL_TOKENS = 3  # [CLS], and a [SEP] after each segment
_LEAST_DOCUMENTS = 2  # a random segment is of another one
_LEAST_SENTENCES = 2  # one for each segment
_COLUMNS = 5  # of a pair: where each segment starts and ends, and the label


class SentencePairs(Dataset[dict[str, torch.Tensor]]):
    """Rows ``[CLS] A [SEP] B [SEP]``, where B follows A in its document, or is of another document.

    Drawn once, as in Devlin et al. (2019, appendix A.2) and their ``create_pretraining_data.py``: sentences
    are taken until they fill a row and cut in two between sentences. Half of the time the second part is B;
    else B is a stretch of a random other document, and the second part is used again. A pair that is too
    long loses tokens at random ends of its longer segment.

    It differs from that program in three points. A sentence longer than half a row is cut into several, so
    that text without full stops gives pairs too. What is left of a document when it is a single sentence
    is skipped, where BERT would pair it with a random segment, so that both labels are equally frequent; thus
    a document of one sentence only serves as another's random segment. Whether a row is short is drawn
    for each row, not for each document, as documents can be whole books. A short row may be longer than
    drawn, as it takes at least two sentences.

    Args:
        texts: the documents.
        tokenizer: a fast tokenizer of BERT's kind.
        max_length: tokens per row at most, special tokens included, at least 5.
        short_probability: the share of rows that are shorter, in [0, 1].
        seed: decides everything that is drawn.

    Raises:
        BackboneError: if the tokenizer knows no token types, as RoBERTa's.
        CorpusError: if there are fewer than two documents with text, or none has two sentences.
        ValueError: if ``max_length`` or ``short_probability`` is out of range.
    """

    def __init__(
        self,
        texts: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        short_probability: float = 0.0,
        seed: int = 0,
    ) -> None:
        content = text_length(max_length, _SPECIAL_TOKENS)
        check_short_probability(short_probability)
        if "token_type_ids" not in tokenizer.model_input_names:
            raise BackboneError(
                "next sentence prediction marks two segments by token types, which "
                f"{type(tokenizer).__name__} does not know: take a BERT backbone, or train without it"
            )
        # bounds[i]: where sentence i starts in flat; documents[i]: the number of document i's first sentence.
        bounds, documents = array("q", [0]), array("q", [0])
        parts = [np.empty(0, dtype=np.int32)]
        for document in _tokenized_documents(texts, tokenizer, content // 2):
            for sentence in document:
                bounds.append(bounds[-1] + len(sentence))
            documents.append(len(bounds) - 1)
            parts.append(np.fromiter((token for sentence in document for token in sentence), dtype=np.int32))
        self.flat = np.concatenate(parts)
        if len(documents) - 1 < _LEAST_DOCUMENTS:
            raise CorpusError(
                f"next sentence prediction takes random segments from another document, got {len(texts)} "
                f"documents, {len(documents) - 1} with text: give at least {_LEAST_DOCUMENTS}"
            )
        drawn = _draw_pairs(bounds, documents, content, short_probability, np.random.default_rng(seed))
        self.pairs = np.fromiter(drawn, dtype=np.dtype((np.int64, _COLUMNS)))
        if len(self) == 0:
            raise CorpusError(
                f"none of {len(documents) - 1} documents has two sentences, next sentence prediction pairs "
                "them: give longer documents"
            )
        self.cls, self.sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        self.special = special_ids(tokenizer)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return a pair.

        Returns:
            ``input_ids``, ``token_type_ids`` (0 up to the first ``[SEP]``, then 1) and
            ``special_tokens_mask``, each (length,) of int64, and ``next_sentence_label`` (): 0 where B
            follows A, 1 where it is of another document.
        """
        a_start, a_end, b_start, b_end, label = self.pairs[index].tolist()
        first, second = self.flat[a_start:a_end], self.flat[b_start:b_end]
        row = np.concatenate([[self.cls], first, [self.sep], second, [self.sep]], dtype=np.int64)
        types = np.zeros(len(row), dtype=np.int64)
        types[len(first) + 2 :] = 1
        return {
            "input_ids": torch.from_numpy(row),
            "token_type_ids": torch.from_numpy(types),
            "special_tokens_mask": torch.from_numpy(np.isin(row, self.special).astype(np.int64)),
            "next_sentence_label": torch.tensor(label),
        }


def _tokenized_documents(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, longest: int
) -> Iterator[list[list[int]]]:
    # Documents without a token are left out.
    for start in range(0, len(texts), _DOCUMENTS_AT_ONCE):
        sentences = [split_sentences(text) for text in texts[start : start + _DOCUMENTS_AT_ONCE]]
        tokens = iter(tokenize([each for document in sentences for each in document], tokenizer))
        for document in sentences:
            pieces = [piece for _ in document for piece in _cut(next(tokens), longest)]
            if pieces:
                yield pieces


def _cut(sentence: list[int], longest: int) -> list[list[int]]:
    return [sentence[start : start + longest] for start in range(0, len(sentence), longest)]


def _draw_pairs(
    bounds: Sequence[int],
    documents: Sequence[int],
    content: int,
    short_probability: float,
    generator: np.random.Generator,
) -> Iterator[tuple[int, int, int, int, int]]:
    num_documents = len(documents) - 1
    for document in range(num_documents):
        start, last = documents[document], documents[document + 1]
        while last - start >= _LEAST_SENTENCES:
            target = content
            if generator.random() < short_probability:
                target = int(generator.integers(SHORTEST_TEXT, content + 1))
            # The fewest sentences that fill the target, two at least, or all that are left.
            end = max(bisect_left(bounds, bounds[start] + target, start + 1, last), start + _LEAST_SENTENCES)
            middle = int(generator.integers(start + 1, end))
            first = (bounds[start], bounds[middle])
            if generator.random() < 0.5:  # noqa: PLR2004 - half of the pairs
                second, label, start = (bounds[middle], bounds[end]), IS_NEXT, end
            else:
                other = int(generator.integers(num_documents - 1))
                other += other >= document
                b_start = int(generator.integers(documents[other], documents[other + 1]))
                wanted = bounds[b_start] + max(target - (first[1] - first[0]), 1)
                b_end = bisect_left(bounds, wanted, b_start + 1, documents[other + 1])
                second, label, start = (bounds[b_start], bounds[b_end]), IS_RANDOM, middle
            yield (*_truncated(first, second, content, generator), label)


def _truncated(
    first: tuple[int, int], second: tuple[int, int], content: int, generator: np.random.Generator
) -> tuple[int, int, int, int]:
    # BERT takes token after token off the segment that is longer then, from its start or its end: so the
    # longer one shrinks to what the shorter one leaves, or both to a half, and a binomial tells from where.
    lengths = first[1] - first[0], second[1] - second[0]
    if sum(lengths) <= content:
        return (*first, *second)
    kept = min(lengths[0], max((content + 1) // 2, content - lengths[1]))
    return (*_shortened(first, kept, generator), *_shortened(second, content - kept, generator))


def _shortened(segment: tuple[int, int], kept: int, generator: np.random.Generator) -> tuple[int, int]:
    start = segment[0] + int(generator.binomial(segment[1] - segment[0] - kept, 0.5))
    return start, start + kept
