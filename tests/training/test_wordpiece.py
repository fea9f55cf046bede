import json
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.corpora import Document
from sparsezoo_hub.training.python_documentation import read_topics
from sparsezoo_hub.training.wordpiece import train_wordpiece

PRINT_VOCABULARY = """
import json
from sparsezoo_hub.training.python_documentation import read_topics
from sparsezoo_hub.training.wordpiece import train_wordpiece
print(json.dumps(train_wordpiece(read_topics(), 1000).get_vocab()))
"""


def test_another_process_learns_the_same_vocabulary() -> None:
    run = subprocess.run([sys.executable, "-c", PRINT_VOCABULARY], capture_output=True, check=True, text=True)
    assert json.loads(run.stdout) == train_wordpiece(read_topics(), 1000).get_vocab()


def test_it_is_a_lower_casing_bert_tokenizer_of_the_size_asked_for() -> None:
    tokenizer = train_wordpiece(read_topics(), 1000, model_max_length=64)
    assert len(tokenizer) == 1000
    assert sorted(tokenizer.get_vocab().values()) == list(range(1000))
    assert tokenizer.convert_tokens_to_ids(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]) == [0, 1, 2, 3, 4]
    assert tokenizer.is_fast
    assert tokenizer.model_max_length == 64
    assert tokenizer.tokenize("The Statement") == tokenizer.tokenize("the statement")
    ids = tokenizer("the value", "of it")["input_ids"]
    assert tokenizer.decode(ids) == "[CLS] the value [SEP] of it [SEP]"


def test_a_word_that_is_not_in_the_text_is_spelled_from_its_pieces() -> None:
    tokenizer = train_wordpiece(read_topics(), 1000)
    assert "[UNK]" not in tokenizer.tokenize("zyxwvutsrq qponm")
    assert tokenizer.tokenize("\u4e00") == ["[UNK]"]


def test_stock_transformers_reads_it_back(tmp_path: Path) -> None:
    tokenizer = train_wordpiece(read_topics(), 1000, model_max_length=64)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "An Assignment statement evaluates the expression list."
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.model_max_length == 64


def test_a_small_text_gives_a_smaller_vocabulary() -> None:
    document = Document("a", "\n\n".join(each.text for each in read_topics()[:3]))
    assert 200 <= len(train_wordpiece([document], 30_000)) < 30_000


def test_a_text_that_is_too_small_says_so() -> None:
    with pytest.raises(CorpusError, match=r"vocabulary of \d+ entries, 200 are needed: give more text"):
        train_wordpiece([Document("a", "one two three")], 1000)


def test_a_vocabulary_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="vocab_size must be at least 200, got 10"):
        train_wordpiece(read_topics(), 10)
