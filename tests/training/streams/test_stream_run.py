"""A recipe whose text is streamed runs like any other, and goes on bit for bit where it was interrupted."""

import json
from pathlib import Path

import psutil
import pytest
from run_case import tiny_recipe, weights_are_equal

from sparsezoo_hub.errors import CorpusError, RecipeError, WorkerError
from sparsezoo_hub.training import run_text
from sparsezoo_hub.training.progress import Progress
from sparsezoo_hub.training.python_documentation import read_topics
from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.run_options import RunOptions

STEPS = 20
RECIPE = f"""
format: 1
name: streamed
summary: A tiny BERT that learns from a stream.
parents:
  backbone:
    model_type: bert
    vocab_size: 220
    config:
      {{hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 24,
       max_position_embeddings: 32}}
corpora:
  text:
    description: some English
    parts:
      one: {{description: the first half, weight: 3}}
      two: {{description: the second half, weight: 1}}
stages:
  - name: student
    model: backbone
    objective: {{kind: masked_lm_next_sentence, short_probability: 0.2}}
    data: text
    max_length: 16
    steps: {STEPS}
    batch_size: 4
    learning_rate: {{peak: 2.0e-3}}
    pruning:
      {{method: optimal_bert_surgeon, start: 1, final_sparsity: 0.9, policy_end: 14, end: 16, interval: 6,
       fisher: {{num_gradients: 2, block_size: 8}}}}
package: student
"""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Two parts of some hundred kilobytes, of short documents, so that some are for validation."""
    folder = tmp_path_factory.mktemp("text")
    lines = [line for topic in read_topics() for line in topic.text.split("\n\n") if len(line) > 60]
    halves = {"one": lines[::2], "two": lines[1::2]}
    for name, half in halves.items():
        rows = "".join(json.dumps({"text": f"{line}\nThis is {name}."}) + "\n" for line in half)
        (folder / f"{name}.jsonl").write_text(rows)
    return {f"text.{name}": [folder / f"{name}.jsonl"] for name in halves}


def run_of(out: Path, text: dict[str, list[Path]], watcher: object = None, **options: object) -> RecipeRun:
    watched = {} if watcher is None else {"watcher": watcher}
    given = {"stream": True, "checkpoint_every": 1000, **options}
    run = RecipeRun(
        tiny_recipe(RECIPE),
        out,
        text=text,
        options=RunOptions(**given),  # type: ignore[arg-type]
        **watched,  # type: ignore[arg-type]
    )
    run.make_parents()
    return run


def interrupt(progress: Progress) -> None:
    if progress.step == STEPS // 2:
        raise KeyboardInterrupt


def test_a_data_worker_that_is_killed_ends_the_run_in_one_line_and_the_same_command_goes_on(
    text: dict[str, list[Path]], tmp_path: Path
) -> None:
    def kill_the_worker(progress: Progress) -> None:
        if progress.step == STEPS // 2:
            workers = [each for each in psutil.Process().children(recursive=True) if _reads_data(each)]
            assert len(workers) == 1
            workers[0].kill()

    cut = run_of(tmp_path / "cut", text, kill_the_worker, checkpoint_every=4, workers=1)
    with pytest.raises(WorkerError, match=r"reads the text is lost .*killed.* fewer --workers"):
        cut.run_stage("student")
    steps: list[int] = []
    again = run_of(tmp_path / "cut", text, lambda each: steps.append(each.step), checkpoint_every=4)
    again.run_stage("student")
    assert steps[-1] == STEPS
    assert steps[0] > 4, "it began anew"


def _reads_data(process: psutil.Process) -> bool:
    # The server that workers are forked from, and the tracker of shared memory, are children too.
    return process.parent() != psutil.Process()


def test_a_streamed_run_that_was_interrupted_ends_bit_for_bit_like_one_that_was_not(
    text: dict[str, list[Path]], tmp_path: Path
) -> None:
    whole = run_of(tmp_path / "whole", text)
    whole.run_stage("student")
    cut = run_of(tmp_path / "cut", text, interrupt, checkpoint_every=4)
    with pytest.raises(KeyboardInterrupt):
        cut.run_stage("student")
    steps: list[int] = []
    # It goes on with a token cache, which changes nothing.
    again = run_of(
        tmp_path / "cut",
        text,
        lambda progress: steps.append(progress.step),
        checkpoint_every=4,
        token_cache=tmp_path / "tokens",
    )
    again.run_stage("student")
    assert steps == [10, 20]
    assert list((tmp_path / "tokens").rglob("*.safetensors"))
    assert weights_are_equal(whole.model_folder("student"), again.model_folder("student"))
    ours, theirs = (
        json.loads((run.model_folder("student") / "result.json").read_text()) for run in (whole, again)
    )
    assert ours["validation_loss"] == theirs["validation_loss"]
    mark = (tmp_path / "whole" / "run.yaml").read_text()
    path = text["text.one"][0]
    assert f"# text text.one: {path} {path.stat().st_size} bytes\n" in mark
    assert "# streamed\n" in mark


def test_parts_that_are_not_streamed_are_refused(text: dict[str, list[Path]], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"\$\.stages\[0\]\.data: the parts of text .* give --stream"):
        run_of(tmp_path, text, stream=False)


def test_a_part_without_text_is_named(text: dict[str, list[Path]], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no text is given for text\.two: every part needs one"):
        run_of(tmp_path, {"text.one": text["text.one"]})


def test_text_for_parts_and_for_the_whole_is_refused(text: dict[str, list[Path]], tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"for text\.one and for all of text: give it for its parts or whole"
    ):
        run_of(tmp_path, {**text, "text": text["text.one"]})


def test_an_unknown_part_is_refused_with_those_that_there_are(
    text: dict[str, list[Path]], tmp_path: Path
) -> None:
    with pytest.raises(
        RecipeError, match=r"no corpus 'text\.tow', its corpora are: text, text\.one, text\.two"
    ):
        run_of(tmp_path, {"text.tow": text["text.one"]})


def test_streaming_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="there is no text to stream"):
        run_of(tmp_path, {})


def test_a_length_in_epochs_needs_steps(text: dict[str, list[Path]], tmp_path: Path) -> None:
    recipe = tiny_recipe(
        RECIPE.replace(f"steps: {STEPS}", "epochs: 20").replace("interval: 6", "interval: 6.5")
    )
    with pytest.raises(RecipeError, match=r"stage student is 20 epochs long, .* give --max-steps"):
        RecipeRun(recipe, tmp_path, text=text, options=RunOptions(stream=True))
    run = RecipeRun(recipe, tmp_path / "run", text=text, options=RunOptions(stream=True, max_steps=4))
    run.make_parents()
    assert run.run_stage("student")[0].steps == 4


def test_text_that_is_too_large_for_memory_needs_to_be_streamed(
    text: dict[str, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_text, "LARGEST_IN_MEMORY", 1000)
    with pytest.raises(CorpusError, match=r"corpus text has about .* GiB of text, .* give --stream"):
        run_of(tmp_path, {"text": text["text.one"]}, stream=False)


def test_a_folder_and_a_pattern_mean_the_files_in_them(text: dict[str, list[Path]], tmp_path: Path) -> None:
    folder = text["text.one"][0].parent
    for given in (folder, folder / "*.jsonl"):
        run = RecipeRun(tiny_recipe(RECIPE), tmp_path / given.name, text={"": [given]})
        assert [file.name for file in run.data.files("text")] == ["one.jsonl", "two.jsonl"]
    with pytest.raises(CorpusError, match=r"nothing\*: there is no file with \.txt"):
        RecipeRun(tiny_recipe(RECIPE), tmp_path / "none", text={"": [folder / "nothing*"]})
