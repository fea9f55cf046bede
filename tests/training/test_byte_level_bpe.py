import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, RobertaConfig, RobertaForMaskedLM

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.byte_level_bpe import train_byte_level_bpe
from sparsezoo_hub.training.corpora import Document
from sparsezoo_hub.training.python_documentation import read_topics

TOPICS = read_topics()
TOKENIZER = train_byte_level_bpe(TOPICS, 600, model_max_length=64)

PRINT_VOCABULARY = """
import json
from sparsezoo_hub.training.python_documentation import read_topics
from sparsezoo_hub.training.byte_level_bpe import train_byte_level_bpe
print(json.dumps(train_byte_level_bpe(read_topics(), 600).get_vocab()))
"""


def test_another_process_learns_the_same_vocabulary() -> None:
    run = subprocess.run([sys.executable, "-c", PRINT_VOCABULARY], capture_output=True, check=True, text=True)
    assert json.loads(run.stdout) == TOKENIZER.get_vocab()


def test_its_special_tokens_are_where_roberta_has_them() -> None:
    assert TOKENIZER.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]) == [0, 1, 2, 3, 599]
    assert len(TOKENIZER) == 600
    assert sorted(TOKENIZER.get_vocab().values()) == list(range(600))
    assert (TOKENIZER.cls_token, TOKENIZER.sep_token) == ("<s>", "</s>")
    assert TOKENIZER.mask_token_id == 599
    assert TOKENIZER.pad_token_id == RobertaConfig().pad_token_id
    assert TOKENIZER.decode(TOKENIZER("The value", "of it")["input_ids"]) == "<s>The value</s></s>of it</s>"
    assert TOKENIZER.is_fast


def test_frequent_words_are_one_piece_and_keep_their_capitals() -> None:
    assert TOKENIZER.tokenize(" the value of") == ["Ġthe", "Ġvalue", "Ġof"]
    assert TOKENIZER.tokenize("The") != TOKENIZER.tokenize("the")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_comes_back_byte_for_byte(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert TOKENIZER.decode(ids, clean_up_tokenization_spaces=False) == text
    assert TOKENIZER.unk_token_id not in ids


def test_stock_transformers_reads_it_back(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "An assignment <mask> evaluates\n the expression  list, naïvely."
    assert again(text, text)["input_ids"] == TOKENIZER(text, text)["input_ids"]
    assert again.get_vocab() == TOKENIZER.get_vocab()
    assert again.model_max_length == 64
    assert type(again) is type(TOKENIZER)


def test_a_roberta_takes_texts_of_two_tokens_less_than_its_positions() -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = RobertaForMaskedLM(RobertaConfig(vocab_size=600, max_position_embeddings=66, **sizes)).eval()
    longest = TOKENIZER(["the value of it " * 60], truncation=True, return_tensors="pt")
    assert longest["input_ids"].shape == (1, 64)
    assert model(**longest).logits.shape == (1, 64, 600)
    with pytest.raises((IndexError, RuntimeError), match="out of"):
        model(input_ids=torch.full((1, 65), 5))


def test_a_small_text_gives_a_smaller_vocabulary() -> None:
    # The bytes and special tokens are 261; "ab" and "abab" are found twice in each of three words.
    assert 261 < len(train_byte_level_bpe([Document("a", "abab abab abab")], 30_000)) <= 265


def test_a_text_that_repeats_nothing_says_so() -> None:
    with pytest.raises(CorpusError, match="no piece is found twice: give more text"):
        train_byte_level_bpe([Document("a", "abcdefg")], 1000)


def test_a_vocabulary_of_bytes_alone_can_be_asked_for_and_a_smaller_one_cannot() -> None:
    assert len(train_byte_level_bpe(TOPICS[:1], 261)) == 261
    with pytest.raises(ValueError, match="vocab_size must be at least 261, got 260"):
        train_byte_level_bpe(TOPICS, 260)
