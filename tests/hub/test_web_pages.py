import re
from collections.abc import Callable
from pathlib import Path

import pytest
from find_case import result, write_model
from local_hub_case import LocalHub, commit, file_line, send
from web_case import Reader, get, models_in, words

from sparsezoo_hub.hub.local_hub.web.scatter import Point, draw_scatter
from sparsezoo_hub.hub.local_hub.web.wording import short_words, size_words

DASH = "\u2013"


@pytest.fixture(scope="module")
def zoo(local_hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> LocalHub:
    folder = tmp_path_factory.mktemp("zoo")
    sst2 = [result("sst2", 0.9, 0.01), result("mnli", 0.8)]
    folders = {
        "web/dense": write_model(
            folder / "a",
            name="oberta-base",
            model_type="roberta",
            zeros=None,
            results=[result("sst2", 0.94, 0.002)],
            card="new_version: web/sparse\n",
        ),
        "web/sparse": write_model(
            folder / "b", name="oberta-base-90", model_type="roberta", results=sst2, int8=True
        ),
        "web/Other": write_model(
            folder / "c",
            name="mine",
            model_type="distilbert",
            zeros=(80, 84),
            results=[result("other-data", 0.7)],
            base_model="web/dense",
            width=500,
        ),
    }
    for repo_id, package in folders.items():
        local_hub.api.create_repo(repo_id)
        local_hub.api.upload_folder(repo_id=repo_id, folder_path=package)
    local_hub.api.create_repo("web/empty")
    local_hub.api.create_repo("web/secret", private=True)
    return local_hub


@pytest.fixture(scope="module")
def packaged(local_hub: LocalHub, written: Path) -> str:
    local_hub.api.create_repo("web-real/tiny-90")
    local_hub.api.upload_folder(repo_id="web-real/tiny-90", folder_path=written)
    local_hub.api.create_tag("web-real/tiny-90", tag="v1")
    return "web-real/tiny-90"


def test_the_catalogue_tells_of_each_model_what_it_is_and_what_was_measured(zoo: LocalHub) -> None:
    text = words(get(zoo, "/", author="web", sort="name"))
    assert "4 of" in text
    dense, empty, other, sparse = (
        text.index(f"web/{name} ") for name in ("dense", "empty", "Other", "sparse")
    )
    assert "roberta · text-classification · oberta-base deprecated sparsity dense" in text[dense:empty]
    assert "sst2 accuracy 0.940 weights" in text[dense:empty]
    assert "sparsity not known results none measured weights no weights" in text[empty:other]
    # (80 + 84) / 200
    assert "sparsity 0.820" in text[other:sparse]
    assert "int8 sparsity 0.900 results sst2 accuracy 0.900 mnli accuracy 0.800 weights" in text[sparse:]
    assert "700 bytes gzip" in text[sparse:]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"search": "OBERTA-base"}, ["web/dense", "web/sparse"]),
        ({"search": "oberta 90"}, ["web/sparse"]),
        ({"search": "secret"}, []),
        ({"architecture": "distilbert"}, ["web/Other"]),
        ({"task": "sst2"}, ["web/dense", "web/sparse"]),
        ({"pipeline_tag": "text-classification"}, ["web/dense", "web/Other", "web/sparse"]),
        ({"min_sparsity": "0.82"}, ["web/Other", "web/sparse"]),
        ({"min_sparsity": "0.1", "max_sparsity": ".85"}, ["web/Other"]),
        ({"max_sparsity": "0"}, ["web/dense"]),
        ({"quantized": "1"}, ["web/sparse"]),
        ({"quantized": "0"}, ["web/dense", "web/empty", "web/Other"]),
        ({"other": "base_model:web/dense"}, ["web/Other"]),
        ({"sort": "sparsity"}, ["web/sparse", "web/Other", "web/dense", "web/empty"]),
        ({"sort": "size"}, ["web/dense", "web/sparse", "web/Other", "web/empty"]),
        ({"sort": "created"}, ["web/empty", "web/Other", "web/sparse", "web/dense"]),
    ],
)
def test_filters_and_orders_select_what_they_say(
    zoo: LocalHub, query: dict[str, str], found: list[str]
) -> None:
    answer = get(zoo, "/models", **{"author": "web", "sort": "name", **query})
    assert models_in(answer) == found
    assert Reader(answer.text).problems == []


def test_a_filter_that_cannot_be_is_refused_on_a_page(zoo: LocalHub) -> None:
    for query in (
        {"min_sparsity": "90 %"},
        {"max_sparsity": "1.5"},
        {"min_sparsity": "nan"},
        {"sort": "likes"},
    ):
        answer = get(zoo, "/models", **query)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "text/html; charset=utf-8")
        assert "must be" in words(answer)


