import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from sparsezoo_hub import PatternLock, is_locked
from sparsezoo_hub.core.masks import mask_digest, top_k_mask
from sparsezoo_hub.core.targets import match_targets
from sparsezoo_hub.errors import LockError, MaskError

OPTIMIZERS = {
    "adamw": lambda weights: torch.optim.AdamW(weights, lr=0.01, weight_decay=0.1),
    "adamw-foreach": lambda weights: torch.optim.AdamW(weights, lr=0.01, foreach=True),
    "sgd-momentum": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9, weight_decay=0.1),
    "rmsprop": lambda weights: torch.optim.RMSprop(weights, lr=0.01),
    "adafactor": lambda weights: torch.optim.Adafactor(weights, lr=0.01),
}


def small_bert(head: type = BertForMaskedLM) -> nn.Module:
    torch.manual_seed(0)
    return head(
        BertConfig(
            vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        )
    )


def magnitude_masks(model: nn.Module, sparsity: float = 0.9) -> dict[str, torch.Tensor]:
    return {
        name: top_k_mask(module.weight.abs(), sparsity)
        for name, module in match_targets(model, ["encoder"]).items()
    }


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    for _ in range(steps):
        ids = torch.randint(5, 60, (4, 8))
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def nonzero_under(model: nn.Module, masks: dict[str, torch.Tensor]) -> int:
    """Counted here, without the code under test."""
    weights = dict(model.base_model.named_parameters())
    return sum(int((weights[name].detach()[~mask] != 0).sum()) for name, mask in masks.items())


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_zeros_stay_zero_and_the_rest_moves(optimizer: object) -> None:
    model = small_bert()
    masks = magnitude_masks(model)
    PatternLock.prune(model, masks)
    PatternLock.lock(model, masks)
    before = copy.deepcopy(
        {name: weight for name, weight in model.base_model.named_parameters() if name in masks}
    )
    train(model, optimizer(model.parameters()))
    assert nonzero_under(model, masks) == PatternLock.revived(model) == 0
    after = dict(model.base_model.named_parameters())
    moved = torch.cat([after[name][mask] != before[name][mask] for name, mask in masks.items()])
    assert moved.float().mean() > 0.8  # a pruned key row leaves its query row without gradient


def test_without_the_lock_the_same_steps_revive_weights() -> None:
    model = small_bert()
    masks = magnitude_masks(model)
    PatternLock.prune(model, masks)
    PatternLock.unlock(model)
    train(model, torch.optim.AdamW(model.parameters(), lr=0.01))
    assert nonzero_under(model, masks) > 1000


def test_momentum_from_before_the_lock_revives_nothing() -> None:
    model = small_bert()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    train(model, optimizer)
    masks = magnitude_masks(model)
    PatternLock.prune(model, masks)
    train(model, optimizer)
    assert nonzero_under(model, masks) == 0


def test_the_gradient_of_a_pruned_weight_is_zero_and_of_a_kept_one_is_the_same() -> None:
    model = small_bert().eval()
    ids = torch.randint(5, 60, (4, 8))
    masks = magnitude_masks(model)
    PatternLock.prune(model, masks)
    PatternLock.unlock(model)
    model(input_ids=ids, labels=ids).loss.backward()
    weights = dict(model.base_model.named_parameters())
    free = {name: weights[name].grad.clone() for name in masks}
    model.zero_grad()
    PatternLock.lock(model, masks)
    model(input_ids=ids, labels=ids).loss.backward()
    for name, mask in masks.items():
        assert torch.equal(weights[name].grad, free[name].masked_fill(~mask, 0))


def test_a_nan_gradient_leaves_pruned_weights_at_zero() -> None:
    model = small_bert()
    masks = magnitude_masks(model)
    PatternLock.prune(model, masks)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, float("nan"))
    optimizer.step()
    assert nonzero_under(model, masks) == 0


def test_pruned_zeros_are_positive() -> None:
    model = small_bert()
    masks = magnitude_masks(model)
    PatternLock.prune(model, masks)
    train(model, torch.optim.AdamW(model.parameters(), lr=0.01))
    weights = dict(model.base_model.named_parameters())
    assert not any(torch.signbit(weights[name][~mask]).any() for name, mask in masks.items())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), names=st.lists(st.sampled_from(sorted(OPTIMIZERS)), min_size=1, max_size=3))
def test_no_sequence_of_optimizers_revives_a_weight(seed: int, names: list[str]) -> None:
    torch.manual_seed(seed)
    model = small_bert()
    masks = {
        name: torch.rand_like(module.weight) < 0.3
        for name, module in match_targets(model, ["encoder"]).items()
    }
    PatternLock.prune(model, masks)
    for name in names:
        train(model, OPTIMIZERS[name](model.parameters()), steps=1)
    assert nonzero_under(model, masks) == 0


def test_masks_found_again_under_another_head_lock_it() -> None:
    language_model = small_bert()
    masks = magnitude_masks(language_model)
    PatternLock.prune(language_model, masks)
    classifier = small_bert(BertForSequenceClassification)
    classifier.bert.encoder.load_state_dict(language_model.bert.encoder.state_dict())
    PatternLock.lock(classifier, masks)
    assert mask_digest(PatternLock.masks(classifier)) == mask_digest(masks)


def test_lock_refuses_weights_that_are_not_zero_and_names_one() -> None:
    model = small_bert()
    with pytest.raises(MaskError, match=r"disagree in 12 of 12.*encoder\.layer\.0\.attention\.self\.query"):
        PatternLock.lock(model, magnitude_masks(model))
    assert not is_locked(model)


def test_lock_refuses_unknown_names_and_other_shapes() -> None:
    model = small_bert()
    with pytest.raises(MaskError, match=r"the first is layer\.9"):
        PatternLock.lock(model, {"layer.9": torch.ones(2, 2, dtype=torch.bool)})
    name = "encoder.layer.0.attention.self.query.weight"
    with pytest.raises(MaskError, match=r"\(16, 16\).*\(2, 2\)"):
        PatternLock.lock(model, {name: torch.ones(2, 2, dtype=torch.bool)})


def test_lock_from_zeros_takes_the_weights_that_have_zeros() -> None:
    model = small_bert()
    with pytest.raises(LockError, match="no pattern"):
        PatternLock.lock_from_zeros(model)
    masks = magnitude_masks(model)
    PatternLock.prune(model, masks)
    PatternLock.unlock(model)
    with pytest.raises(LockError, match=r"less than the minimum of 0\.95"):
        PatternLock.lock_from_zeros(model, min_sparsity=0.95)
    assert not is_locked(model)
    report = PatternLock.lock_from_zeros(model, min_sparsity=0.85)
    assert mask_digest(PatternLock.masks(model)) == mask_digest(masks)
    assert [each.zeros for each in report] == [int((~mask).sum()) for mask in masks.values()]


def test_the_configuration_promises_the_lock_as_long_as_it_holds() -> None:
    model = small_bert()
    masks = magnitude_masks(model, 0.75)
    PatternLock.prune(model, masks)
    assert not hasattr(model.config, "quantization_config")
    PatternLock.lock(model, masks)
    assert model.config.quantization_config == {
        "quant_method": "pattern_lock",
        "sparsity": 0.75,
        "mask_digest": mask_digest(masks),
    }
    PatternLock.unlock(model)
    assert not hasattr(model.config, "quantization_config")
    assert not is_locked(model)
