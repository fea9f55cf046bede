import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jsonschema
import onnxruntime
import pytest
import yaml
from transformers import AutoTokenizer

from sparsezoo_hub.core.recipe_text import parse_recipe
from sparsezoo_hub.training.python_documentation import python_documentation
from sparsezoo_hub.training.recipe_library import load_recipe

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart" / "bert-tiny-90.yaml"
pytestmark = pytest.mark.filterwarnings("ignore:.*clean_up_tokenization_spaces")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def package(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "package"))


def refusal(result: tuple[int, str, str]) -> str:
    """The one line on standard error of a command that failed."""
    code, _, err = result
    assert code == 1
    assert err.startswith("error: ")
    assert "Traceback" not in err
    return err


def test_inspect_counts_the_zeros_of_every_pruned_weight(run: Run, written: Path) -> None:
    code, out, _ = run("inspect", written, "--json")
    groups = {group["name"]: group for group in json.loads(out)["groups"]}
    assert code == 0
    for tensor in groups["pruned"]["tensors"]:
        assert abs(tensor["zeros"] - 0.9 * tensor["numel"]) <= 1
    assert len(groups["pruned"]["tensors"]) == 12
    assert groups["layer_norm"]["zeros"] == 0
    assert groups["embeddings"]["zeros"] == 32  # the padding token's vector, as transformers starts it


def test_inspect_prints_tables(run: Run, written: Path) -> None:
    code, out, _ = run("inspect", written)
    assert code == 0
    assert "Pruned weights" in out
    assert "embeddings" in out


def test_verify_passes_a_package_and_fails_a_changed_one(run: Run, package: Path) -> None:
    code, out, _ = run("verify", package, "--json")
    assert code == 0
    assert all(check["ok"] for check in json.loads(out))
    card = package / "README.md"
    card.write_text(card.read_text().replace("0.9", "0.8", 1))
    code, out, _ = run("verify", package)
    assert code == 1
    assert "failed" in out
    assert "README.md" in out


def test_export_writes_onnx_that_onnxruntime_runs(run: Run, written: Path, tmp_path: Path) -> None:
    code, out, _ = run("export", written, tmp_path / "onnx", "--json")
    assert code == 0
    assert json.loads(out)["max_abs_diff"] < 1e-3
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx")
    encoded = AutoTokenizer.from_pretrained(written)(
        ["the cat sat", "rain"], padding=True, return_tensors="np"
    )
    names = {each.name for each in session.get_inputs()}
    (logits, *_) = session.run(None, {name: encoded[name] for name in names})
    assert logits.shape == (*encoded["input_ids"].shape, 120)


