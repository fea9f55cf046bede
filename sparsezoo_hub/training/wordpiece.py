"""WordPiece: a lower-casing tokenizer of BERT's kind, trained on a corpus."""

from collections import Counter
from collections.abc import Sequence

from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from tokenizers.trainers import WordPieceTrainer
from transformers import BertTokenizer

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.corpora import Document

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MIN_VOCAB_SIZE = 200
# Each character takes two entries; so at least three quarters of the vocabulary are longer pieces.
_CHARACTERS_PER_ENTRY = 1 / 8


def train_wordpiece(
    documents: Sequence[Document], vocab_size: int, model_max_length: int = 512
) -> BertTokenizer:
    """Return a tokenizer whose vocabulary is learned from the documents; the same one at every call.

    Args:
        documents: what it is learned from.
        vocab_size: entries at most, special tokens included, at least 200; a small text gives fewer.
        model_max_length: tokens that a text is truncated to where truncation is asked for.

    Raises:
        ValueError: if ``vocab_size`` is below 200.
        CorpusError: if the text gives fewer than 200 entries.
    """
    if vocab_size < MIN_VOCAB_SIZE:
        raise ValueError(f"vocab_size must be at least {MIN_VOCAB_SIZE}, got {vocab_size}")
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))  # noqa: S106 - a token, not a password
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    characters = _alphabet(documents, int(vocab_size * _CHARACTERS_PER_ENTRY))
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        # The trainer numbers continuing characters in the order of a hash table, which differs from run
        # to run, and breaks ties between merges by these numbers. Named beforehand, they have an order.
        special_tokens=[*SPECIAL_TOKENS, *(f"##{character}" for character in characters)],
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    tokenizer.train_from_iterator((document.text for document in documents), trainer)
    vocabulary = dict(sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1]))
    if len(vocabulary) < MIN_VOCAB_SIZE:
        raise CorpusError(
            f"the text gives a vocabulary of {len(vocabulary)} entries, "
            f"{MIN_VOCAB_SIZE} are needed: give more text"
        )
    return BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=model_max_length)


def _alphabet(documents: Sequence[Document], limit: int) -> list[str]:
    normalizer = normalizers.BertNormalizer()
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(normalizer.normalize_str(document.text))
    frequent = sorted(counts, key=lambda character: (-counts[character], character))
    return sorted([character for character in frequent if not character.isspace()][:limit])
