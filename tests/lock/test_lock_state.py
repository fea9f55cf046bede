"""State dicts, editing, averaging, tied weights, resized embeddings."""

import copy

import pytest
import torch
from lock_case import (
    OPTIMIZERS,
    VOCABULARY,
    Contract,
    batch,
    encoder,
    locked_model,
    random_masks,
    small_model,
    train_plain,
)
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

from sparsezoo_hub import PatternLock, is_locked
from sparsezoo_hub.core.masks import mask_digest
from sparsezoo_hub.errors import LockError, MaskError

QUERY = "encoder.layer.0.attention.self.query.weight"
adamw = OPTIMIZERS["adamw-foreach"]


def digest(model: nn.Module) -> str:
    return mask_digest(PatternLock.masks(model))


def weight(model: nn.Module, name: str = QUERY) -> nn.Parameter:
    return dict(encoder(model).named_parameters())[name]


@pytest.mark.parametrize("assign", [False, True])
def test_a_dense_state_dict_is_refused_by_name(assign: bool) -> None:
    model = locked_model()
    dense = small_model().state_dict()
    with pytest.raises(LockError, match=r"encoder\.layer\.\d\.\S+\.weight: .* \d+ nonzero values"):
        model.load_state_dict(dense, assign=assign)


def test_one_nonzero_value_of_a_state_dict_is_refused() -> None:
    model = locked_model()
    state = copy.deepcopy(model.state_dict())
    state[f"bert.{QUERY}"].flatten()[int((weight(model) == 0).flatten().nonzero()[0])] = 1e-30
    with pytest.raises(LockError, match=rf"{QUERY}: .* 1 nonzero values"):
        model.load_state_dict(state)


@pytest.mark.parametrize("assign", [False, True])
def test_a_state_dict_of_the_same_pattern_is_loaded_and_held(assign: bool) -> None:
    model = locked_model()
    trained = copy.deepcopy(model)
    train_plain(trained, adamw(trained.parameters()))
    model.load_state_dict(copy.deepcopy(trained.state_dict()), assign=assign)
    assert torch.equal(weight(model), weight(trained))
    contract = Contract(model)
    train_plain(model, adamw(model.parameters()))
    contract.check(model)


def test_an_unlocked_model_takes_any_state_dict() -> None:
    model = locked_model()
    PatternLock.unlock(model)
    model.load_state_dict(small_model().state_dict())
    assert not (weight(model) == 0).any()


def test_what_editing_writes_under_the_pattern_is_zeroed_at_the_end() -> None:
    model = locked_model()
    contract = Contract(model)
    before = digest(model)
    with PatternLock.editing(model):
        model.load_state_dict(small_model().state_dict())
        with torch.no_grad():
            weight(model).add_(1)
        assert not (weight(model) == 0).any()
    assert digest(model) == before
    contract.check_zeros(model)
    train_plain(model, adamw(model.parameters()))
    contract.check(model)


def test_editing_with_changed_masks_prunes_more_and_promises_the_new_ones() -> None:
    model = locked_model()
    wanted = torch.zeros(16, 16, dtype=torch.bool)
    wanted[:, :8] = True
    with PatternLock.editing(model) as masks:
        masks[QUERY] = wanted
    assert torch.equal(PatternLock.masks(model)[QUERY], wanted)
    assert model.config.quantization_config["mask_digest"] == digest(model)
    train_plain(model, adamw(model.parameters()))
    assert not (weight(model)[~wanted] != 0).any()
    assert (weight(model)[wanted] != 0).float().mean() > 0.9


def test_a_copy_made_while_editing_is_closed() -> None:
    model = locked_model()
    with PatternLock.editing(model):
        copied = copy.deepcopy(model)
    with pytest.raises(LockError, match="nonzero values"):
        copied.load_state_dict(small_model().state_dict())


def test_editing_may_release_a_weight() -> None:
    model = locked_model()
    with PatternLock.editing(model) as masks:
        del masks[QUERY]
    train_plain(model, adamw(model.parameters()))
    assert (weight(model) != 0).float().mean() > 0.9
    assert len(PatternLock.masks(model)) == 11
    PatternLock.verify(model)


