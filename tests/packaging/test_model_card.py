import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from packaging_case import tiny_measurements, tiny_recipe

from sparsezoo_hub.core.recipe import Provenance
from sparsezoo_hub.core.sparsity_report import ComponentSparsity
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.card_metadata import check_card, head_of
from sparsezoo_hub.packaging.card_template import family_of
from sparsezoo_hub.packaging.manifest import (
    Measurements,
    Parents,
    SparsityEntry,
    TaskResult,
    WeightSizes,
)
from sparsezoo_hub.packaging.model_card import CardSubject, render_card

NASTY = (
    "| a | b |\n|---|---|\n| c | d |",
    "---\nlicense: mit\n---\n# Heading",
    "<script>alert(1)</script><img src=x onerror=y>",
    "`code` ``` fence\n```\n# out",
    "[link](javascript:alert(1)) ![image](http://example.com/x.png)",
    "*bold* **strong** _em_ ~~gone~~ $x$ \\",
    "{{ 7 * 7 }} {% raw %} {# comment #}",
    "{bert: [a, b], c: &anchor *anchor} !!python/object:os.system",
    "line\u2028separator\u2029and\x85next\r\nand\x00nul\x1b[31m",
    "\u202eright to left\u202c",
    "key: value # comment",
    "- item\n- item\n\n1. one",
    "&lt;b&gt; &amp; &#35;",
    "    indented",
    "> quote",
    "\ud800 lone",
    "x" * 3000,
    "",
    "\\|",
    "\\`",
    "text\n---",
    "<!-- comment",
)


def tiny_subject() -> CardSubject:
    components = tuple(
        ComponentSparsity(f"encoder.layer.{layer}.{kind}.weight", 100, 90)
        for layer in range(2)
        for kind in ("attention.self.query", "output.dense")
    )
    sizes = WeightSizes(raw=1000, gzip=400, compact=300)
    return CardSubject(
        recipe=tiny_recipe(),
        model_type="bert",
        architecture="BertForMaskedLM",
        num_parameters=12345,
        components=components,
        sparsity=SparsityEntry(target=0.9, overall=0.9, per_component={}),
        mask_digest="sha256:" + "b" * 64,
        parents=Parents(backbone="some-org/some-bert", base_model="some-org/some-bert", teacher="teacher"),
        measurements=tiny_measurements().model_copy(
            update={"sizes": sizes, "onnx_max_abs_diff": 1e-6, "onnx_num_texts": 9}
        ),
        repo_id="local/tiny-90",
    )


def with_text(text: str) -> CardSubject:
    """The same subject with ``text`` wherever a text can be given."""
    subject = tiny_subject()
    result = TaskResult(task=text, dataset=text, metric=text, mean=0.5, std=0.1, seeds=(0,))
    stages = tuple(stage.model_copy(update={"data": text}) for stage in subject.recipe.stages)
    provenance = Provenance(parents={"backbone": text}, data={text: (text, text)}, versions={})
    return replace(
        subject,
        recipe=subject.recipe.model_copy(
            update={"summary": text, "stages": stages, "provenance": provenance}
        ),
        parents=Parents(backbone=text, base_model=text, teacher=text),
        measurements=subject.measurements.model_copy(
            update={"results": (result, result.model_copy(update={"label": text})), "hardware": text}
        ),
        repo_id=text,
        license_id=text,
    )


def form(card: str) -> list[str]:
    """The card's form as an independent parser sees it, without its words."""
    body = ModelCard(card).text
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body)
    children = [child for token in tokens for child in (token, *(token.children or []))]
    return [f"{token.type} {token.tag}" for token in children if token.type != "text"]


def table_cells(card: str) -> list[str]:
    """The text of every table cell, as an independent parser shows it."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(ModelCard(card).text)
    return [
        "".join(child.content for child in following.children or [])
        for token, following in pairwise(tokens)
        if token.type == "td_open"
    ]


def plain(text: str) -> str:
    """What of a text is shown on one line, by another way than the package's."""
    dropped = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(dropped.split())


HARMLESS = form(render_card(with_text("harmless")))


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60) | st.text("|`*_[]()<>#-\n{}!$&\\~: \t'\"%@", max_size=30))
def test_no_text_changes_the_cards_form(text: str) -> None:
    card = render_card(with_text(text))
    assert form(card) == HARMLESS


@pytest.mark.parametrize("text", NASTY)
def test_nasty_texts_stay_text(text: str) -> None:
    card = render_card(with_text(text))
    data = ModelCard(card).data.to_dict()
    assert form(card) == HARMLESS
    assert set(data) <= {
        "language", "license", "library_name", "pipeline_tag", "tags", "metrics", "model-index", "base_model",
    }  # fmt: skip
    assert data["library_name"] == "transformers"
    assert (data.get("license") or "") == plain(text)
    assert "harmless" not in card
    body = ModelCard(card).text
    assert "<script" not in body
    assert "<img" not in body
    assert "49" not in body
    card.encode()  # a lone surrogate could not be written


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=40) | st.text("|`*_[]()<>#\\ $~&;a1", max_size=20))
@example("a | b")
@example("a \\| b | c")
def test_a_reader_sees_the_text_as_it_was_given(text: str) -> None:
    cells = [plain(each) for each in table_cells(render_card(with_text(text)))]
    shown = plain(text)
    (row,) = [index for index in range(len(cells)) if cells[index + 5 : index + 8] == ["0.5", "0.1", "1"]][:1]
    assert cells[row : row + 5] == [shown, shown, "validation", "this model", shown]
    assert cells[row + 8 : row + 13] == [shown, shown, "validation", shown, shown]


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60))
@example("---\nlicense: mit\n---")
@example("a\u2028b")
def test_the_metadata_says_what_was_given_and_nothing_else(text: str) -> None:
    block = ModelCard(render_card(with_text(text))).data.to_dict()
    expected = ModelCard(render_card(with_text("harmless"))).data.to_dict()
    assert block.keys() - {"base_model"} <= expected.keys()
    assert block["tags"] == expected["tags"]
    (index,) = block["model-index"]
    (result,) = index["results"]
    assert result["metrics"][0]["value"] == 0.5
    assert result["dataset"]["name"] == (plain(text) or "unnamed")


