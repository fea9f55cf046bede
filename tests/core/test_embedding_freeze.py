import copy
import gc
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForMaskedLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from sparsezoo_hub.core.embedding_freeze import EmbeddingFreeze, embedding_parameters

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
}
IDS = torch.arange(2, 18).reshape(2, 8)

Weights = list[nn.Parameter]
OPTIMIZERS: dict[str, Callable[[Weights], torch.optim.Optimizer]] = {
    "adamw": lambda weights: torch.optim.AdamW(weights, 0.01, weight_decay=0.1),
    "adamw-fused": lambda weights: torch.optim.AdamW(weights, 0.01, weight_decay=0.1, fused=True),
    "sgd": lambda weights: torch.optim.SGD(weights, 0.01, momentum=0.9, weight_decay=0.1),
    "rmsprop": lambda weights: torch.optim.RMSprop(weights, 0.01, momentum=0.9, weight_decay=0.1),
}


def masked_lm(seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return BertForMaskedLM(BertConfig(**SIZES))


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def moved(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}


def backward(model: nn.Module) -> Tensor:
    loss: Tensor = model(input_ids=IDS, labels=IDS).loss
    loss.backward()
    return loss


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    backward(model)
    optimizer.step()
    optimizer.zero_grad()


def of_embeddings(names: set[str]) -> set[str]:
    return {name for name in names if ".embeddings." in name}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            BertForSequenceClassification(BertConfig(**SIZES)),
            {"word_embeddings.weight", "position_embeddings.weight", "token_type_embeddings.weight"},
        ),
        (
            RobertaForMaskedLM(RobertaConfig(**SIZES)),
            {"word_embeddings.weight", "position_embeddings.weight", "token_type_embeddings.weight"},
        ),
        (
            DistilBertForMaskedLM(
                DistilBertConfig(vocab_size=40, dim=16, n_heads=2, n_layers=1, hidden_dim=24)
            ),
            {"word_embeddings.weight", "position_embeddings.weight"},
        ),
    ],
    ids=["bert", "roberta", "distilbert"],
)
def test_the_embeddings_are_all_tables_and_their_layer_norm(
    model: PreTrainedModel, expected: set[str]
) -> None:
    names = {f"embeddings.{name}" for name in expected | {"LayerNorm.weight", "LayerNorm.bias"}}
    assert set(embedding_parameters(model)) == names


def test_a_tied_decoder_is_the_word_embeddings() -> None:
    model = masked_lm()
    found = embedding_parameters(model)
    assert found["embeddings.word_embeddings.weight"] is model.cls.predictions.decoder.weight


def test_a_model_without_embeddings_is_refused() -> None:
    with pytest.raises(ValueError, match="no parameters under embeddings"):
        EmbeddingFreeze(nn.Linear(2, 2))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_momentum_and_weight_decay_from_earlier_steps_do_not_move_frozen_embeddings(name: str) -> None:
    model = masked_lm()
    optimizer = OPTIMIZERS[name](list(model.parameters()))
    for _ in range(3):
        step(model, optimizer)
    freeze = EmbeddingFreeze(model)
    freeze.freeze()
    before = snapshot(model)
    for _ in range(3):
        step(model, optimizer)
    changed = moved(model, before)
    assert not of_embeddings(changed)
    assert changed == before.keys() - of_embeddings(set(before))
    freeze.release()
    step(model, optimizer)
    assert of_embeddings(moved(model, before)) == of_embeddings(set(before))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_made_after_the_freeze_leaves_embeddings_alone(name: str) -> None:
    model = masked_lm()
    freeze = EmbeddingFreeze(model)
    freeze.freeze()
    before = snapshot(model)
    optimizer = OPTIMIZERS[name](list(model.parameters()))
    for _ in range(2):
        step(model, optimizer)
    assert moved(model, before)
    assert not of_embeddings(moved(model, before))
    assert all(weight.requires_grad for weight in model.parameters())
    freeze.release()


def test_a_step_that_computes_gradients_itself_leaves_embeddings_alone() -> None:
    model = masked_lm()
    optimizer = OPTIMIZERS["sgd"](list(model.parameters()))
    step(model, optimizer)
    freeze = EmbeddingFreeze(model)
    freeze.freeze()
    before = snapshot(model)
    optimizer.step(lambda: backward(model).item())
    assert moved(model, before)
    assert not of_embeddings(moved(model, before))
    freeze.release()


def test_gradients_from_before_the_freeze_are_dropped() -> None:
    model = masked_lm()
    optimizer = OPTIMIZERS["sgd"](list(model.parameters()))
    backward(model)
    freeze = EmbeddingFreeze(model)
    freeze.freeze()
    before = snapshot(model)
    optimizer.step()
    assert moved(model, before)
    assert not of_embeddings(moved(model, before))
    freeze.release()


