import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
from transformers import AutoTokenizer

from sparsezoo_hub.cli.app import main
from sparsezoo_hub.training.python_documentation import python_documentation

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart" / "bert-tiny-90.yaml"
pytestmark = pytest.mark.filterwarnings("ignore:.*clean_up_tokenization_spaces")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process; returns exit code, standard output and standard error."""

    def run_command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["sparsezoo-hub", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run_command


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
    code, out, _ = run("recipes", "--json")
    assert code == 0
    assert "quickstart/bert-tiny-90" in json.loads(out)


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
