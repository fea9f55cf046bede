import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_case import Browser, running_browser
from find_case import result, write_model
from local_hub_case import LocalHub

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian's package chromium)")

PHONE = 390
HOSTILE = """---
tags: [sparse]
license: mit
base_model: some/model
---
# Card <script>document.title = "owned"</script>

<img src="x" onerror="document.title = 'owned'"><svg onload="document.title = 'owned'"></svg>

![far](https://example.invalid/t.png) [link](javascript:document.title='owned')

| wide | table | of | many | columns | that | no | phone | has | room | for |
|---|---|---|---|---|---|---|---|---|---|---|
| aaaaaaaaaa | aaaaaaaaaa | aaaaaaaaaa | aaaaaaaaaa | aaaaaaaaaa | a | a | a | aaaaaaaaaaaaa | a | a |

```
a line of code that is longer than any phone is wide, and then some more of it, and then some more again
```

averyveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryverylongwordthatnobreakcomesin
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(str(CHROMIUM), tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def models(local_hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    packages = {
        "seen/dense": write_model(
            folder / "a", name="dense", zeros=None, results=[result("sst2", 0.94, 0.01)]
        ),
        "seen/sparse": write_model(
            folder / "b", name="sparse", results=[result("sst2", 0.9, 0.01)], int8=True
        ),
        "seen/hostile": write_model(folder / "c", name="x", files={"README.md": HOSTILE.encode()}),
    }
    for repo_id, package in packages.items():
        local_hub.api.create_repo(repo_id)
        local_hub.api.upload_folder(repo_id=repo_id, folder_path=package)
    return list(packages)


@pytest.fixture(scope="module")
def paths(models: list[str]) -> list[str]:
    dense, sparse, hostile = models
    return [
        "/models?author=seen",
        f"/{sparse}",
        f"/{hostile}",
        f"/{sparse}/tree/main",
        f"/{sparse}/blob/main/recipe.yaml",
        f"/{sparse}/commits/main",
        f"/{sparse}/commit/main",
        f"/compare?models={dense}&models={sparse}",
    ]


def test_every_page_fits_a_phone_and_breaks_no_rule_of_its_own(
    local_hub: LocalHub, browser: Browser, paths: list[str]
) -> None:
    for path in paths:
        browser.open(local_hub.url + path, width=PHONE, height=844)
        assert browser.evaluate("document.documentElement.scrollWidth") <= PHONE, path
        # Violations of the policy, files that are missing, scripts that fail: all would be told here.
        assert browser.log == [], path
        assert {url.split("/")[2] for url in browser.requested} == {local_hub.url.split("/")[2]}, path


def test_a_hostile_card_runs_nothing_and_fetches_nothing_from_elsewhere(
    local_hub: LocalHub, browser: Browser, models: list[str]
) -> None:
    browser.open(f"{local_hub.url}/{models[2]}")
    assert browser.evaluate("document.title") == "seen/hostile"
    assert browser.evaluate("document.querySelectorAll('script, .card img, .card svg').length") == 0
    assert browser.evaluate("document.querySelector('.card').innerText.includes('<script>')") is True
    assert not [url for url in browser.requested if "example.invalid" in url]


def test_models_are_searched_ticked_and_compared_without_a_script(
    local_hub: LocalHub, browser: Browser, models: list[str]
) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(f"{local_hub.url}/models?author=seen&min_sparsity=0")
        shown = browser.evaluate("[...document.querySelectorAll('.model h2')].map(each => each.innerText)")
        assert sorted(shown) == sorted(models)
        for repo_id in models[:2]:
            browser.click(f"input[value='{repo_id}']")
        browser.click("form[action='/compare'] button", loads=True)
        assert browser.evaluate("location.pathname") == "/compare"
        assert browser.evaluate("document.querySelectorAll('.chart circle').length") == 2
        assert browser.evaluate("document.querySelectorAll('.comparison thead th').length") == 2
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(
    local_hub: LocalHub, browser: Browser, models: list[str], scheme: str
) -> None:
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    for path in (f"/{models[1]}", "/models?author=seen", f"/compare?models={models[0]}&models={models[1]}"):
        browser.open(local_hub.url + path)
        # 4.5 is what WCAG 2.2 asks for (1.4.3, level AA).
        assert browser.evaluate(f"({CONTRASTS})().filter(([, ratio]) => ratio < 4.5)") == [], path


def test_a_printed_model_has_its_card_and_no_forms(
    local_hub: LocalHub, browser: Browser, models: list[str], tmp_path: Path
) -> None:
    browser.call("Emulation.setEmulatedMedia", media="print")
    browser.open(f"{local_hub.url}/models?author=seen")
    assert browser.evaluate("document.querySelector('.search').offsetParent") is None
    browser.open(f"{local_hub.url}/{models[1]}")
    assert browser.evaluate("document.querySelector('.card').offsetHeight > 0") is True
    browser.call("Emulation.setEmulatedMedia", media="")
    browser.screenshot(tmp_path / "model.png")
    assert (tmp_path / "model.png").stat().st_size > 10_000


# The contrast of every piece of text with the nearest background that is not transparent.
CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const rgb = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (color) => rgb(color).slice(0, 3).map((each) => each / 255)
    .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    .reduce((sum, each, place) => sum + each * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = getComputedStyle(each).backgroundColor;
      if (rgb(color)[3] === 255) return color;
    }
    return "canvas";
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const style = getComputedStyle(element);
    if (!texts.currentNode.data.trim() || element.closest(".hidden, .skip, svg")) continue;
    const [a, b] = [light(style.color), light(behind(element))].sort((x, y) => y - x);
    found.push([texts.currentNode.data.trim().slice(0, 40), (a + 0.05) / (b + 0.05)]);
  }
  return found;
}"""
