"""Texts whose every word is another token, so that a token tells where it comes from."""

from collections.abc import Sequence

from transformers import BertTokenizer

PAD, UNK, CLS, SEP, MASK = range(5)
FIRST_WORD = 5
_SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def numbered_tokenizer(num_words: int = 2000) -> BertTokenizer:
    """Word ``w7`` is token ``FIRST_WORD + 7``."""
    words = [*_SPECIAL_TOKENS, *(f"w{number}" for number in range(num_words))]
    return BertTokenizer(vocab={word: index for index, word in enumerate(words)})


def numbered_texts(documents: Sequence[Sequence[int]]) -> list[str]:
    """One text for each list of sentence lengths, a line for a sentence; words are numbered through."""
    number = 0
    texts = []
    for lengths in documents:
        lines = []
        for length in lengths:
            lines.append(" ".join(f"w{each}" for each in range(number, number + length)))
            number += length
        texts.append("\n".join(lines))
    return texts
