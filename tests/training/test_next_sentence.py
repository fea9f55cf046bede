from pathlib import Path

import pytest
import torch
from numbered_words import numbered_texts, numbered_tokenizer
from torch.nn.functional import cross_entropy
from training_case import sparse_trainer
from transformers import BertConfig, BertForPreTraining

from sparsezoo_hub.training.evaluation import evaluate
from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.sentence_pairs import SentencePairs
from sparsezoo_hub.training.token_masking import TokenMasking, mask_once, padding_collator
from sparsezoo_hub.training.trainer import task_loss

KIND = "masked_lm_next_sentence"
OBJECTIVE = OBJECTIVES[KIND]
TOKENIZER = numbered_tokenizer(40)


def learnable_pairs() -> SentencePairs:
    # One document repeats a line of 20 words; others are a line of other words, so they are only ever the
    # random segment. Both the next word and the next segment can be told from the words.
    line, *others = (text for text in numbered_texts([[20], [10], [10]]))
    return SentencePairs(["\n".join([line] * 200), *others], TOKENIZER, 24, 0.1)


def model(vocab_size: int = len(TOKENIZER)) -> BertForPreTraining:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return BertForPreTraining(config)


def heads(bert: BertForPreTraining, rows: list[dict[str, torch.Tensor]]) -> list[float]:
    with torch.no_grad():
        outcome = OBJECTIVE.predict(bert.eval(), padding_collator(TOKENIZER)(rows))
    return [float(cross_entropy(each.logits, each.labels)) for each in outcome.predictions]


@pytest.mark.parametrize("whole_word", [False, True])
def test_the_two_heads_sum_to_the_models_own_loss(whole_word: bool) -> None:
    bert = model().eval()
    pairs = learnable_pairs()
    batch = padding_collator(TOKENIZER)(mask_once(pairs, TOKENIZER, 0.15, 12, whole_word))
    assert len(set(batch["attention_mask"].sum(dim=1).tolist())) > 1  # padded
    assert set(batch["next_sentence_label"].tolist()) == {0, 1}
    own = bert(**batch).loss
    torch.testing.assert_close(task_loss(OBJECTIVE.predict(bert, batch)), own)


def test_training_teaches_both_heads(tmp_path: Path) -> None:
    bert, pairs = model(), learnable_pairs()
    rows = mask_once(pairs, TOKENIZER, 0.15, 64)
    before = heads(bert, rows)
    trainer = sparse_trainer(
        tmp_path,
        bert,
        KIND,
        [pairs[index] for index in range(len(pairs))],
        steps=60,
        batch_size=16,
        mask=TokenMasking(TOKENIZER, 0.15, whole_word=True),
    )
    trainer.data_collator = padding_collator(TOKENIZER)
    trainer.train()
    after = heads(bert, rows)
    assert after[0] < before[0] - 0.7
    assert after[1] < before[1] / 2


def test_an_evaluation_is_of_the_masked_tokens_over_padded_rows() -> None:
    bert = model()
    rows = mask_once(learnable_pairs(), TOKENIZER, 0.15, 40)
    batch = padding_collator(TOKENIZER)(rows)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        logits = bert.eval()(**inputs).prediction_logits
    expected = cross_entropy(logits.flatten(0, 1), batch["labels"].flatten())
    found = evaluate(bert, OBJECTIVE, rows, padding_collator(TOKENIZER), batch_size=7)
    assert found.loss == pytest.approx(float(expected), rel=1e-5)
    assert found.num_predictions == int((batch["labels"] != -100).sum())
