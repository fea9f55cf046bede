import pytest
import torch
from packaging_case import locked_model, magnitude_masks
from torch import nn

from sparsezoo_hub import PatternLock, is_locked
from sparsezoo_hub.core.masks import mask_digest
from sparsezoo_hub.errors import LockError

peft = pytest.importorskip("peft")
# peft 0.21 still asks transformers by the older name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.fixture
def adapted() -> tuple[nn.Module, nn.Module, dict[str, torch.Tensor]]:
    """A locked model with a trained LoRA adapter on its queries; the model, the adapted one, the masks."""
    model = locked_model("bert-classifier")
    masks = PatternLock.masks(model)
    PatternLock.lock(model, masks)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["query"], task_type="SEQ_CLS"))
    optimizer = torch.optim.AdamW(wrapped.parameters(), lr=0.1)
    for _ in range(3):
        batch = {"input_ids": torch.randint(5, 100, (4, 8)), "labels": torch.tensor([0, 1, 2, 3])}
        wrapped(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, wrapped, masks


def test_training_an_adapter_leaves_the_base_as_it_is(adapted: tuple[nn.Module, ...]) -> None:
    _, wrapped, masks = adapted
    untouched = dict(locked_model("bert-classifier").base_model.named_parameters())
    weights = dict(wrapped.named_parameters())
    for name in masks:
        base = name.replace("query.weight", "query.base_layer.weight")
        (found,) = (weight for each, weight in weights.items() if each.endswith(base))
        assert torch.equal(found, untouched[name])
    assert is_locked(wrapped)


@pytest.mark.parametrize("way", ["merge_and_unload", "merge_adapter"])
def test_merging_into_a_locked_weight_is_refused_by_name(adapted: tuple[nn.Module, ...], way: str) -> None:
    _, wrapped, _ = adapted
    with pytest.raises(
        LockError, match=r"2 locked weights, encoder\.layer\.0\.attention\.self\.query\.weight"
    ):
        getattr(wrapped, way)()
    assert PatternLock.revived(wrapped) == 0


def test_merging_while_editing_keeps_the_pattern(adapted: tuple[nn.Module, ...]) -> None:
    _, wrapped, masks = adapted
    name = "encoder.layer.0.attention.self.query.weight"
    with PatternLock.editing(wrapped):
        merged = wrapped.merge_and_unload()
    weight = dict(merged.base_model.named_parameters())[name].detach()
    before = dict(locked_model("bert-classifier").base_model.named_parameters())[name]
    assert not weight[~masks[name]].any()
    assert not torch.equal(
        weight[masks[name]], before[masks[name]]
    )  # the adapter's share of kept weights is in
    assert mask_digest(PatternLock.masks(merged)) == mask_digest(
        magnitude_masks(locked_model("bert-classifier"))
    )
    assert PatternLock.verify(merged) == pytest.approx(0.9, abs=1e-3)


def test_taking_an_adapter_off_without_merging_is_free(adapted: tuple[nn.Module, ...]) -> None:
    _, wrapped, _ = adapted
    assert PatternLock.revived(wrapped.unload()) == 0