def test_editing_that_raises_keeps_the_masks_from_before() -> None:
    model = locked_model()
    contract = Contract(model)
    before = digest(model)

    def edit() -> None:
        with PatternLock.editing(model) as masks:
            masks[QUERY] = torch.ones(16, 16, dtype=torch.bool)
            model.load_state_dict(small_model().state_dict())
            raise KeyError("the user's own mistake")

    with pytest.raises(KeyError, match="own mistake"):
        edit()
    assert digest(model) == before
    train_plain(model, adamw(model.parameters()))
    contract.check(model)


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        (QUERY, torch.ones(2, 2, dtype=torch.bool)),
        (QUERY, torch.ones(16, 16)),
        ("encoder.layer.7.weight", torch.ones(16, 16, dtype=torch.bool)),
    ],
    ids=["other-shape", "other-dtype", "unknown"],
)
def test_editing_with_masks_that_do_not_fit_keeps_the_masks_from_before(
    name: str, mask: torch.Tensor
) -> None:
    model = locked_model()
    contract = Contract(model)
    before = digest(model)

    def edit() -> None:
        with PatternLock.editing(model) as masks:
            masks[name] = mask
            with torch.no_grad():
                weight(model).add_(1)

    with pytest.raises(MaskError):
        edit()
    assert digest(model) == before
    assert PatternLock.revived(model) == 0
    with pytest.raises(LockError, match="nonzero values"):  # and the lock is closed again
        model.load_state_dict(small_model().state_dict())
    with PatternLock.editing(model):
        pass
    contract.check_zeros(model)


@pytest.mark.parametrize("head", ["masked-lm", "sequence"])
def test_resized_token_embeddings_leave_the_lock(head: str) -> None:
    model = locked_model(head)
    before = digest(model)
    model.resize_token_embeddings(VOCABULARY + 4, mean_resizing=False)
    contract = Contract(model)
    train_plain(model, adamw(model.parameters()), head)
    contract.check(model)
    assert digest(model) == before


def tied_pair() -> nn.Sequential:
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    model[2].weight = model[0].weight
    return model


@pytest.mark.parametrize("names", [["0.weight"], ["2.weight"], ["0.weight", "2.weight"]])
def test_a_weight_that_two_modules_share_keeps_its_zeros(names: list[str]) -> None:
    model = tied_pair()
    mask = torch.rand(8, 8) > 0.5
    PatternLock.prune(model, dict.fromkeys(names, mask))
    for trained in (model, copy.deepcopy(model)):
        before = trained[0].weight.detach().clone()
        optimizer = adamw(trained.parameters())
        for _ in range(3):
            trained(torch.randn(4, 8)).square().sum().backward()
            optimizer.step()
        assert trained[0].weight is trained[2].weight
        assert not trained[0].weight[~mask].any()
        assert (trained[0].weight != before)[mask].all()


def test_tied_embeddings_stay_tied_and_the_layers_locked() -> None:
    model = locked_model(tie_word_embeddings=True)
    contract = Contract(model)
    train_plain(model, adamw(model.parameters()))
    contract.check(model)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


AVERAGES = {"ema": get_ema_multi_avg_fn(0.5), "swa": get_swa_multi_avg_fn()}


@pytest.mark.parametrize("average", AVERAGES)
def test_an_averaged_model_is_locked_and_its_zeros_are_zero(average: str) -> None:
    model = locked_model()
    contract = Contract(model)
    averaged = AveragedModel(model, multi_avg_fn=AVERAGES[average], use_buffers=average == "ema")
    assert is_locked(averaged)
    optimizer = adamw(model.parameters())
    for _ in range(3):
        train_plain(model, optimizer, steps=1)
        averaged.update_parameters(model)
    contract.check(model)
    contract.check(averaged.module)
    assert digest(averaged) == digest(model)
    assert PatternLock.verify(averaged) == PatternLock.verify(model)
    assert averaged(**batch()).loss.isfinite()
    train_plain(averaged.module, adamw(averaged.module.parameters()))
    contract.check(averaged.module)


def test_a_mask_given_for_a_shared_pattern_is_not_changed_by_training() -> None:
    model = small_model()
    masks = random_masks(model)
    kept = copy.deepcopy(masks)
    PatternLock.prune(model, masks)
    train_plain(model, adamw(model.parameters()))
    assert all(torch.equal(masks[name], kept[name]) for name in kept)
