"""Cards against hostile content: what a renderer makes of them that lets HTML through, and YAML's readers."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from packaging_case import tiny_recipe
from test_model_card import NASTY, plain, tiny_subject, with_text

from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.packaging.markdown import inline
from sparsezoo_hub.packaging.model_card import render_card
from sparsezoo_hub.packaging.recipe_card import RecipeSubject, render_recipe_card

# What YAML 1.1, YAML 1.2 or a programme that reads them takes for something else than text.
SPECIAL = (
    "no", "NO", "off", "y", "null", "~", "Null", "true", "1", "-1", "1e3", "1E+3", ".5", "5.", "0x1f", "0o14",
    "014", "1_000", ".inf", ".nan", "2024-01-01", "2001-12-14t21:59:43.10-05:00", "12:30:45", "=", "<<",
    "!!str", "&a", "*a", "@x", "`x`", "%x", "? x", "- x", "[x", "{x", "#x", "'x", '"x', "a: b", "a #b", "|",
    ">", "---", "...", "\ufeffx",
)  # fmt: skip
TEXT = st.text(max_size=60) | st.text("|`*_[]()<>#-\n{}!$&\\~:/@.w \t'\"%;=ahref", max_size=40)


class Elements(HTMLParser):
    """Every element of a page, with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(f"{name}={value}" for name, value in attrs)))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment", (data,)))


def elements(card: str) -> list[tuple[str, tuple[str, ...]]]:
    page = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return Elements(page.render(ModelCard(card).text)).found


def recipe_with(text: str) -> Recipe:
    """A recipe that was not run yet, with ``text`` wherever it takes one."""
    recipe = tiny_recipe()
    corpora = {name: each.model_copy(update={"description": text}) for name, each in recipe.corpora.items()}
    parent = recipe.parents["backbone"].model_copy(
        update={"vocab_size": None, "config": {}, "pretrained": text, "revision": text or "x"}
    )
    stages = tuple(
        stage if stage.data == "text" else stage.model_copy(update={"data": text}) for stage in recipe.stages
    )
    return recipe.model_copy(
        update={
            "summary": text,
            "corpora": corpora,
            "parents": {"backbone": parent},
            "stages": stages,
            "package": "upstream-pruned",
        }
    )


def recipe_card(text: str) -> str:
    return render_recipe_card(RecipeSubject("file.yaml", recipe_with(text), 0.9))


HARMLESS = elements(render_card(with_text("harmless")))
HARMLESS_RECIPE = elements(recipe_card("harmless"))


@settings(max_examples=30, deadline=None)
@given(TEXT)
@example("<img src=x onerror=alert(1)>")
@example("</td></tr></table><script>alert(1)</script>")
@example("&lt;script&gt;")
@example("<!-- a comment")
@example("<a\thref='javascript:alert(1)'>")
def test_no_text_adds_an_element_to_the_page(text: str) -> None:
    assert elements(render_card(with_text(text))) == HARMLESS
    assert elements(recipe_card(text)) == HARMLESS_RECIPE


@pytest.mark.parametrize("text", NASTY)
def test_a_recipe_card_keeps_nasty_texts_as_text(text: str) -> None:
    card = recipe_card(text)
    assert elements(card) == HARMLESS_RECIPE
    assert ModelCard(card).data.to_dict().keys() <= {"language", "tags", "base_model"}
    card.encode()


@pytest.mark.parametrize("text", ["`; rm -rf ~", "a\nb", '"', "$(id)", "a\\", "a`b", "<x>", "a&b"])
def test_a_hostile_file_name_gets_into_no_line_to_copy(text: str) -> None:
    assert "## Make it" not in render_recipe_card(RecipeSubject(text, tiny_recipe(), 0.9))
    assert "## Make it" in render_recipe_card(RecipeSubject("my recipes/x.yaml", tiny_recipe(), 0.9))


def test_what_renderers_link_by_themselves_is_no_address() -> None:
    assert inline("see https://a.example or www.b.example, me@c.example") == (
        "see https\\://a.example or www\\.b.example, me\\@c.example"
    )
    page = MarkdownIt("commonmark").render(inline("https://a.example www.b.example me@c.example"))
    assert page == "<p>https://a.example www.b.example me@c.example</p>\n"


@pytest.mark.parametrize("text", SPECIAL)
def test_a_name_that_yaml_takes_for_a_value_stays_text(text: str) -> None:
    block = ModelCard(render_card(with_text(text))).data.to_dict()
    result = block["model-index"][0]["results"][0]
    assert result["dataset"]["name"] == plain(text)
    assert result["task"]["name"] == plain(text)
    assert block["license"] == plain(text)


def test_what_only_yaml_1_2_takes_for_a_number_is_quoted() -> None:
    # The Hub reads YAML 1.2, where 1e3 and 0o14 are numbers; PyYAML, which reads 1.1, takes both for text.
    for text in ("1e3", "0o14", "12e03"):
        assert yaml.safe_load(f"name: {text}") == {"name": text}
        card = render_card(replace(with_text(text), recipe=tiny_subject().recipe))
        lines = [line.strip() for line in card.split("---\n")[1].splitlines()]
        assert f"name: '{text}'" in lines
        assert not [line for line in lines if re.search(rf":\s+{text}$", line)]


def test_the_metrics_stay_numbers() -> None:
    block = yaml.safe_load(render_card(tiny_subject()).split("---\n")[1])
    assert block["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.8125
