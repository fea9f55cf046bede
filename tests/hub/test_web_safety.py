import json
from collections.abc import Callable
from pathlib import Path

import pytest
from find_case import result, write_model
from local_hub_case import LocalHub
from web_case import Reader, get, words

from sparsezoo_hub.hub.local_hub.web.card_html import render_card
from sparsezoo_hub.packaging.manifest import read_manifest, write_manifest

MARKUP = "<script>document.title='owned'</script>\"'><img src=x onerror=alert(1)>"
CARD = f"""---
tags: [sparse, {json.dumps(MARKUP)}]
pipeline_tag: {json.dumps(MARKUP)}
new_version: {json.dumps(MARKUP)}
---
# Title {MARKUP}

{MARKUP}

<div onclick="alert(1)">block</div>

[a](javascript:alert(1)) [b](JaVaScRiPt&#58;alert(1)) [c](data:text/html;base64,eA==) [d](vbscript:x)
[e](//evil.example/x) [f](/\\evil.example) [g](java&#9;script:alert(1)) [h](file:///etc/passwd)

[good](https://good.example/a?b=c&d=e) [mail](mailto:a@good.example) [own](notes/a%20b.md) [up](../../x)
[part](#sub-title) <https://auto.example/> <javascript:alert(1)> [else](/other/model)

![far](https://evil.example/t.png) ![data](data:image/png;base64,AAAA) ![svg](x.svg)
![up](../x.png) ![near](p.png)

## Sub title
## Sub title

| `<script>` | {MARKUP.replace("|", "")} |
|---|---|
| x | y |

```{MARKUP}
{MARKUP}
```
"""


