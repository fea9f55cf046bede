"""Byte-level BPE: a tokenizer of RoBERTa's kind, trained on a corpus."""

import json
from collections.abc import Sequence

from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import RobertaTokenizer

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.corpora import Document

# In RoBERTa's order; its mask is the last entry of the vocabulary.
FIRST_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
MASK_TOKEN = "<mask>"  # noqa: S105 - a token, not a password
_NUM_BYTES = 256
MIN_VOCAB_SIZE = len(FIRST_TOKENS) + _NUM_BYTES + 1
# A piece that is found once is no use to other text.
_MIN_FREQUENCY = 2


def train_byte_level_bpe(
    documents: Sequence[Document], vocab_size: int, model_max_length: int = 512
) -> RobertaTokenizer:
    """Return a tokenizer whose vocabulary is learned from the documents; the same one at every call.

    Any text can be written in it, as every byte is an entry. Capitals are kept. ``<s>``, ``<pad>``, ``</s>``
    and ``<unk>`` are 0 to 3 and ``<mask>`` is the last entry, as in RoBERTa (Liu et al., 2019).

    Args:
        documents: what it is learned from.
        vocab_size: entries at most, special tokens included, at least 261; a small text gives fewer.
        model_max_length: tokens that a text is truncated to where truncation is asked for. A RoBERTa counts
            positions from its padding's id + 1, so for one it is ``max_position_embeddings - 2``.

    Raises:
        ValueError: if ``vocab_size`` is below 261, the special tokens and the bytes.
        CorpusError: if no piece is found twice, though the vocabulary has room for one.
    """
    if vocab_size < MIN_VOCAB_SIZE:
        raise ValueError(f"vocab_size must be at least {MIN_VOCAB_SIZE}, got {vocab_size}")
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=vocab_size - 1,
        min_frequency=_MIN_FREQUENCY,
        special_tokens=list(FIRST_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((document.text for document in documents), trainer)
    vocabulary = dict(sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1]))
    if len(vocabulary) + 1 == MIN_VOCAB_SIZE < vocab_size:
        raise CorpusError(
            "the text gives a vocabulary of single bytes, no piece is found twice: give more text"
        )
    merges = [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    return RobertaTokenizer(
        vocab={**vocabulary, MASK_TOKEN: len(vocabulary)},
        merges=merges,  # type: ignore[arg-type]  # the library's hint is wrong: it takes pairs
        model_max_length=model_max_length,
    )
