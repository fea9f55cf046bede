import pytest
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from sparsezoo_hub.core.targets import linear_modules, match_targets
from sparsezoo_hub.errors import TargetError

SIZES = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
BERT = BertConfig(**SIZES, intermediate_size=32)


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (BertForMaskedLM(BERT), 12),
        (RobertaForMaskedLM(RobertaConfig(**SIZES, intermediate_size=32)), 12),
        (
            DistilBertForMaskedLM(
                DistilBertConfig(vocab_size=50, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
            ),
            12,
        ),
    ],
    ids=["bert", "roberta", "distilbert"],
)
def test_encoder_means_the_six_linear_weights_of_every_layer_and_nothing_else(
    model: nn.Module, count: int
) -> None:
    found = match_targets(model, ["encoder"])
    assert len(found) == count
    assert all(".layer." in name and name.endswith(".weight") for name in found)


def test_names_are_the_same_under_every_head() -> None:
    heads = [BertForMaskedLM(BERT), BertForSequenceClassification(BERT), BertModel(BERT)]
    names = [set(match_targets(model, ["encoder"])) for model in heads]
    assert names[0] == names[1] == names[2]
    assert "encoder.layer.0.attention.self.query.weight" in names[0]


def test_heads_are_no_components_but_the_pooler_is() -> None:
    names = set(linear_modules(BertForSequenceClassification(BERT)))
    assert "pooler.dense.weight" in names
    assert not any("classifier" in name for name in names)


def test_patterns_and_ignored_patterns_choose() -> None:
    found = match_targets(BertForMaskedLM(BERT), ["encoder.layer.1.*"], ["*attention*"])
    assert list(found) == ["encoder.layer.1.intermediate.dense.weight", "encoder.layer.1.output.dense.weight"]


@pytest.mark.parametrize(
    ("targets", "ignore"), [(["encoder.layers.*"], []), (["encoder"], ["encoder.layer.9.*"])]
)
def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_name(
    targets: list[str], ignore: list[str]
) -> None:
    with pytest.raises(TargetError, match=r"matches none of the 12 Linear weights.*did you mean 'encoder"):
        match_targets(BertForMaskedLM(BERT), targets, ignore)


def test_targets_that_are_all_ignored_are_refused() -> None:
    with pytest.raises(TargetError, match="leave no weight"):
        match_targets(BertForMaskedLM(BERT), ["encoder"], ["encoder"])
