from collections.abc import Callable

import pytest
import torch
from packaging_case import TEXTS, dense_model, locked_model, wordpiece_tokenizer
from transformers import PreTrainedModel

from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.errors import QuantizationError
from sparsezoo_hub.packaging.calibration import calibrate
from sparsezoo_hub.packaging.onnx_export import tokenized_batches

QUERY = "encoder.layer.0.attention.self.query.weight"


def seen_by_query(model: PreTrainedModel, batches: list[dict[str, torch.Tensor]]) -> torch.Tensor:
    """What the first query layer sees: the embeddings, for nothing stands between."""
    model.eval()
    with torch.no_grad():
        hidden = [model(**batch, output_hidden_states=True).hidden_states[0] for batch in batches]
    return torch.cat([each.flatten() for each in hidden])


def test_ranges_hold_all_that_was_seen() -> None:
    model, tokenizer = locked_model("bert-classifier"), wordpiece_tokenizer()
    batches = tokenized_batches(model, tokenizer, TEXTS)
    seen = seen_by_query(model, batches)
    found = calibrate(model, batches)[QUERY]
    lowest, highest = float(seen.min()), float(seen.max())
    assert lowest < 0 < highest
    scale = (highest - lowest) / 255
    assert float(found.input_scale) == pytest.approx(scale, rel=1e-5)
    assert int(found.input_zero_point) == round(-lowest / scale)
    weight = model.base_model.encoder.layer[0].attention.self.query.weight.detach()
    assert found.weight_scale.tolist() == pytest.approx([float(weight.abs().max()) / 127], rel=1e-5)


def test_every_output_feature_has_its_own_scale() -> None:
    model = dense_model("distilbert-classifier")
    found = calibrate(model, tokenized_batches(model, wordpiece_tokenizer(), TEXTS), per_channel=True)
    weight = model.base_model.transformer.layer[1].ffn.lin1.weight.detach()
    expected = [max(abs(float(value)) for value in row) / 127 for row in weight]
    assert found["transformer.layer.1.ffn.lin1.weight"].weight_scale.tolist() == pytest.approx(expected, 1e-5)
    assert len(found) == 12


def test_the_model_stays_as_it_is() -> None:
    model = locked_model("bert-classifier").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calibrate(model, tokenized_batches(model, wordpiece_tokenizer(), TEXTS))
    assert model.training
    assert len(PatternLock.masks(model)) == 12
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.base_model.encoder.modules())


@pytest.mark.parametrize("spoil", [lambda model: [], lambda model: [_nan(model)]], ids=["no text", "nan"])
def test_ranges_of_nothing_or_of_nan_are_refused(
    spoil: Callable[[PreTrainedModel], list[dict[str, torch.Tensor]]],
) -> None:
    model = dense_model("bert-classifier")
    with pytest.raises(QuantizationError, match=r"encoder\.layer\.0\.attention\.self\.query\.weight sees"):
        calibrate(model, spoil(model))


def _nan(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        model.base_model.embeddings.word_embeddings.weight[5] = float("nan")
    return {"input_ids": torch.tensor([[5, 6]])}