@pytest.fixture(scope="module")
def hostile(local_hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A repository that has markup wherever one can put text."""
    package = write_model(
        tmp_path_factory.mktemp("hostile") / "package",
        name="x",
        results=[result(MARKUP, 1e300, 1e300, metric=MARKUP), result("b", -1e-300, label=MARKUP, metric="m")],
        files={"README.md": CARD.encode()},
    )
    path = package / "manifest.json"
    manifest = read_manifest(path)
    huge = 10**4000
    entry = next(iter(manifest.sparsity.per_component.values())).model_copy(
        update={"numel": huge, "zeros": huge * 2}
    )
    measurements = manifest.measurements.model_copy(
        update={
            "hardware": MARKUP,
            "train_seconds": 1e300,
            "sizes": manifest.measurements.sizes.model_copy(update={"gzip": huge, "compact": huge}),  # type: ignore[union-attr]
        }
    )
    components = {MARKUP: entry, f"layer.1.{MARKUP}": entry, "layer.9999.\u202e.weight": entry}
    write_manifest(
        path,
        manifest.model_copy(
            update={
                "name": MARKUP,
                "parents": manifest.parents.model_copy(
                    update={"backbone": MARKUP, "base_model": MARKUP, "teacher": MARKUP}
                ),
                "sparsity": manifest.sparsity.model_copy(update={"per_component": components}),
                "measurements": measurements,
            }
        ),
    )
    repo_id = "web-safety/hostile"
    local_hub.api.create_repo(repo_id)
    local_hub.api.upload_folder(repo_id=repo_id, folder_path=package, commit_message=f"{MARKUP}\n\n{MARKUP}")
    local_hub.api.upload_file(
        repo_id=repo_id,
        path_or_fileobj=f"a \u202e b\n{MARKUP}\n".encode(),
        path_in_repo="<b>&'\"/ü <script>.py",
        commit_message=MARKUP,
    )
    local_hub.api.create_discussion(
        repo_id, title=MARKUP, description=f"**{MARKUP}** [x](javascript:alert(1))"
    )
    return repo_id


def pages(repo_id: str) -> list[str]:
    return [
        f"/models?search={repo_id}",
        "/models?author=%3Cscript%3E&other=%22%3E%3Cscript%3E&search=%22%3E%3Cscript%3E&task=%3Cscript%3E",
        f"/{repo_id}",
        f"/{repo_id}/tree/main",
        f"/{repo_id}/tree/main/%3Cb%3E%26%27%22",
        f"/{repo_id}/blob/main/%3Cb%3E%26%27%22/%C3%BC%20%3Cscript%3E.py",
        f"/{repo_id}/blob/main/README.md",
        f"/{repo_id}/blob/main/manifest.json",
        f"/{repo_id}/commits/main",
        f"/{repo_id}/commit/main",
        f"/{repo_id}/discussions",
        f"/{repo_id}/discussions/1",
        f"/compare?models={repo_id}&models={repo_id}@main",
        f"/{repo_id}/tree/%3Cscript%3E",
        f"/{repo_id}/blob/main/%3Cscript%3E",
        "/%3Cscript%3E/%3Cscript%3E",
        "/compare?models=%3Cscript%3E",
        "/models?sort=%3Cscript%3E",
        "/login?next=%22%3E%3Cscript%3E",
    ]


def test_markup_in_any_text_stays_text_on_every_page(local_hub: LocalHub, hostile: str) -> None:
    seen = 0
    for path in pages(hostile):
        answer = get(local_hub, path)
        assert answer.status_code < 500, path
        page = Reader(answer.text)
        assert page.problems == [], path
        tags = {tag for tag, _ in page.tags}
        assert not tags & {"script", "iframe", "object", "style", "base", "i"}, path
        names = {name for _, attributes in page.tags for name in attributes}
        assert not {name for name in names if name.startswith("on") or name in {"style", "srcset"}}, path
        for address in [*page.attributes("a", "href"), *page.attributes("form", "action")]:
            assert address.startswith(("/", "#", "https://", "mailto:")), (path, address)
            assert not address.startswith("//"), (path, address)
        for address in [*page.attributes("img", "src"), *page.attributes("link", "href")]:
            assert address.startswith("/"), (path, address)
            assert not address.startswith("//"), (path, address)
        seen += "document.title='owned'" in words(answer)
    assert seen >= 10


def test_every_answer_forbids_scripts_and_everything_from_elsewhere(
    local_hub: LocalHub, hostile: str
) -> None:
    for path in [*pages(hostile), "/icon.svg"]:
        headers = get(local_hub, path).headers
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            "style-src": "'self'",
            "img-src": "'self'",
            "form-action": "'self'",
            "base-uri": "'none'",
            "frame-ancestors": "'none'",
        }
        assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")


def test_a_cards_links_and_pictures_are_those_that_lead_somewhere_known() -> None:
    page = Reader(f"<h1>x</h1>{render_card(CARD, 'org/model', 'a/b')}")
    assert page.problems == []
    assert page.attributes("a", "href") == [
        "/%5Cevil.example",
        "/org/model/blob/a%2Fb/java%09script%3Aalert%281%29",
        "https://good.example/a?b=c&d=e",
        "mailto:a@good.example",
        "/org/model/blob/a%2Fb/notes/a%20b.md",
        "#card-sub-title",
        "https://auto.example/",
        "/other/model",
    ]
    assert page.attributes("img", "src") == ["/org/model/picture/a%2Fb/p.png"]
    assert page.attributes("h3", "id") == ["card-sub-title"]
    assert "[picture: far]" in "".join(page.texts)
    assert "tags:" not in "".join(page.texts)


@pytest.mark.parametrize("text", ["[", "*a ", "![", "`", "> ", "|", "<", "_"])
def test_a_card_made_to_take_long_is_rendered(text: str) -> None:
    assert render_card(text * 8000, "org/model", "main")


def test_what_hides_in_a_text_is_made_visible(local_hub: LocalHub, hostile: str) -> None:
    answer = get(local_hub, f"/{hostile}/blob/main/%3Cb%3E%26%27%22/%C3%BC%20%3Cscript%3E.py")
    assert "a U+202E b" in words(answer)
    assert "\u202e" not in answer.text


def test_only_real_pictures_are_sent_as_pictures(local_hub: LocalHub, new_repo: Callable[[], str]) -> None:
    repo_id = new_repo()
    real = b"\x89PNG\r\n\x1a\n" + bytes(10)
    files = {
        "a.png": real,
        "b.png": b"<script>alert(1)</script>",
        "c.svg": b"<svg onload='x'/>",
        "d.txt": real,
    }
    for path, content in files.items():
        local_hub.api.upload_file(repo_id=repo_id, path_or_fileobj=content, path_in_repo=path)
    answers = {path: get(local_hub, f"/{repo_id}/picture/main/{path}") for path in files}
    assert {path: answer.status_code for path, answer in answers.items()} == {
        "a.png": 200, "b.png": 404, "c.svg": 404, "d.txt": 404
    }  # fmt: skip
    assert (answers["a.png"].content, answers["a.png"].headers["content-type"]) == (real, "image/png")
    assert answers["a.png"].headers["content-security-policy"].startswith("default-src 'none'")


def test_templates_are_never_told_to_trust_a_text() -> None:
    templates = Path(render_card.__code__.co_filename).parent / "templates"
    found = [path.name for path in templates.glob("*.html") if "safe" in path.read_text(encoding="utf-8")]
    assert found == []
    assert len(list(templates.glob("*.html"))) >= 10
