"""A stage that trains for int8 and what it leaves; the best model of a stage; a fraction of its examples."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from run_case import NUM_LOCKED, SHORT_RECIPE, tiny_recipe, weights_are_equal
from safetensors.torch import load_file
from torch.utils.data import Subset
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from sparsezoo_hub import PatternLock
from sparsezoo_hub.core.fake_quantization import (
    FakeQuantizedLinear,
    apply_ranges,
    learned_ranges,
    tensors_ranges,
)
from sparsezoo_hub.core.quantization_names import RANGES_FILE
from sparsezoo_hub.core.stage_settings import Quantization
from sparsezoo_hub.core.targets import linear_modules
from sparsezoo_hub.training.progress import Progress
from sparsezoo_hub.training.quantizer import Quantizer
from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.stage_data import EVERY

STEPS = 20  # progress is shown after steps 10 and 20
STAGE = f"""
  - name: int8
    model: student
    objective: {{kind: sequence_classification}}
    data: python-documentation-parts
    max_length: 16
    steps: {STEPS}
    batch_size: 8
    learning_rate: {{peak: 1.0e-2}}
    lock: true
    evaluations: 5
    quantization: {{start: 5, freeze: 12}}
"""


def run_of(
    out: Path, texts: list[Path], change: str = "", every: int = 1000, watcher: object = None
) -> RecipeRun:
    text = SHORT_RECIPE.replace("\npackage: student", f"{STAGE}{change}\npackage: int8").replace(
        "steps: 12", "steps: 10"
    )
    # Weights so large that rounding shows in the outputs.
    text = text.replace("max_position_embeddings: 32", "max_position_embeddings: 32, initializer_range: 0.5")
    options = {} if watcher is None else {"watcher": watcher}
    run = RecipeRun(
        tiny_recipe(text),
        out,
        text={EVERY: texts},
        options=RunOptions(checkpoint_every=every),
        **options,  # type: ignore[arg-type]
    )
    run.make_parents()
    run.run_stage("teacher")
    run.run_stage("student")
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, texts: list[Path]) -> RecipeRun:
    run = run_of(tmp_path_factory.mktemp("int8") / "run", texts)
    run.run_stage("int8")
    return run


def interrupt_int8(progress: Progress) -> None:
    if progress.stage == "int8" and progress.step == STEPS // 2:
        raise KeyboardInterrupt


def test_the_saved_model_is_an_ordinary_one_and_its_ranges_lie_beside_it(finished: RecipeRun) -> None:
    folder = finished.model_folder("int8")
    model, loading = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    assert not any(isinstance(each, FakeQuantizedLinear) for each in model.modules())
    masks = PatternLock.masks(model)
    assert sum(int((~mask).sum()) for mask in masks.values()) == NUM_LOCKED
    ranges = tensors_ranges(load_file(folder / RANGES_FILE))
    assert set(ranges) == set(masks)  # every linear layer of the encoder, nothing else
    modules = linear_modules(model)
    for name, each in ranges.items():
        largest = modules[name].weight.detach().abs().max().item()
        # The range was frozen at step 12, and the weight has moved by at most a few learning rates since.
        assert each.weight_scale.item() == pytest.approx(largest / 127, rel=0.5)
        assert 0 < int(each.input_zero_point) < 255


def test_the_model_was_judged_as_int8_computes_it(finished: RecipeRun) -> None:
    (result,) = finished.run_stage("int8")
    folder = finished.model_folder("int8")
    stage = finished.recipe.stage("int8")
    data = finished.data.stage_data(stage, finished.tokenizer, 0)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    floats = data.evaluate(model)
    apply_ranges(model, tensors_ranges(load_file(folder / RANGES_FILE)))
    assert data.evaluate(model).loss == pytest.approx(result.validation_loss, abs=1e-7)
    assert floats.loss != pytest.approx(result.validation_loss, abs=2e-6)


def test_a_run_that_was_interrupted_while_ranges_are_learned_ends_like_one_that_was_not(
    finished: RecipeRun, texts: list[Path], tmp_path: Path
) -> None:
    cut = run_of(tmp_path / "cut", texts, every=4, watcher=interrupt_int8)
    with pytest.raises(KeyboardInterrupt):
        cut.run_stage("int8")
    again = run_of(tmp_path / "cut", texts, every=4)
    (result,) = again.run_stage("int8")
    one, other = finished.model_folder("int8"), again.model_folder("int8")
    assert weights_are_equal(one, other)
    first, second = load_file(one / RANGES_FILE), load_file(other / RANGES_FILE)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert result.validation_loss == json.loads((one / "result.json").read_text())["validation_loss"]


def test_a_run_that_goes_on_after_its_last_step_has_the_ranges_of_its_last_weights() -> None:
    def quantizer() -> tuple[BertModel, Quantizer]:
        torch.manual_seed(0)
        size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        model = BertModel(BertConfig(vocab_size=20, **size))  # type: ignore[arg-type]
        return model, Quantizer(Quantization(start=2), model.train())

    model, first = quantizer()
    arguments, control = TrainingArguments(output_dir="unused", report_to="none"), TrainerControl()
    first.on_step_begin(arguments, TrainerState(global_step=2), control)
    model(torch.arange(12).view(2, 6))
    with torch.no_grad():
        for layer in first.layers.values():
            layer.weight *= 2
    other, second = quantizer()
    other.load_state_dict(model.state_dict())
    for each in (first, second):
        each.on_train_end(arguments, TrainerState(global_step=3), control)
    ours, theirs = learned_ranges(first.layers), learned_ranges(second.layers)
    for name, layer in first.layers.items():
        assert ours[name].weight_scale == theirs[name].weight_scale
        assert ours[name].weight_scale.item() == pytest.approx(
            layer.weight.abs().max().item() / 127, rel=0.01
        )


def test_without_quantization_no_ranges_are_left(finished: RecipeRun) -> None:
    assert not (finished.model_folder("student") / RANGES_FILE).exists()


@pytest.mark.parametrize("freeze", ["freeze: 12", "per_channel: true"])
def test_the_best_model_of_the_way_is_kept_if_the_last_one_is_worse(
    freeze: str, texts: list[Path], tmp_path: Path
) -> None:
    # A learning rate that jumps to 0.5 at step 12 ruins what was learned until then.
    text = STAGE.replace(
        "learning_rate: {peak: 1.0e-2}",
        "learning_rate: {peak: 1.0e-2, schedule: restarts, restarts: [{at: 12, peak: 0.5}]}",
    ).replace("freeze: 12", freeze)
    run = RecipeRun(
        tiny_recipe(
            SHORT_RECIPE.replace("\npackage: student", f"{text}    keep: best\n\npackage: int8").replace(
                "steps: 12", "steps: 10"
            )
        ),
        tmp_path / "run",
        text={EVERY: texts},
    )
    run.make_parents()
    run.run_stage("teacher")
    run.run_stage("student")
    (result,) = run.run_stage("int8")
    scores = {point.step: point.score for point in result.curve}
    assert list(scores) == [4, 8, 12, 16]
    counted = {step: score for step, score in scores.items() if step > 5}  # int8 from step 5 on
    # What is learned depends on Python's documentation: the last model may be as good as the best before.
    if result.best_step is None:
        assert result.validation_accuracy >= max(counted.values())
    else:
        assert result.best_step == max(counted, key=lambda step: (counted[step], -step))
        assert result.validation_accuracy == max(counted.values())
    folder = run.model_folder("int8")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    apply_ranges(model, tensors_ranges(load_file(folder / RANGES_FILE)))
    judged = run.data.stage_data(run.recipe.stage("int8"), run.tokenizer, 0).evaluate(model)
    assert judged.accuracy == result.validation_accuracy


def test_a_fraction_takes_that_share_of_the_examples_the_smaller_within_the_larger(
    finished: RecipeRun,
) -> None:
    stage = finished.recipe.stage("int8")
    whole = finished.data.stage_data(stage, finished.tokenizer, 0).train

    def taken(fraction: float, seed: int) -> set[int]:
        part = stage.model_copy(update={"fraction": fraction})
        train = finished.data.stage_data(part, finished.tokenizer, seed).train
        assert isinstance(train, Subset)
        return set(train.indices)

    quarter, tenth, other = taken(0.25, 0), taken(0.1, 0), taken(0.1, 1)
    assert len(quarter) == np.round(0.25 * len(whole))
    assert len(tenth) == np.round(0.1 * len(whole))
    assert tenth < quarter
    assert other != tenth
