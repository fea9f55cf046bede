import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from run_case import (
    RECIPE,
    SHORT_RECIPE,
    tiny_recipe,
    write_texts,
    written,
)
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM

from sparsezoo_hub.errors import LockError, PackageError, RecipeError, SparsityError, TargetError
from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.stage_data import EVERY


@pytest.mark.parametrize(
    "other",
    [
        {"options": RunOptions(max_steps=5)},
        {"parents": {"backbone": "some-org/some-bert"}},
        {"text": {}},
        {"recipe": tiny_recipe(RECIPE.replace("final_sparsity: 0.9", "final_sparsity: 0.8"))},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_run_is_refused_in_a_folder_that_is_taken(
    other: dict[str, Any], finished_run: RecipeRun, texts: list[Path]
) -> None:
    options = {"recipe": tiny_recipe(), "text": {EVERY: texts}, **other}
    before = written(finished_run.out)
    with pytest.raises(RecipeError, match=r"holds a run of another recipe, text, backbone or length: choose"):
        RecipeRun(out=finished_run.out, **options)
    assert written(finished_run.out) == before


def test_locking_a_model_without_a_pattern_is_refused(copied: Path, texts: list[Path]) -> None:
    shutil.rmtree(copied / "stages" / "transferred")
    run = RecipeRun(tiny_recipe(), copied, text={EVERY: texts})
    teacher = str(run.model_folder("teacher"))
    with pytest.raises(
        LockError, match=r"stage transferred locks the pattern of .*, which has none: prune it first"
    ):
        run.run_stage("transferred", models={"student": teacher})
    assert not (copied / "stages" / "transferred").exists()


def test_a_target_that_matches_nothing_is_refused_before_the_first_stage(
    texts: list[Path], tmp_path: Path
) -> None:
    recipe = tiny_recipe(SHORT_RECIPE.replace("pruning: {", "pruning: {targets: [encoder.block.*], "))
    run = RecipeRun(recipe, tmp_path, text={EVERY: texts})
    with pytest.raises(TargetError, match=r"'encoder\.block\.\*' matches none of the 12 Linear weights"):
        run.make_parents()
    assert not (tmp_path / "stages").exists()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "data: python-documentation-parts",
            "data: python-documentation-part",
            r"\$\.stages\[2\]\.data: unknown task .* did you mean 'python-documentation-parts'",
        ),
        ("data: text", "data: news", r"\$\.stages\[0\]\.data: unknown corpus 'news'"),
    ],
)
def test_data_that_does_not_exist_is_refused_before_anything_is_written(
    old: str, new: str, expected: str, texts: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=expected):
        RecipeRun(tiny_recipe(RECIPE.replace(old, new)), tmp_path / "out", text={EVERY: texts})
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PackageError, match=r"file/out cannot be written: Not a directory; .*choose another"):
        RecipeRun(tiny_recipe(), tmp_path / "file" / "out", text={EVERY: write_texts(tmp_path)})


def test_rows_longer_than_the_models_positions_are_refused(texts: list[Path], tmp_path: Path) -> None:
    run = RecipeRun(
        tiny_recipe(SHORT_RECIPE.replace("max_length: 16", "max_length: 48")), tmp_path, text={EVERY: texts}
    )
    run.make_parents()
    with pytest.raises(RecipeError, match="max_length 48 is more than the 32 tokens that the model takes"):
        run.run_stage("teacher")


def test_a_teacher_of_another_objective_is_refused(copied: Path, texts: list[Path]) -> None:
    shutil.rmtree(copied / "stages" / "transferred")
    (copied / "run.yaml").unlink()
    recipe = tiny_recipe(RECIPE.replace("teacher: task-teacher", "teacher: teacher"))
    run = RecipeRun(recipe, copied, text={EVERY: texts})
    with pytest.raises(RecipeError, match="was not trained for sequence_classification; name a stage of"):
        run.run_stage("transferred")


def test_a_teacher_of_another_vocabulary_is_refused(copied: Path, texts: list[Path], tmp_path: Path) -> None:
    shutil.rmtree(copied / "stages" / "student")
    other = Path(shutil.copytree(copied / "stages" / "teacher" / "seed-0", tmp_path / "other"))
    model = AutoModelForMaskedLM.from_pretrained(other)
    model.resize_token_embeddings(230)
    model.save_pretrained(other)
    run = RecipeRun(tiny_recipe(), copied, text={EVERY: texts})
    # The student starts from the same stage, so it is the student's own model that stays.
    run.recipe = run.recipe.model_copy(
        update={"stages": tuple(each.model_copy(update={"model": "backbone"}) for each in run.recipe.stages)}
    )
    with pytest.raises(RecipeError, match="the teacher has a vocabulary of 230, the student of 220"):
        run.run_stage("student", models={"teacher": str(other)})


def test_a_pattern_that_came_back_to_life_in_the_file_is_not_trained_on(
    copied: Path, texts: list[Path]
) -> None:
    shutil.rmtree(copied / "stages" / "transferred")
    path = copied / "stages" / "student" / "seed-0" / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("query.weight"))
    weights[name] = torch.ones_like(weights[name])
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="do not fit the mask digest"):
        RecipeRun(tiny_recipe(), copied, text={EVERY: texts}).run_stage("transferred")


def test_a_parent_of_another_vocabulary_is_refused_before_the_first_stage(
    texts: list[Path], tmp_path: Path
) -> None:
    larger = tiny_recipe(SHORT_RECIPE.replace("vocab_size: 220", "vocab_size: 240"))
    made = RecipeRun(larger, tmp_path / "other", text={EVERY: texts})
    made.make_parents()
    teacher = "  other: {model_type: bert, pretrained: x/y}\n"
    text = SHORT_RECIPE.replace("corpora:\n", f"{teacher}corpora:\n").replace(
        "teacher: teacher", "teacher: other"
    )
    parents = {"other": str(made.model_folder("backbone"))}
    run = RecipeRun(tiny_recipe(text), tmp_path / "run", text={EVERY: texts}, parents=parents)
    with pytest.raises(RecipeError, match=r"stage student: .*/parents/other has \d+ tokens, \d+ of which"):
        run.make_parents()
    assert not (tmp_path / "run" / "stages").exists()


def test_layers_that_are_not_there_are_refused_before_the_first_stage(
    texts: list[Path], tmp_path: Path
) -> None:
    text = SHORT_RECIPE.replace(
        "    model: backbone\n", "    model: backbone\n    layers: {layers: [0, 5]}\n"
    )
    run = RecipeRun(tiny_recipe(text), tmp_path, text={EVERY: texts})
    with pytest.raises(RecipeError, match=r"stage teacher, layers: .*5"):
        run.make_parents()
    assert not (tmp_path / "stages").exists()


def test_a_structure_that_does_not_fit_a_weight_is_refused_before_the_first_stage(
    texts: list[Path], tmp_path: Path
) -> None:
    text = SHORT_RECIPE.replace("final_sparsity: 0.9", "structure: 1x5, final_sparsity: 0.9")
    run = RecipeRun(tiny_recipe(text), tmp_path, text={EVERY: texts})
    with pytest.raises(SparsityError, match=r"'1x5' needs in_features that are multiples of 5"):
        run.make_parents()
    assert not (tmp_path / "stages").exists()
