"""Word starts: at which tokens a word begins, known from the vocabulary alone."""

import unicodedata

import torch
from tokenizers import decoders, models
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sparsezoo_hub.errors import BackboneError

# What a part of a character's bytes is decoded to.
_PART_OF_A_CHARACTER = "\ufffd"
# Letters, marks on letters, and numbers.
_OF_A_WORD = frozenset("LMN")


class WordStarts:
    """Finds where words begin, for a WordPiece or a byte-level BPE.

    WordPiece: a token begins a word unless it has the prefix of a continuation (``##``).

    Byte-level BPE: letters and digits in a row are a word, with the space before them (``Ġ``); every token
    of punctuation or white space is one of its own. So the words of both are those of BERT.

    Args:
        tokenizer: a fast tokenizer.

    Raises:
        BackboneError: if the tokenizer is neither a WordPiece nor a byte-level BPE.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        backend = tokenizer.backend_tokenizer
        vocabulary = tokenizer.get_vocab()
        self.begins = torch.ones(max(vocabulary.values()) + 1, dtype=torch.bool)
        self.ends = torch.zeros_like(self.begins)
        if isinstance(backend.model, models.WordPiece):
            prefix = backend.model.continuing_subword_prefix
            for token, index in vocabulary.items():
                self.begins[index] = not token.startswith(prefix)
        elif isinstance(backend.model, models.BPE) and isinstance(backend.decoder, decoders.ByteLevel):
            for token, index in vocabulary.items():
                text = backend.decoder.decode([token])
                self.begins[index] = not _of_a_word(text[0])
                self.ends[index] = not _of_a_word(text[-1])
        else:
            raise BackboneError(
                f"a tokenizer of kind {type(backend.model).__name__} does not tell where words begin: "
                "take a backbone with a WordPiece or a byte-level BPE, or mask without whole_word"
            )

    def __call__(self, input_ids: Tensor, special: Tensor) -> Tensor:
        """Return where a word begins.

        Args:
            input_ids: (batch, length).
            special: (batch, length), bool; such a token begins no word, and ends the one before.

        Returns:
            (batch, length), bool. A row's first token of text begins a word, even where the word's own
            beginning is in the row before.
        """
        after_a_word = torch.ones_like(special)
        after_a_word[:, 1:] = (special | self.ends[input_ids])[:, :-1]
        return ~special & (self.begins[input_ids] | after_a_word)


def _of_a_word(character: str) -> bool:
    return character == _PART_OF_A_CHARACTER or unicodedata.category(character)[0] in _OF_A_WORD
