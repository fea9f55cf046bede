from pathlib import Path

import pytest
from find_case import result, write_model, write_zoo
from local_hub_case import LocalHub
from PIL import Image

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.hub.comparison import Measure, compare_models
from sparsezoo_hub.hub.comparison_plot import draw_comparison
from sparsezoo_hub.hub.model_profile import read_profile

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def zoo(local_hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The models of ``write_zoo``; the first two are published as well, the second with a tag."""
    folders = write_zoo(tmp_path_factory.mktemp("zoo"))
    for name in ("dense", "sst2-90"):
        local_hub.api.create_repo(f"compared/{name}", private=name == "dense")
        local_hub.api.upload_folder(repo_id=f"compared/{name}", folder_path=folders[name])
    local_hub.api.create_tag("compared/sst2-90", tag="v1")
    return folders


def test_results_are_compared_with_the_first_where_task_metric_and_split_are_the_same(
    zoo: dict[str, Path], local_hub: LocalHub
) -> None:
    comparison = compare_models(
        ["compared/dense", "compared/sst2-90@v1", str(zoo["closed"]), str(zoo["large"])],
        endpoint=local_hub.url,
        token=local_hub.token,
    )
    told = comparison.to_dict()
    differences = {
        (row["dataset"], row["metric"], row["split"]): [each and each["difference"] for each in row["models"]]
        for row in told["results"]
    }
    assert differences == {
        ("sst2", "accuracy", "validation"): [None, pytest.approx(-0.04), pytest.approx(-0.06), None],
        ("mnli", "accuracy", "validation"): [None, pytest.approx(-0.05), None, None],
        ("sst2", "accuracy", "test"): [None, None, None, None],  # the first was not measured there
        ("own [red]data[/]", "f1", "validation"): [None, None, None, None],
    }
    assert told["results"][0]["models"][1] == {
        "mean": 0.9, "std": 0.01, "num_seeds": 3, "difference": pytest.approx(-0.04),
    }  # fmt: skip
    assert told["nothing_in_common_with_the_first"] == [str(zoo["large"])]
    assert comparison.common_measures == [
        Measure("sst2", "accuracy", "validation"),
        Measure("mnli", "accuracy", "validation"),
    ]


def test_parameters_are_counted_in_the_header_and_the_zeros_are_those_of_the_pattern(
    zoo: dict[str, Path], local_hub: LocalHub
) -> None:
    comparison = compare_models(
        ["compared/sst2-90", str(zoo["closed"]), str(zoo["large"]), str(zoo["dense"])], endpoint=local_hub.url
    )
    # 200 entries of two weights, an embedding of 50 or 5000; positions as integers do not count.
    assert [each.parameters for each in comparison.models] == [250, 250, 5200, 250]
    assert [each.num_kept for each in comparison.models] == [70, 56, 5036, 250]
    # Compact, or the weights themselves of a dense model.
    dense = (zoo["dense"] / "model.safetensors").stat().st_size
    assert [each.transport_size for each in comparison.models] == [100, 60, 100, dense]


def test_one_model_is_no_comparison(zoo: dict[str, Path]) -> None:
    with pytest.raises(PackageError, match="needs two models or more, got 1"):
        compare_models([str(zoo["dense"])])


def test_weights_that_are_none_are_one_line(tmp_path: Path, zoo: dict[str, Path]) -> None:
    broken = write_model(tmp_path / "broken", name="broken", files={"model.safetensors": b"\xff" * 40})
    with pytest.raises(PackageError, match=r"broken: model\.safetensors cannot be read: ") as caught:
        compare_models([str(zoo["dense"]), str(broken)])
    assert "\n" not in str(caught.value)


def test_the_picture_has_a_mark_in_the_color_of_every_model_and_depends_on_the_numbers_alone(
    zoo: dict[str, Path], tmp_path: Path
) -> None:
    comparison = compare_models([str(zoo["dense"]), str(zoo["sst2-90"]), str(zoo["closed"])])
    pictures = []
    for name in ("a.png", "b.png"):
        draw_comparison(tmp_path / name, comparison)
        pictures.append((tmp_path / name).read_bytes())
    assert pictures[0] == pictures[1]
    with Image.open(tmp_path / "a.png") as image:
        colors = {color for _, color in image.convert("RGB").getcolors(1 << 24) or ()}
    # The first three of matplotlib's tab10.
    assert {(31, 119, 180), (255, 127, 14), (44, 160, 44)} < colors
    assert (214, 39, 40) not in colors
    fewer = compare_models([str(zoo["dense"]), str(zoo["sst2-90"])])
    draw_comparison(tmp_path / "c.png", fewer)
    assert (tmp_path / "c.png").read_bytes() != pictures[0]


def test_names_that_are_markup_elsewhere_are_drawn_as_text(tmp_path: Path) -> None:
    odd = [result("$x_{1", 0.5, metric="_$\\frac"), result("\x1b[31m", 0.1)]
    folders = [write_model(tmp_path / f"_${name}$", name=name, results=odd) for name in ("a", "b")]
    draw_comparison(tmp_path / "odd.png", compare_models([str(each) for each in folders]))
    assert (tmp_path / "odd.png").read_bytes().startswith(b"\x89PNG")


def test_there_is_no_picture_of_models_without_a_common_task(zoo: dict[str, Path], tmp_path: Path) -> None:
    comparison = compare_models([str(zoo["dense"]), str(zoo["large"])])
    with pytest.raises(PackageError, match="no two of the models have a result on the same task"):
        draw_comparison(tmp_path / "none.png", comparison)
    assert not (tmp_path / "none.png").exists()


def test_a_profile_tells_revisions_and_the_recipe(zoo: dict[str, Path], local_hub: LocalHub) -> None:
    told = read_profile("compared/sst2-90@v1", endpoint=local_hub.url).to_dict()
    assert told["tags"] == {"v1": told["commit"]}
    assert told["branches"] == {"main": told["commit"]}
    assert (told["recipe"], told["stages"], told["parameters"]) == ("tiny-90", ["teacher", "student"], 250)
    assert told["per_component"]["a.weight"] == {"numel": 100, "zeros": 90, "sparsity": 0.9}
    folder = read_profile(str(zoo["sst2-90"])).to_dict()
    assert (folder["tags"], folder["branches"], folder["parameters"]) == (None, None, 250)