def test_gradients_written_by_hand_do_not_reach_the_optimizer() -> None:
    model = masked_lm()
    freeze = EmbeddingFreeze(model)
    freeze.freeze()
    before = snapshot(model)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    OPTIMIZERS["sgd"](list(model.parameters())).step()
    assert not of_embeddings(moved(model, before))
    freeze.release()


def test_frozen_embeddings_do_not_count_when_gradients_are_clipped() -> None:
    model = masked_lm().eval()
    backward(model)
    rest = [weight.grad for name, weight in model.named_parameters() if ".embeddings." not in name]
    expected = torch.stack([gradient.norm() for gradient in rest if gradient is not None]).norm()
    with_embeddings = nn.utils.clip_grad_norm_(model.parameters(), 1e9)
    model.zero_grad()
    freeze = EmbeddingFreeze(model)
    freeze.freeze()
    backward(model)
    assert nn.utils.clip_grad_norm_(model.parameters(), 1e9).item() == pytest.approx(
        expected.item(), rel=1e-6
    )
    assert with_embeddings > 1.01 * expected
    freeze.release()


def test_freezing_twice_and_releasing_twice_is_once() -> None:
    model = masked_lm()
    freeze = EmbeddingFreeze(model)
    freeze.release()
    freeze.freeze()
    freeze.freeze()
    assert freeze.is_frozen
    freeze.release()
    freeze.release()
    assert not freeze.is_frozen
    before = snapshot(model)
    step(model, OPTIMIZERS["sgd"](list(model.parameters())))
    assert of_embeddings(moved(model, before)) == of_embeddings(set(before))


def test_the_rest_is_trained_as_if_the_embeddings_could_not_be() -> None:
    model, reference = masked_lm().eval(), masked_lm().eval()
    for weight in reference.bert.embeddings.parameters():
        weight.requires_grad_(False)
    freeze = EmbeddingFreeze(model)
    freeze.freeze()
    optimizers = [OPTIMIZERS["adamw"](list(each.parameters())) for each in (model, reference)]
    for _ in range(3):
        for each, optimizer in zip((model, reference), optimizers, strict=True):
            step(each, optimizer)
    freeze.release()
    assert not moved(model, snapshot(reference))


def test_a_freeze_that_nobody_holds_ends_and_keeps_no_model_alive() -> None:
    model = masked_lm()
    EmbeddingFreeze(model).freeze()
    before = snapshot(model)
    step(model, OPTIMIZERS["sgd"](list(model.parameters())))
    assert of_embeddings(moved(model, before)) == of_embeddings(set(before))
    freeze = EmbeddingFreeze(model)
    freeze.freeze()
    alive = weakref.ref(model)
    del model, freeze
    gc.collect()
    assert alive() is None


def test_a_copy_is_not_frozen_and_the_original_still_is() -> None:
    model = masked_lm()
    freeze = EmbeddingFreeze(model)
    freeze.freeze()
    twin = copy.deepcopy(model)
    before = snapshot(model)
    for each in (model, twin):
        step(each, OPTIMIZERS["sgd"](list(each.parameters())))
    assert not of_embeddings(moved(model, before))
    assert of_embeddings(moved(twin, before))
    freeze.release()


def test_a_table_that_was_resized_is_frozen_from_the_next_step_on() -> None:
    model = masked_lm()
    freeze = EmbeddingFreeze(model)
    freeze.freeze()
    model.resize_token_embeddings(48, mean_resizing=False)
    before = snapshot(model)
    optimizer = OPTIMIZERS["sgd"](list(model.parameters()))
    for _ in range(2):
        step(model, optimizer)
    assert not of_embeddings(moved(model, before))
    freeze.release()


@pytest.fixture
def one_process() -> Iterator[None]:
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("as_views", [False, True])
@pytest.mark.parametrize("wrapped_first", [False, True])
@pytest.mark.usefixtures("one_process")
def test_the_freeze_holds_under_ddp_and_ends(wrapped_first: bool, as_views: bool) -> None:
    model = masked_lm()
    freeze = EmbeddingFreeze(model)
    if not wrapped_first:
        freeze.freeze()
    parallel = DistributedDataParallel(model, gradient_as_bucket_view=as_views, find_unused_parameters=True)
    optimizer = OPTIMIZERS["adamw"](list(parallel.parameters()))
    if wrapped_first:
        step(parallel, optimizer)
        freeze.freeze()
    before = snapshot(model)
    for _ in range(3):
        backward(parallel)
        gradients = [weight.grad for weight in embedding_parameters(model).values()]
        assert all(gradient is None or not gradient.any() for gradient in gradients)
        optimizer.step()
        optimizer.zero_grad()
    assert not of_embeddings(moved(model, before))
    freeze.release()
    step(parallel, optimizer)
    assert of_embeddings(moved(model, before)) == of_embeddings(set(before))
