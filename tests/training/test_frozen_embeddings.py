from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training_case import LANGUAGE_MODELS, language_model, masked_rows, stack
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from sparsezoo_hub.training.frozen_embeddings import FrozenEmbeddings

STEPS = 6


class Recorder(TrainerCallback):
    """The embeddings and the rest after every step (0: before the first), found here by their names."""

    def __init__(self) -> None:
        self.weights: dict[int, dict[str, Tensor]] = {}
        self.norms: list[float] = []

    def _record(self, step: int, model: nn.Module) -> None:
        self.weights[step] = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **kwargs: Any) -> None:
        self._record(state.global_step, kwargs["model"])

    def on_step_end(self, _args: Any, state: Any, _control: Any, **kwargs: Any) -> None:
        self._record(state.global_step, kwargs["model"])

    def on_log(self, _args: Any, _state: Any, _control: Any, logs: dict[str, float], **_kwargs: Any) -> None:
        if "grad_norm" in logs:
            self.norms.append(logs["grad_norm"])

    def moved(self, first: int, second: int) -> set[str]:
        one, other = self.weights[first], self.weights[second]
        return {name for name in one if not torch.equal(one[name], other[name])}


def embeddings(names: Any) -> set[str]:
    return {name for name in names if ".embeddings." in name}


def trainer(
    folder: Path, model: PreTrainedModel, callbacks: list[TrainerCallback], **arguments: Any
) -> Trainer:
    settings = {
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "learning_rate": 0.01,
        "weight_decay": 0.1,
        "save_strategy": "no",
        "logging_steps": 1,
        "lr_scheduler_type": "constant",
    }
    made = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            use_cpu=True,
            disable_tqdm=True,
            report_to=[],
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            **{**settings, **arguments},
        ),
        train_dataset=masked_rows(40),
        data_collator=stack,
        callbacks=callbacks,
    )
    made.remove_callback(PrinterCallback)
    return made


def trained(folder: Path, until: int | None, kind: str = "bert", **arguments: Any) -> Recorder:
    model = language_model(kind)
    recorder = Recorder()
    callbacks = [FrozenEmbeddings(model, until), recorder]
    trainer(folder, model, callbacks, **arguments).train()
    return recorder


@pytest.mark.parametrize("optimizer", ["adamw_torch", "sgd", "adafactor"])
@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_embeddings_stand_still_until_the_step_and_move_from_it_on(
    kind: str, optimizer: str, tmp_path: Path
) -> None:
    recorder = trained(tmp_path, 3, kind, optim=optimizer)
    every = embeddings(recorder.weights[0])
    assert len(every) == (4 if kind == "distilbert" else 5)
    for step in (1, 2, 3):
        assert not embeddings(recorder.moved(0, step))
        assert recorder.moved(step - 1, step)
    assert embeddings(recorder.moved(3, 4)) == every


def test_without_a_step_embeddings_stand_still_for_the_stage(tmp_path: Path) -> None:
    recorder = trained(tmp_path, None)
    changed = recorder.moved(0, STEPS)
    assert changed
    assert not embeddings(changed)


def test_accumulated_gradients_are_dropped_too(tmp_path: Path) -> None:
    recorder = trained(tmp_path, 2, gradient_accumulation_steps=2)
    assert not embeddings(recorder.moved(0, 2))
    assert embeddings(recorder.moved(2, 3))


def test_the_gradient_that_is_clipped_is_that_of_the_rest(tmp_path: Path) -> None:
    frozen = trained(tmp_path / "frozen", None, max_grad_norm=0.05)
    model = language_model()
    for weight in model.bert.embeddings.parameters():
        weight.requires_grad_(False)
    recorder = Recorder()
    trainer(tmp_path / "reference", model, [recorder], max_grad_norm=0.05).train()
    assert frozen.norms == recorder.norms
    assert min(frozen.norms) > 0.05  # it was clipped
    assert all(
        torch.equal(frozen.weights[STEPS][name], recorder.weights[STEPS][name]) for name in frozen.weights[0]
    )


def test_after_the_stage_embeddings_are_trained_again(tmp_path: Path) -> None:
    model = language_model()
    frozen = FrozenEmbeddings(model)
    trainer(tmp_path, model, [frozen]).train()
    assert not frozen.embeddings.is_frozen
    recorder = Recorder()
    trainer(tmp_path, model, [recorder]).train()
    assert embeddings(recorder.moved(0, 1)) == embeddings(recorder.weights[0])


@pytest.mark.parametrize("until", [2, 3, 4])
def test_a_resumed_run_ends_where_one_that_was_not_interrupted_does(until: int, tmp_path: Path) -> None:
    # The checkpoint is that of step 3: before, at and after the end of the freeze.
    whole = trained(tmp_path / "run", until, save_strategy="steps", save_steps=3)
    model = language_model(seed=1)
    recorder = Recorder()
    again = trainer(tmp_path / "again", model, [FrozenEmbeddings(model, until), recorder])
    again.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))
    assert sorted(recorder.weights) == [3, 4, 5, 6]
    for step in (3, 4, 5, 6):
        weights = whole.weights[step]
        assert all(torch.equal(weights[name], recorder.weights[step][name]) for name in weights)


@pytest.mark.parametrize(("done", "frozen"), [(0, True), (2, True), (3, False), (5, False)])
def test_a_run_that_begins_after_the_step_does_not_freeze(done: int, frozen: bool, tmp_path: Path) -> None:
    callback = FrozenEmbeddings(language_model(), 3)
    state = TrainerState(global_step=done)
    callback.on_train_begin(TrainingArguments(output_dir=str(tmp_path)), state, TrainerControl())
    assert callback.embeddings.is_frozen is frozen
    callback.embeddings.release()


@pytest.mark.parametrize("until", [0, -1])
def test_a_freeze_of_no_step_is_refused(until: int) -> None:
    with pytest.raises(ValueError, match=f"step 1 or later, got {until}"):
        FrozenEmbeddings(language_model(), until)


def test_a_model_without_embeddings_is_refused() -> None:
    with pytest.raises(ValueError, match="no parameters under embeddings"):
        FrozenEmbeddings(nn.Linear(2, 2))