def test_a_long_catalogue_comes_in_pages_that_keep_the_query(local_hub: LocalHub) -> None:
    for number in range(27):
        local_hub.api.create_repo(f"web-many/m-{number:02}")
    first = get(local_hub, "/models", author="web-many", sort="name")
    following = re.findall(r'rel="next" href="([^"]+)"', first.text)[0].replace("&amp;", "&")
    second = get(local_hub, following)
    assert models_in(first) == [f"web-many/m-{number:02}" for number in range(25)]
    assert models_in(second) == ["web-many/m-25", "web-many/m-26"]
    assert "page 2 of 2" in words(second)
    assert re.findall(r'rel="prev" href="([^"]+)"', second.text) == ["/models?author=web-many&amp;sort=name"]


def test_a_package_shows_its_pattern_lineage_results_files_and_how_to_load_it(
    local_hub: LocalHub, packaged: str
) -> None:
    answer = get(local_hub, f"/{packaged}")
    text = words(answer)
    assert Reader(answer.text).problems == []
    for said in (
        "sparsity 0.900",
        "target 0.900 architecture bert task fill-mask",
        "backbone bert, initialised at random base model some-org/some-bert teacher teacher",
        "parts accuracy 0.812 ± 0.013 3 seeds",  # 0.8125 ± 0.0125
        "parts for comparison: dense accuracy 0.900 ± 0 1 seed",
        "validation text masked-LM loss 2.750",
        "from transformers import AutoModelForMaskedLM",
        "import sparsezoo_hub # locks the pattern",
        f"export HF_ENDPOINT={local_hub.url}",
        f"sparsezoo-hub pull {packaged} here",
        "training 12.5 s, 2 cores",
        "A tiny BERT for tests.",  # the card
        "onnx/model.onnx",
    ):
        assert said in text, said
    # Six kinds of weights in each of two layers, each 90 % zero: 18 of 20 shades.
    assert re.findall(r'<td class="(h\d+)">([\d.]+)</td>', answer.text) == [("h18", "0.90")] * 12
    assert f'src="/{packaged}/picture/main/sparsity.png"' in answer.text
    assert f'href="/{packaged}/tree/v1"' in answer.text
    picture = get(local_hub, f"/{packaged}/picture/main/sparsity.png")
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")


def test_a_deprecated_model_names_its_successor(zoo: LocalHub) -> None:
    answer = get(zoo, "/web/dense")
    assert "This model is deprecated. Its new version is web/sparse." in words(answer)
    assert 'href="/web/sparse"' in answer.text


def test_a_repository_that_is_no_package_shows_what_it_has(zoo: LocalHub) -> None:
    text = words(get(zoo, "/web/empty"))
    assert "This model has no card." in text
    assert "AutoModel.from_pretrained" in text
    assert ".gitattributes" in text


@pytest.mark.parametrize(
    "manifest", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"format": 1}', b'{"name": ' + b"9" * 5000 + b"}"]
)
def test_a_bad_manifest_is_shown_as_such(
    local_hub: LocalHub, new_repo: Callable[[], str], manifest: bytes
) -> None:
    repo_id = new_repo()
    assert commit(local_hub, repo_id, file_line("manifest.json", manifest)).status_code == 200
    for path in (f"/{repo_id}", f"/compare?models={repo_id}", f"/models?search={repo_id}"):
        answer = get(local_hub, path)
        assert answer.status_code == 200
        assert "manifest" in words(answer)
    assert "Its manifest cannot be used" in words(get(local_hub, f"/{repo_id}"))
    assert "Traceback" not in get(local_hub, f"/{repo_id}").text


def test_a_comparison_has_every_number_and_the_difference_to_the_first(zoo: LocalHub) -> None:
    answer = get(zoo, "/compare?models=web/dense&models=web/sparse&models=web/Other")
    text = words(answer)
    assert Reader(answer.text).problems == []
    for said in (
        "sparsity, counted dense 0.900 0.820",
        f"zeros in them {DASH} 180 164",
        f"kept of them {DASH} 20 36",
        "int8 no yes no",
        f"sst2 accuracy 0.940 ± 0.002 0.900 ± 0.010 (-0.04) {DASH}",
        f"mnli accuracy {DASH} 0.800 ± 0 {DASH}",
        f"a {DASH} 0.900 0.800",
        f"b {DASH} 0.900 0.840",
    ):
        assert said in text, said
    # Only sst2 was measured with two of them.
    assert answer.text.count("<figure") == 1
    assert re.findall(r'class="label"[^>]*>([^<]+)<', answer.text) == ["A  dense", "B  0.900"]
    assert "no accuracy to compare" in words(get(zoo, "/compare?models=web/dense&models=web/Other"))


