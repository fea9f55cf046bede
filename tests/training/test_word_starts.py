import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from transformers import BertTokenizer, PreTrainedTokenizerFast

from sparsezoo_hub.errors import BackboneError
from sparsezoo_hub.training.byte_level_bpe import train_byte_level_bpe
from sparsezoo_hub.training.python_documentation import read_topics
from sparsezoo_hub.training.word_starts import WordStarts

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "read", "##able", "##s", "un", "##read", "."]


def test_a_wordpiece_begins_a_word_unless_it_continues_one() -> None:
    tokenizer = BertTokenizer(vocab={piece: index for index, piece in enumerate(PIECES)})
    row = ["[CLS]", "##s", "un", "##read", "##able", ".", "read", "[SEP]", "##able", "##s", "[UNK]", "[SEP]"]
    ids = torch.tensor([tokenizer.convert_tokens_to_ids(row)])
    special = torch.tensor([[token in {"[CLS]", "[SEP]"} for token in row]])
    starts = WordStarts(tokenizer)(ids, special)
    # What begins a segment begins a word, even where the word's own beginning was cut off.
    expected = ["##s", "un", ".", "read", "##able", "[UNK]"]
    assert [token for token, start in zip(row, starts[0].tolist(), strict=True) if start] == expected


def test_byte_level_pieces_begin_words_where_letters_and_digits_begin_in_the_text() -> None:
    tokenizer = train_byte_level_bpe(read_topics()[:20], 600)
    text = 'The "values"(of 3.14) aren\'t in naïve_cafés, x=1+y;\nNext\tline... Unwritten\n\n  objects'
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    ids = torch.tensor([encoded["input_ids"]])
    starts = WordStarts(tokenizer)(ids, torch.zeros_like(ids, dtype=torch.bool))[0].tolist()
    previous = -1
    for (start, end), found in zip(encoded["offset_mapping"], starts, strict=True):
        # Two parts of one character have the same place, and the second begins nothing.
        expected = start != previous and not (
            start > 0 and text[start - 1].isalnum() and text[start].isalnum()
        )
        assert found == expected, text[start:end]
        previous = start if text[start:end].isalnum() else -1
    assert sum(starts) < len(starts) - 5


def test_a_tokenizer_that_does_not_tell_is_refused() -> None:
    unigram = Tokenizer(Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=unigram)
    with pytest.raises(BackboneError, match="kind Unigram does not tell where words begin: take a backbone"):
        WordStarts(tokenizer)
