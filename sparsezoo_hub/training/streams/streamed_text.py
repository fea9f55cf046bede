"""Streamed text: a corpus that stages read as it comes, its validation text, and a sample of the rest."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.corpora import Document
from sparsezoo_hub.training.masked_lm_data import MAX_VALIDATION_ROWS
from sparsezoo_hub.training.processes import process_state
from sparsezoo_hub.training.streams.corpus import (
    VALIDATION_SHARE,
    StreamedPart,
    spread_texts,
    streamed_corpus,
)
from sparsezoo_hub.training.streams.loader import SampledRows, StreamLoader, StreamSettings
from sparsezoo_hub.training.streams.packed_rows import RowMaker, RowSettings
from sparsezoo_hub.training.streams.token_cache import TokenCache
from sparsezoo_hub.training.text_addresses import TextFile
from sparsezoo_hub.training.token_masking import TokenMasking, mask_once, padding_collator

# A token of a large vocabulary has four or five, so this much text gives as many rows as are asked for.
_CHARACTERS_PER_TOKEN = 6
# What a tokenizer is trained on.
_SAMPLE_CHARACTERS = 16 << 20
# Rows that methods which estimate curvature draw from.
_SAMPLED_ROWS = 4096


class StreamedText:
    """A corpus that is not read into memory.

    Args:
        files: of each of its parts; under the empty name if it has none.
        weights: of each part, each above 0; none at all for as many rows as there is text.
    """

    def __init__(self, files: Mapping[str, Sequence[TextFile]], weights: Mapping[str, float]) -> None:
        self.files = files
        self.weights = weights
        self._validation: dict[int, list[str]] = {}

    @cached_property
    def parts(self) -> tuple[StreamedPart, ...]:
        """The parts, cut into units.

        Raises:
            CorpusError: if a file cannot be used.
        """
        return streamed_corpus(self.files, self.weights)

    def validation_texts(self, max_length: int) -> list[str]:
        """Return the texts that rows of this length are made of to be judged on; the same in every process.

        Raises:
            CorpusError: if a file cannot be read, or there is no such text.
        """
        if max_length not in self._validation:
            characters = MAX_VALIDATION_ROWS * max_length * _CHARACTERS_PER_TOKEN
            texts = self._taken(1, characters)
            if not texts:
                raise CorpusError(
                    f"one of {VALIDATION_SHARE} documents of a streamed text is for validation, and this has "
                    "too few for any: give more text, or leave --stream out"
                )
            self._validation[max_length] = texts
        return self._validation[max_length]

    @cached_property
    def sample(self) -> list[Document]:
        """Training text from all over the corpus, enough to train a tokenizer on.

        Raises:
            CorpusError: if a file cannot be read.
        """
        texts = self._taken(0, _SAMPLE_CHARACTERS)
        return [Document(f"document-{number}", text) for number, text in enumerate(texts)]

    def _taken(self, side: int, characters: int) -> list[str]:
        """Return texts of one side of all parts by their shares, about so many characters."""
        texts: list[str] = []
        for part in self.parts:
            left = characters * part.share
            for text in spread_texts(part, side):
                texts.append(text)
                left -= len(text)
                if left <= 0:
                    break
        return texts


class StreamedRows:
    """What a stage of masked LM trains on when its corpus is streamed.

    Args:
        text: of the corpus.
        tokenizer: a fast one.
        settings: of the rows.
        probability: the share of tokens that are asked for, in [0, 1].
        whole_word: ask for all tokens of a word or none.
        cache: the folder of a token cache, if there is one.

    Raises:
        BackboneError: if the tokenizer does not fit what is asked for.
    """

    def __init__(
        self,
        text: StreamedText,
        tokenizer: PreTrainedTokenizerBase,
        settings: RowSettings,
        probability: float,
        whole_word: bool,
        cache: Path | None,
    ) -> None:
        self.text = text
        self.tokenizer = tokenizer
        self.maker = RowMaker(tokenizer, settings)
        self.probability = probability
        self.whole_word = whole_word
        self.masking = TokenMasking(tokenizer, probability, whole_word)
        self.collate = padding_collator(tokenizer)
        self.cache = None if cache is None else TokenCache(cache)

    def validation(self) -> list[dict[str, Tensor]]:
        """Return rows to be judged on, masked once, at most ``MAX_VALIDATION_ROWS``.

        Raises:
            CorpusError: if there is too little text.
        """
        length = self.maker.settings.max_length
        texts = self.text.validation_texts(length)
        try:
            rows = self.maker.kind(texts, self.tokenizer, length)
        except CorpusError as error:
            raise CorpusError(
                f"one of {VALIDATION_SHARE} documents of a streamed text is for validation, and {error}, or "
                "leave --stream out"
            ) from error
        return mask_once(rows, self.tokenizer, self.probability, MAX_VALIDATION_ROWS, self.whole_word)

    def loader(self, batch_size: int, seed: int, rows: int, workers: int) -> StreamLoader:
        """Return this process's loader.

        Args:
            batch_size: rows to an optimizer step, those of all processes together.
            seed: of the run.
            rows: that this process takes at once.
            workers: that it has.

        Raises:
            CorpusError: if there is too little text.
            RecipeError: if the batch cannot be split over the processes.
        """
        state = process_state()
        settings = self._settings(batch_size, seed, self.masking)
        processes = state.process_index, state.num_processes
        return StreamLoader(settings, self.collate, *processes, rows, workers)

    def sample(self, batch_size: int, seed: int) -> SampledRows:
        """Return a fixed sample of the rows, the same in every process."""
        return SampledRows(self._settings(batch_size, seed, None), _SAMPLED_ROWS)

    def _settings(self, batch_size: int, seed: int, masking: TokenMasking | None) -> StreamSettings:
        return StreamSettings(self.text.parts, self.maker, masking, self.cache, batch_size, seed)
