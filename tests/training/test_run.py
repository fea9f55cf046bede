import json
import shutil
from pathlib import Path

import pytest
import torch
from run_case import (
    NUM_LOCKED,
    NUM_WEIGHTS,
    RECIPE,
    SHORT_RECIPE,
    STAGES,
    ZEROS_OF,
    encoder_zeros,
    tiny_recipe,
    weights_are_equal,
    written,
    zeros_outside,
)
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

from sparsezoo_hub import PatternLock, is_locked
from sparsezoo_hub.core.masks import mask_digest
from sparsezoo_hub.training.progress import Progress
from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.stage_data import EVERY
from sparsezoo_hub.training.tasks import find_task


def test_the_student_has_its_zeros_in_the_encoder_and_nowhere_else(finished_run: RecipeRun) -> None:
    folder = finished_run.model_folder("student")
    zeros = encoder_zeros(folder)
    assert len(zeros) == 12
    for name, where in zeros.items():
        assert int(where.sum()) == ZEROS_OF[where.numel()], name
    assert zeros_outside(folder) == zeros_outside(finished_run.model_folder("teacher")) == 0
    result = finished_run.run_stage("student")[0]
    assert (result.num_locked, result.zeros_changed, result.steps) == (NUM_LOCKED, 0, 12)
    assert result.sparsity == pytest.approx(NUM_LOCKED / NUM_WEIGHTS)


def test_the_student_loads_locked_and_the_teacher_does_not(finished_run: RecipeRun) -> None:
    folder = finished_run.model_folder("student")
    student = AutoModelForMaskedLM.from_pretrained(folder)
    masks = PatternLock.masks(student)
    promised = json.loads((folder / "config.json").read_text())["quantization_config"]["mask_digest"]
    assert mask_digest(masks) == promised
    zeros = encoder_zeros(folder)
    assert masks.keys() == zeros.keys()
    assert all(torch.equal(mask, ~zeros[name]) for name, mask in masks.items())
    assert not is_locked(AutoModelForMaskedLM.from_pretrained(finished_run.model_folder("teacher")))


def test_no_zero_changes_on_the_way_to_a_task_while_the_rest_moves(finished_run: RecipeRun) -> None:
    upstream = load_file(finished_run.model_folder("student") / "model.safetensors")
    zeros = encoder_zeros(finished_run.model_folder("student"))
    for result in finished_run.run_stage("transferred"):
        folder = finished_run.out / "stages" / "transferred" / f"seed-{result.seed}"
        after = load_file(folder / "model.safetensors")
        assert sum(int((after[f"bert.{name}"][where] != 0).sum()) for name, where in zeros.items()) == 0
        moved = [(after[f"bert.{name}"] != upstream[f"bert.{name}"])[~where] for name, where in zeros.items()]
        assert torch.cat(moved).float().mean() > 0.5
        assert (result.zeros_changed, result.num_locked) == (0, NUM_LOCKED)
        assert is_locked(AutoModelForSequenceClassification.from_pretrained(folder))


def test_each_seed_is_a_run_of_its_own(finished_run: RecipeRun) -> None:
    results = finished_run.run_stage("transferred")
    assert [result.seed for result in results] == [0, 1]
    folders = [finished_run.out / "stages" / "transferred" / f"seed-{seed}" for seed in (0, 1)]
    assert not weights_are_equal(*folders)
    assert finished_run.model_folder("transferred") == folders[0]


def test_a_seed_decides_the_heads_first_weights(copied: Path, texts: list[Path]) -> None:
    shutil.rmtree(copied / "stages" / "transferred")
    (copied / "run.yaml").unlink()
    run = RecipeRun(tiny_recipe(RECIPE.replace("peak: 1.0e-2", "peak: 1.0e-12")), copied, text={EVERY: texts})
    run.run_stage("transferred")  # nothing moves at this learning rate
    first, second = (
        load_file(copied / "stages" / "transferred" / f"seed-{seed}" / "model.safetensors") for seed in (0, 1)
    )
    assert not torch.allclose(first["classifier.weight"], second["classifier.weight"], atol=1e-3)
    same = "bert.embeddings.word_embeddings.weight"
    assert torch.allclose(first[same], second[same], atol=1e-9)


def test_a_classifier_carries_the_tasks_labels(finished_run: RecipeRun) -> None:
    config = json.loads((finished_run.model_folder("transferred") / "config.json").read_text())
    labels = find_task("python-documentation-parts").labels
    assert config["id2label"] == {str(index): label for index, label in enumerate(labels)}
    assert config["label2id"] == {label: index for index, label in enumerate(labels)}


def test_a_second_start_trains_and_writes_nothing(copied: Path, texts: list[Path]) -> None:
    before = written(copied)
    shown: list[Progress] = []
    run = RecipeRun(tiny_recipe(), copied, text={EVERY: texts}, watcher=shown.append)
    run.make_parents()
    results = {name: run.run_stage(name) for name in STAGES}
    assert written(copied) == before
    assert shown == []
    assert [len(results[name]) for name in STAGES] == [1, 1, 1, 2]
    assert results["student"][0].num_locked == NUM_LOCKED