def test_a_comparison_takes_revisions_and_refuses_what_is_not_there(zoo: LocalHub, packaged: str) -> None:
    assert "at v1" in words(get(zoo, f"/compare?models={packaged}@v1&models={packaged}"))
    for name in ("web/nothing", "web/secret", "../x", "x", "web/dense@no-such", "a/b/c"):
        answer = get(zoo, "/compare", models=name)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    many = "&".join(f"models=web/m{number}" for number in range(9))
    assert "at most 8" in words(get(zoo, f"/compare?{many}"))
    assert get(zoo, "/compare").status_code == 200


def test_a_private_model_is_shown_to_its_owner_only(zoo: LocalHub) -> None:
    paths = ["/web/secret", "/web/secret/tree/main", "/web/secret/commits/main", "/compare?models=web/secret"]
    for path in paths:
        refused = get(zoo, path)
        assert (refused.status_code, refused.headers["X-Error-Code"]) == (404, "RepoNotFound")
        assert get(zoo, path.replace("secret", "absent")).text == refused.text.replace("secret", "absent")
        assert get(zoo, path, token=zoo.token).status_code == 200
    assert "web/secret" in models_in(get(zoo, "/models?author=web", token=zoo.token))
    assert "private" in words(get(zoo, "/web/secret", token=zoo.token))


def test_signing_in_asks_for_a_token_and_leads_back(zoo: LocalHub) -> None:
    asked = get(zoo, "/login?next=/web/secret")
    assert asked.status_code == 401
    assert asked.headers["WWW-Authenticate"].startswith("Basic ")
    assert get(zoo, "/login", token="hf_wrong").status_code == 401  # noqa: S106
    for given, address in [
        ("/web/secret?p=1", "/web/secret?p=1"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/%5Cevil.example"),
        ("/\t/evil.example", "/%09/evil.example"),
        ("https://evil.example", "/"),
    ]:
        answer = get(zoo, "/login", token=zoo.token, next=given)
        assert (answer.status_code, answer.headers["location"]) == (303, address)


def test_numbers_are_written_for_people() -> None:
    sizes = {0: "0 bytes", 1: "1 byte", 999: "999 bytes", 1000: "1.00 kB", 12_345: "12.3 kB"}
    sizes |= {999_999: "1000 kB", 440_000_000: "440 MB", 10**12: "1.00 TB", 10**400: "over 1000 PB"}
    assert {size: size_words(size) for size in sizes} == sizes
    shorts = {0.8125: "0.812", 88.25: "88.25", 0.00123456: "0.001235", 0.0: "0", -0.04: "-0.040"}
    assert {value: short_words(value) for value in shorts} == shorts


def test_a_picture_has_its_points_inside_and_round_numbers_at_its_axes() -> None:
    scatter = draw_scatter([Point(10, 0.8, 0.01, "A"), Point(50, 0.9, 0.0, "B"), Point(1e300, 1, 0, "C")])
    assert scatter is not None
    assert [mark.label for mark in scatter.marks] == ["B", "A"]
    upper, lower = scatter.marks
    assert scatter.left < lower.x < upper.x < scatter.right
    assert scatter.top < upper.y < lower.y < lower.bar_bottom < scatter.bottom
    assert [tick.label for tick in scatter.x_ticks] == ["10", "20", "30", "40", "50"]
    assert [tick.label for tick in scatter.y_ticks] == [
        "0.78",
        "0.80",
        "0.82",
        "0.84",
        "0.86",
        "0.88",
        "0.90",
    ]
    assert draw_scatter([Point(float("inf"), 1, 0, "C")]) is None


def test_pages_leave_the_clients_addresses_alone(local_hub: LocalHub, repo_id: str) -> None:
    assert get(local_hub, "/api/nothing").headers["content-type"] == "application/json"
    assert get(local_hub, "/API/nothing").headers["content-type"] == "application/json"
    assert send(local_hub, "POST", f"/{repo_id}").status_code == 404
    assert send(local_hub, "POST", f"/{repo_id}").headers["content-type"] == "application/json"
    assert send(local_hub, "PUT", f"/{repo_id}/tree/main").headers["content-type"] == "application/json"
    assert get(local_hub, f"/{repo_id}/resolve/main/nothing").headers["X-Error-Code"] == "EntryNotFound"
    assert local_hub.client.head(f"/{repo_id}").status_code == 200


def test_what_the_pages_are_made_of_is_in_the_package(local_hub: LocalHub) -> None:
    page = Reader(get(local_hub, "/").text)
    for address in page.attributes("link", "href"):
        answer = get(local_hub, address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    pyproject = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert all(f'"hub/local_hub/web/{each}"' in pyproject for each in ("*.css", "*.svg", "templates/*.html"))