def test_the_card_loads_and_is_checked_without_a_network(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(render_card(tiny_subject()))
    card = ModelCard.load(path)
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "fill-mask"
    assert card.data.base_model == "some-org/some-bert"
    assert card.data.license is None
    assert {"sparse", "pruned", "pattern-lock", "bert"} <= set(card.data.tags)
    (result,) = card.data.eval_results  # the one labelled "dense" is about another model
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("accuracy", 0.8125, "parts")
    assert check_card(path).to_dict() == card.data.to_dict()


def test_the_body_says_what_was_measured() -> None:
    text = render_card(tiny_subject())
    assert "| encoder.layer.\\*.attention.self.query.weight | 2 | 200 | 180 | 0.9000 |" in text
    assert "| all | 4 | 400 | 360 | 0.9000 |" in text
    assert "12,345 parameters" in text
    assert "by at most 1e-06" in text
    assert "| compact: kept values and mask bits | 300 | 0.3000 |" in text
    assert "| dense teacher | 2.5 |" in text
    assert (
        "| text-classification | parts | validation | this model | accuracy | 0.8125 | 0.0125 | 3 |" in text
    )
    assert "| text-classification | parts | validation | dense | accuracy | 0.9 | 0 | 1 |" in text
    assert 'AutoModelForMaskedLM.from_pretrained("local/tiny-90")' in text
    assert "Zeros do not by themselves make stock runtimes faster" in text


def test_the_stages_that_made_the_model_are_listed_and_no_others() -> None:
    text = render_card(tiny_subject())
    assert (
        "| teacher | backbone | masked lm | text | 40 | 8 | 0.001, linear, warm-up 0 | none | none |" in text
    )
    assert "| student | teacher | masked lm | text | 30 | 8 | 0.0005, rewinding, warm-up 0.1 |" in text
    assert "upstream-pruned" not in text


def test_nothing_measured_is_said_to_be_nothing() -> None:
    text = render_card(replace(tiny_subject(), measurements=Measurements()))
    assert "No task was measured with this package." in text
    assert "model-index" not in text
    assert "Size of the weights" not in text
    assert "None" not in text


@pytest.mark.parametrize("backbone", ["runs/teacher of mine", "/models/bert", "../bert", "a/b/c", "tests"])
def test_a_base_model_that_is_no_hub_id_is_left_out(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").mkdir()  # "tests" could be a Hub id, but is a folder here
    subject = replace(tiny_subject(), parents=Parents(backbone=backbone, base_model=backbone))
    assert ModelCard(render_card(subject)).data.base_model is None


def test_the_card_cites_the_three_papers() -> None:
    text = render_card(tiny_subject())
    for title in ("Prune Once for All", "Sparse*BERT", "oBERTa"):
        assert f"title   = {{{title}" in text


@pytest.mark.parametrize(
    ("model_type", "name"),
    [("bert", "BERT"), ("roberta", "RoBERTa"), ("distilbert", "DistilBERT"), ("unheard-of", None)],
)
def test_each_family_has_its_own_text(model_type: str, name: str | None) -> None:
    family = family_of(model_type)
    assert (family.name if family else None) == name
    text = render_card(replace(tiny_subject(), model_type=model_type))
    assert ("### The architecture" in text) == (name is not None)


@pytest.mark.parametrize(
    ("architecture", "head"),
    [
        ("BertForMaskedLM", ("fill-mask", "AutoModelForMaskedLM")),
        ("RobertaForSequenceClassification", ("text-classification", "AutoModelForSequenceClassification")),
        ("DistilBertForTokenClassification", ("token-classification", "AutoModelForTokenClassification")),
        ("BertForQuestionAnswering", ("question-answering", "AutoModelForQuestionAnswering")),
        ("BertModel", ("feature-extraction", "AutoModel")),
    ],
)
def test_the_task_follows_from_the_head(architecture: str, head: tuple[str, str]) -> None:
    assert head_of(architecture) == head


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no metadata", "does not begin with a YAML block"),
        ("---\n- a list\n---\n", "should be a dict"),
        ("---\na: [\n---\n", "is no model card"),
        ("---\na: !!python/object/apply:os.system [ls]\n---\n", "is no model card"),
        ("---\nlibrary_name: keras\n---\n", "library_name must be transformers, got 'keras'; tags must have"),
        ("---\nlibrary_name: transformers\ntags: 3\n---\n", "is no model card"),
        ("---\nmodel-index: 3\n---\n", "is no model card"),
    ],
)
def test_a_broken_card_is_refused_on_one_line(content: str, message: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "README.md"
        path.write_text(content)
        with pytest.raises(PackageError, match=message) as caught:
            check_card(path)
    assert "\n" not in str(caught.value)


def test_the_metadata_is_plain_yaml() -> None:
    block = render_card(tiny_subject()).split("---\n")[1]
    assert yaml.safe_load(block)["model-index"][0]["name"] == "tiny-90"