def test_a_stage_that_was_cut_off_while_writing_is_done_again_to_the_same_bits(
    finished_run: RecipeRun, copied: Path, texts: list[Path]
) -> None:
    folder = copied / "stages" / "student" / "seed-0"
    folder.rename(folder.with_name("seed-0.partial"))
    (folder.with_name("seed-0.partial") / "result.json").unlink()
    teacher = written(copied / "stages" / "teacher")
    shown: list[Progress] = []
    run = RecipeRun(tiny_recipe(), copied, text={EVERY: texts}, watcher=shown.append)
    run.make_parents()
    for name in STAGES:
        run.run_stage(name)
    assert {each.stage for each in shown} == {"student"}
    assert weights_are_equal(folder, finished_run.model_folder("student"))
    assert not list(copied.rglob("*.partial"))
    assert written(copied / "stages" / "teacher") == teacher


def test_the_watcher_sees_steps_learning_rate_and_sparsity(texts: list[Path], tmp_path: Path) -> None:
    shown: list[Progress] = []
    run = RecipeRun(tiny_recipe(SHORT_RECIPE), tmp_path, text={EVERY: texts}, watcher=shown.append)
    run.make_parents()
    run.run_stage("teacher")
    run.run_stage("student")
    seen = [(each.stage, each.step, each.total, each.sparsity) for each in shown]
    assert seen == [
        ("teacher", 10, 12, None),
        ("teacher", 12, 12, None),
        ("student", 10, 12, NUM_LOCKED / NUM_WEIGHTS),
        ("student", 12, 12, NUM_LOCKED / NUM_WEIGHTS),
    ]
    # Of the last step, before which 9 or 11 were done. Linear: (12 - 9) / 12 and (12 - 11) / 12 of 2e-3.
    # Rewinding: P = 9, so at 9 it is 1e-3 as at the beginning; D = 2, (12 - 11) / 2 of 1e-3.
    assert [each.learning_rate for each in shown] == pytest.approx([2e-3 * 3 / 12, 2e-3 / 12, 1e-3, 5e-4])
    assert shown[1].loss == pytest.approx(5.4, abs=0.5)  # ln 220, before much is learned


def test_a_plateau_ends_a_stage_but_not_before_its_pruning_has_ended(
    finished_run: RecipeRun, copied: Path, texts: list[Path]
) -> None:
    shutil.rmtree(copied / "stages")
    (copied / "run.yaml").unlink()
    never_enough = "plateau: {every: 1, min_improvement: 100, patience: 1}"
    recipe = tiny_recipe(SHORT_RECIPE.replace("batch_size: 8", f"batch_size: 8\n    {never_enough}"))
    run = RecipeRun(recipe, copied, text={EVERY: texts})
    # The first evaluation is better than none; the second ends it. The student prunes up to step 9.
    assert run.run_stage("teacher")[0].steps == 2
    result = run.run_stage("student")[0]
    assert (result.steps, result.num_locked, result.zeros_changed) == (11, NUM_LOCKED, 0)


def test_the_backbone_of_one_run_can_start_another(
    finished_run: RecipeRun, texts: list[Path], tmp_path: Path
) -> None:
    teacher = finished_run.model_folder("teacher")
    run = RecipeRun(tiny_recipe(), tmp_path, text={EVERY: texts}, parents={"backbone": str(teacher)})
    run.make_parents()
    assert weights_are_equal(run.model_folder("backbone"), teacher)


def half_pruned(source: Path, folder: Path) -> Path:
    """A locked model whose pattern was made here: every second column of each query is zero."""
    model = AutoModelForMaskedLM.from_pretrained(source)
    masks = {
        name: torch.arange(16).expand(16, 16) % 2 == 0
        for name, weight in model.base_model.named_parameters()
        if name.endswith("query.weight") and weight.shape == (16, 16)
    }
    PatternLock.prune(model, masks)
    PatternLock.lock(model, masks)
    model.save_pretrained(folder)
    return folder


def test_a_model_can_take_the_place_of_an_earlier_stages_own(
    finished_run: RecipeRun, copied: Path, texts: list[Path], tmp_path: Path
) -> None:
    shutil.rmtree(copied / "stages" / "transferred")
    other = half_pruned(finished_run.model_folder("teacher"), tmp_path / "other")
    run = RecipeRun(tiny_recipe(), copied, text={EVERY: texts})
    results = run.run_stage("transferred", models={"student": str(other)})
    assert [(each.sparsity, each.num_locked, each.zeros_changed) for each in results] == [(0.5, 256, 0)] * 2
    for name, where in encoder_zeros(run.model_folder("transferred")).items():
        assert torch.equal(where, encoder_zeros(other)[name])


def test_without_lock_a_pruned_model_is_free_to_fill_up(copied: Path, texts: list[Path]) -> None:
    shutil.rmtree(copied / "stages" / "transferred")
    free = RECIPE.replace("lock: true", "lock: false")
    shutil.copytree(copied, copied.with_name("free"))
    (copied.with_name("free") / "run.yaml").unlink()
    run = RecipeRun(tiny_recipe(free), copied.with_name("free"), text={EVERY: texts})
    result = run.run_stage("transferred")[0]
    assert (result.sparsity, result.num_locked) == (None, 0)
    zeros = encoder_zeros(run.model_folder("transferred"))
    assert sum(int(where.sum()) for where in zeros.values()) < NUM_LOCKED / 10
    assert "quantization_config" not in json.loads(
        (run.model_folder("transferred") / "config.json").read_text()
    )
