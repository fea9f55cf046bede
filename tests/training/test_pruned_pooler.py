"""A pattern that covers the pooler goes on under a head that has no pooler."""

from pathlib import Path

from run_case import SHORT_RECIPE, encoder_zeros, tiny_recipe
from safetensors.torch import load_file
from task_case import write_task

from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.stage_data import EVERY

ANSWERS = """
  - name: answers
    model: student
    objective: {kind: question_answering}
    data: squad-v1
    max_length: 32
    steps: 4
    batch_size: 8
    learning_rate: {peak: 1.0e-2}
    lock: true
"""


def test_the_encoders_pattern_stays_locked_under_question_answering(
    texts: list[Path], tmp_path: Path
) -> None:
    text = SHORT_RECIPE.replace("masked_lm", "masked_lm_next_sentence").replace("steps: 12", "steps: 10")
    text = text.replace("pruning: {", "pruning: {targets: [encoder, pooler], ")
    text = text.replace("\npackage: student", f"{ANSWERS}\npackage: answers")
    data = write_task(tmp_path / "data", "squad-v1")
    run = RecipeRun(tiny_recipe(text), tmp_path / "run", text={EVERY: texts}, data={EVERY: data})
    run.make_parents()
    results = {stage.name: run.run_stage(stage.name)[0] for stage in run.recipe.stages}
    pooler = load_file(run.model_folder("student") / "model.safetensors")["bert.pooler.dense.weight"]
    assert int((pooler == 0).sum()) == 230  # round(0.9 * 16 * 16)
    before, after = (encoder_zeros(run.model_folder(name)) for name in ("student", "answers"))
    assert all((after[name] == where).all() for name, where in before.items())
    assert results["answers"].num_locked == results["student"].num_locked - 230
