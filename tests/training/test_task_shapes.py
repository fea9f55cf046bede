from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_case import word_tokenizer
from transformers import PreTrainedTokenizerBase

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.byte_level_bpe import train_byte_level_bpe
from sparsezoo_hub.training.corpora import Document
from sparsezoo_hub.training.labelled_text import LabelledText
from sparsezoo_hub.training.tasks.batches import padding_collator
from sparsezoo_hub.training.tasks.question_answering import QuestionAnswering, best_span
from sparsezoo_hub.training.tasks.task_data import Question, TaggedWords
from sparsezoo_hub.training.tasks.text_classification import TextClassification
from sparsezoo_hub.training.tasks.word_classification import WordClassification

BERT = word_tokenizer()
ROBERTA = train_byte_level_bpe([Document("x", "the river is here and the river is there " * 9)], 280)
TAGS = ("O", "B-X", "I-X")


def _tokens(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[str]:
    return list(tokenizer.convert_ids_to_tokens(list(map(int, ids))))


def test_a_pair_loses_the_end_of_its_longer_text_first() -> None:
    shape = TextClassification(BERT, 9, ("a", "b"))
    pair = LabelledText("river stone", "b", text_pair="paper music winter bread letter street")
    [feature] = shape.encode([pair]).features
    assert _tokens(BERT, feature["input_ids"]) == [
        "[CLS]", "river", "stone", "[SEP]", "paper", "music", "winter", "bread", "[SEP]",
    ]  # fmt: skip
    assert feature["token_type_ids"].tolist() == [0] * 4 + [1] * 5
    assert feature["labels"] == 1
    assert shape.encode([pair]).notices == ("1 of 1 texts are longer than 9 tokens and were cut",)


def test_single_texts_and_roberta_have_no_token_types() -> None:
    single = TextClassification(BERT, 9, ("a",)).encode([LabelledText("river", "a")])
    assert set(single.features[0]) == {"input_ids", "labels"}
    assert single.notices == ()
    pair = LabelledText("river", "a", text_pair="river")
    [feature] = TextClassification(ROBERTA, 9, ("a",)).encode([pair]).features
    assert set(feature) == {"input_ids", "labels"}


def test_f1_is_micro_averaged_over_the_positive_labels_alone() -> None:
    shape = TextClassification(BERT, 9, ("none", "x", "y"), ("x", "y"))
    outcomes = [("none", "none")] * 6 + [("x", "x"), ("x", "y"), ("y", "none"), ("none", "x")]
    # Positive: 1 right, 3 predicted, 3 in the gold labels.
    found = shape.metrics(outcomes)
    assert found["accuracy"] == 0.7
    assert [found[name] for name in ("f1", "precision", "recall")] == pytest.approx([1 / 3] * 3)


def test_the_first_piece_of_each_word_has_its_tag() -> None:
    [feature] = (
        WordClassification(BERT, 16, TAGS).encode([TaggedWords(("river", "abc", "stone"), TAGS)]).features
    )
    assert _tokens(BERT, feature["input_ids"]) == [
        "[CLS]", "river", "a", "##b", "##c", "stone", "[SEP]",
    ]  # fmt: skip
    assert feature["labels"].tolist() == [-100, 0, 1, -100, -100, 2, -100]


def test_the_first_word_of_a_sentence_is_one_behind_a_blank_for_a_byte_level_vocabulary() -> None:
    [feature] = (
        WordClassification(ROBERTA, 16, TAGS).encode([TaggedWords(("river", "is"), TAGS[:2])]).features
    )
    tokens = _tokens(ROBERTA, feature["input_ids"])
    assert tokens[1].startswith("Ġ")
    labelled = [token for token, label in zip(tokens, feature["labels"], strict=True) if label >= 0]
    assert len(labelled) == 2
    assert all(token.startswith("Ġ") for token in labelled)


WORDS = st.lists(st.sampled_from(["river", "abc", "don't", "x y", "\u200b", "é", "1,000"]), min_size=1)


@pytest.mark.parametrize("tokenizer", [BERT, ROBERTA], ids=["bert", "roberta"])
@given(words=WORDS, length=st.integers(4, 12))
def test_every_word_is_judged_once_however_short_the_windows(
    tokenizer: PreTrainedTokenizerBase, words: list[str], length: int
) -> None:
    tags = tuple(TAGS[index % 3] for index in range(len(words)))
    shape = WordClassification(tokenizer, length, TAGS)
    encoded = shape.encode([TaggedWords(tuple(words), tags), TaggedWords(("river",), ("O",))])
    assert all(len(feature["input_ids"]) <= length for feature in encoded.features)
    logits = [np.eye(3)[label] for feature in encoded.features for label in feature["labels"] if label >= 0]
    [(_, predicted), (_, other)] = shape.outcomes(encoded, [logits])
    lost = [word for word, gold, given in zip(words, tags, predicted, strict=True) if gold != given]
    assert set(lost) <= {"\u200b"}  # BERT's normalizer leaves nothing of it
    assert other == ["O"]
    judged = [word for example, origin in encoded.origins for word in origin if example == 0]
    assert judged == sorted(set(judged))


def test_a_word_without_a_token_counts_as_outside_and_is_reported() -> None:
    shape = WordClassification(BERT, 16, TAGS)
    encoded = shape.encode([TaggedWords(("river", "\u200b"), ("O", "B-X"))])
    assert encoded.notices == (
        "1 words have no token (nothing but control characters); they count as outside",
    )
    assert shape.metrics(shape.outcomes(encoded, [[np.eye(3)[0]]]))["recall"] == 0


CONTEXT = "river stone window paper garden music winter bread letter street"
QUESTION = Question("q", "where is paper?", CONTEXT, ("paper garden",), (CONTEXT.index("paper"),))


def test_an_answer_is_its_tokens_and_no_answer_is_cls() -> None:
    shape = QuestionAnswering(BERT, 64)
    unanswerable = Question("n", "where?", CONTEXT, (), ())
    features = shape.encode([QUESTION, unanswerable]).features
    ids, start, end = (features[0][name] for name in ("input_ids", "start_positions", "end_positions"))
    assert _tokens(BERT, ids[start : end + 1]) == ["paper", "garden"]
    assert (features[1]["start_positions"], features[1]["end_positions"]) == (0, 0)


def test_windows_overlap_keep_the_question_and_show_the_whole_context() -> None:
    shape = QuestionAnswering(BERT, 12, stride=2)  # [CLS] where is paper ? [SEP] + 5 + [SEP]
    encoded = shape.encode([QUESTION])
    shown = [_tokens(BERT, feature["input_ids"][slice(*feature["context"])]) for feature in encoded.features]
    words = CONTEXT.split()
    assert shown == [words[0:5], words[3:8], words[6:10]]
    questions = {tuple(_tokens(BERT, each["input_ids"][:6])) for each in encoded.features}
    assert questions == {("[CLS]", "where", "is", "paper", "?", "[SEP]")}
    # Only the first two windows have all of "paper garden".
    spans = [(each["start_positions"], each["end_positions"]) for each in encoded.features]
    assert spans == [(9, 10), (6, 7), (0, 0)]


def test_a_question_that_leaves_no_room_is_refused_and_never_cut() -> None:
    with pytest.raises(CorpusError, match="question q has 4 tokens, which leaves 3 of max_length 10"):
        QuestionAnswering(BERT, 10).encode([QUESTION])


@pytest.mark.parametrize("tokenizer", [BERT, ROBERTA], ids=["bert", "roberta"])
@given(
    words=st.lists(st.sampled_from([*CONTEXT.split(), "abc", "é", "(x)"]), min_size=1, max_size=40),
    data=st.data(),
    length=st.integers(60, 90),
)
def test_the_labels_as_logits_give_the_answer_back(
    tokenizer: PreTrainedTokenizerBase, words: list[str], data: st.DataObject, length: int
) -> None:
    first = data.draw(st.integers(0, len(words) - 1))
    answer = " ".join(words[first : first + 2])
    start = len(" ".join([*words[:first], ""]))
    question = Question("q", "where is x?", " ".join(words), (answer,), (start,))
    shape = QuestionAnswering(tokenizer, length)
    encoded = shape.encode([question, question])
    heads = [
        [np.eye(len(each["input_ids"]))[each[name]] for each in encoded.features]
        for name in ("start_positions", "end_positions")
    ]
    assert [each.answer for each in shape.outcomes(encoded, heads)] == [answer, answer]
    assert encoded.notices == ()


def test_the_best_span_is_the_best_of_all_that_are_allowed() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        start, end = generator.normal(size=(2, 50))
        characters = np.stack([np.arange(45) * 2, np.arange(45) * 2 + 1], axis=1).astype(np.int32)
        allowed = [
            (start[first] + end[last], first, last)
            for first in range(4, 49)
            for last in range(first, min(first + 30, 49))
        ]
        score, first, last = max(allowed)
        found = best_span(start, end, (4, 49), characters)
        assert found == (pytest.approx(score), 2 * (first - 4), 2 * (last - 4) + 1)


def test_no_answer_wins_only_if_it_does_in_every_window() -> None:
    shape = QuestionAnswering(BERT, 12, no_answer=True, stride=2)
    encoded = shape.encode([QUESTION])
    heads = [[np.zeros(len(each["input_ids"])) for each in encoded.features] for _ in range(2)]
    for head in heads:
        for logits, cls in zip(head, (5.0, 1.0, 7.0), strict=True):
            logits[0] = cls
        head[0][9] = 2.0
    [answered] = shape.outcomes(encoded, heads)
    assert answered.answer == "paper"
    assert answered.no_answer_score == 2 * 1.0 - 2 * 2.0


def test_a_batch_is_padded_and_answers_may_stand_at_cls_and_in_the_context() -> None:
    shape = QuestionAnswering(BERT, 64)
    short = Question("s", "where?", "river stone", ("stone",), (6,))
    batch = padding_collator(BERT)(shape.encode([QUESTION, short]).features)
    length = batch["input_ids"].shape[1]
    assert batch["attention_mask"].sum(1).tolist() == [17, 7]
    assert batch["input_ids"][1, 7:].tolist() == [BERT.pad_token_id] * (length - 7)
    # [CLS] where ? [SEP] river stone [SEP]
    assert batch["answer_mask"][1].tolist() == [index in (0, 4, 5) for index in range(length)]
    assert batch["start_positions"].tolist() == [9, 5]
    words = WordClassification(BERT, 16, TAGS).encode(
        [TaggedWords(("river",), ("B-X",)), TaggedWords(("river", "stone"), ("O", "O"))]
    )
    assert padding_collator(BERT)(words.features)["labels"].tolist() == [
        [-100, 1, -100, -100],
        [-100, 0, 0, -100],
    ]
