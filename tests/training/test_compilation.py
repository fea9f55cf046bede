from pathlib import Path

import pytest
import torch
from run_case import SHORT_RECIPE, tiny_recipe
from torch._dynamo.utils import counters

from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.stage_data import EVERY
from sparsezoo_hub.training.stage_result import StageResult

# The student with int8 from step 6 on, its ranges frozen from step 10 on: three kinds of layers to compile.
QUANTIZED = SHORT_RECIPE.replace(
    "    weight_decay: 0.01\n", "    weight_decay: 0.01\n    quantization: {start: 6, freeze: 10}\n"
)


def results(out: Path, texts: list[Path], options: RunOptions) -> list[StageResult]:
    run = RecipeRun(tiny_recipe(QUANTIZED), out, text={EVERY: texts}, options=options)
    run.make_parents()
    return [*run.run_stage("teacher"), *run.run_stage("student")]


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:.torch.jit.script_method. is deprecated:DeprecationWarning"
)  # torch's own
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # its compiler's
def test_compiled_layers_learn_the_same_and_hold_the_zeros(texts: list[Path], tmp_path: Path) -> None:
    assert "quantization" in QUANTIZED
    plain = results(tmp_path / "plain", texts, RunOptions())
    torch.compiler.reset()
    counters.clear()
    compiled = results(tmp_path / "compiled", texts, RunOptions(compile=True))
    assert counters["stats"]["unique_graphs"] > 0
    for one, other in zip(plain, compiled, strict=True):
        assert other.validation_loss == pytest.approx(one.validation_loss, rel=1e-3)
        assert (other.num_locked, other.zeros_changed) == (one.num_locked, 0)