def test_evaluate_reports_the_masked_lm_loss_on_a_file(run: Run, written: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat sat and a dog that barks at night keeps the street awake. " * 200)
    code, out, _ = run("evaluate", written, "--text", text, "--max-length", "16", "--json")
    assert code == 0
    assert 3 < json.loads(out)["loss"] < 7  # random weights over 120 entries: about ln 120 = 4.8
    assert json.loads(out)["num_predictions"] > 100


def test_evaluate_refuses_a_task_that_the_model_was_not_trained_for(run: Run, written: Path) -> None:
    message = refusal(run("evaluate", written, "--task", "python-documentation-parts"))
    assert "fine-tune it first" in message


def test_package_makes_a_verified_package_of_a_saved_model(run: Run, written: Path, tmp_path: Path) -> None:
    code, _, err = run("package", written, tmp_path / "again", "--recipe", written / "recipe.yaml")
    assert (code, err) == (0, "")
    assert run("verify", tmp_path / "again")[0] == 0


def test_recipes_lists_what_comes_with_the_package(run: Run) -> None:
    code, out, _ = run("recipes", "list", "--json")
    assert code == 0
    listed = json.loads(out)
    assert listed["quickstart/bert-tiny-90"]["variants"] == []
    assert listed["finetune-pruning/gmp"]["variants"] == ["50", "60", "70", "80", "85", "90", "95"]
    assert "finetune-pruning/gmp" in run("recipes", "list")[1]


def test_recipes_shows_a_recipe_with_what_it_extends(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("recipes", "show", "finetune-pruning/gmp:60")
    assert code == 0
    shown = parse_recipe(out, "shown")
    assert shown == load_recipe("finetune-pruning/gmp:60")
    code, out, _ = run("recipes", "show", "finetune-pruning/gmp:60", "--json")
    assert json.loads(out)["name"] == shown.name


def test_recipes_checks_a_recipe_and_reports_every_problem(run: Run, tmp_path: Path) -> None:
    code, out, err = run("recipes", "check", RECIPE)
    assert (code, err) == (0, "")
    assert "student: teacher on documentation (masked_lm), 600 steps, pruned to 0.9" in " ".join(out.split())
    broken = tmp_path / "broken.yaml"
    broken.write_text(
        RECIPE.read_text().replace("end: 480", "end: 900").replace("model: teacher", "model: x")
    )
    message = " ".join(refusal(run("recipes", "check", broken)).split())
    assert "$.stages[1].pruning.end: must be within the stage's 600 steps, got 900" in message
    assert "$.stages[1].model: must be a parent or an earlier stage (backbone, teacher), got 'x'" in message


def test_recipes_prints_a_schema_that_its_own_recipes_fit(run: Run) -> None:
    code, out, _ = run("recipes", "schema")
    assert code == 0
    validator = jsonschema.Draft202012Validator(json.loads(out))
    folders = [path for path in RECIPE.parents[1].iterdir() if path.name != "accelerate"]
    files = [path for each in folders for path in each.rglob("*.yaml") if not path.name.startswith("_")]
    assert len(files) > 30
    for path in files:
        assert not list(validator.iter_errors(yaml.safe_load(path.read_text()))), path.name


def test_text_for_a_corpus_that_the_recipe_does_not_have_is_refused(run: Run, tmp_path: Path) -> None:
    message = refusal(run("train", RECIPE, "--text", "wikipedia=x.txt", "--out", tmp_path / "run"))
    assert "has no corpus 'wikipedia', its corpora are: documentation" in " ".join(message.split())


def test_a_recipe_whose_text_is_nowhere_says_which_text_it_needs(run: Run, tmp_path: Path) -> None:
    message = " ".join(refusal(run("train", "oberta/small", "--out", tmp_path / "run")).split())
    assert "is not part of this package: give your own text with --text FILE" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("final_sparsity: 0.9", "final_sparsity: 90"),
            "$.stages[1].pruning.final_sparsity: sparsity is the",
        ),
        (
            ("interval: 6", "intervall: 6"),
            "$.stages[1].pruning.intervall: unknown key, did you mean 'interval'?",
        ),
        (("targets: [encoder]", "targets: [decoder.*]"), "target 'decoder.*' matches none of the"),
    ],
    ids=["sparsity", "key", "target"],
)
def test_train_refuses_a_wrong_recipe_before_it_trains(
    run: Run, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    recipe = tmp_path / "recipe.yaml"
    assert change[0] in RECIPE.read_text()
    recipe.write_text(RECIPE.read_text().replace(*change))
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(document.text for document in python_documentation()[:40]))
    assert message in refusal(run("train", recipe, "--text", text, "--out", tmp_path / "run"))
    assert not (tmp_path / "run" / "stages").exists()


def test_train_refuses_an_unknown_recipe_with_the_nearest_name(run: Run, tmp_path: Path) -> None:
    message = refusal(run("train", "quickstart/bert-tiny", "--out", tmp_path / "run"))
    assert "did you mean 'quickstart/bert-tiny-90'?" in message


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02 binary"], ids=["empty", "binary"])
def test_train_refuses_text_that_is_none(run: Run, tmp_path: Path, content: bytes) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes(content)
    message = refusal(run("train", RECIPE, "--text", text, "--out", tmp_path / "run"))
    assert "text.txt" in message
    assert message.count("\n") == 1


def test_train_refuses_a_backbone_of_another_architecture(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "roberta"}))
    message = refusal(run("train", RECIPE, "--backbone", tmp_path, "--out", tmp_path / "run"))
    assert "is a roberta, the recipe is for a bert" in " ".join(message.split())


def test_a_folder_that_cannot_be_written_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    message = refusal(run("train", RECIPE, "--out", tmp_path / "file" / "run"))
    assert "Not a directory" in message


def test_something_that_is_no_model_is_one_line(run: Run, tmp_path: Path) -> None:
    assert "has no model to load" in refusal(run("export", tmp_path, tmp_path / "onnx"))
    assert refusal(run("inspect", tmp_path)).count("\n") == 1
