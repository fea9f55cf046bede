"""Files that are nearly right: each is read, or refused by an error of ours."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutated, values
from packaging_case import RECIPE
from safetensors.torch import save_file
from test_model_card import tiny_subject

from sparsezoo_hub.core.masks import mask_digest, pack_mask
from sparsezoo_hub.core.recipe_text import parse_recipe, recipe_text
from sparsezoo_hub.errors import PackageError, RecipeError, SparseZooError
from sparsezoo_hub.packaging.card_metadata import check_card
from sparsezoo_hub.packaging.compact_weights import expand_compact, write_compact
from sparsezoo_hub.packaging.manifest import FileEntry, Manifest, manifest_text, read_manifest
from sparsezoo_hub.packaging.mask_file import read_masks, write_masks
from sparsezoo_hub.packaging.model_card import render_card
from sparsezoo_hub.packaging.recipe_file import read_recipe
from sparsezoo_hub.training.recipe_library import load_recipe
from sparsezoo_hub.training.studies.library import load_study

STUDY = (Path(__file__).parents[2] / "studies" / "minilm-transfer.yaml").read_bytes()
CARD = render_card(tiny_subject()).encode()
MASKS = {
    "layer.0.weight": torch.arange(24).view(4, 6) % 3 == 0,
    "layer.1.weight": torch.ones(3, 3, dtype=torch.bool),
}


def manifest() -> Manifest:
    subject = tiny_subject()
    return Manifest(
        name="tiny-90",
        created="2026-01-02T03:04:05Z",
        files={"model.safetensors": FileEntry(sha256="a" * 64, size=3)},
        sparsity=subject.sparsity,
        mask_digest=subject.mask_digest,
        parents=subject.parents,
        measurements=subject.measurements,
        versions={"python": "3.11.7"},
    )


MANIFEST = json.loads(manifest_text(manifest()))


def made(write: Callable[[Path], object], folder: Path) -> bytes:
    path = folder / "made"
    write(path)
    content = path.read_bytes()
    path.unlink()
    return content


@contextlib.contextmanager
def refused_at_most() -> Iterator[None]:
    """Let pass what is read, and what is refused on purpose; nothing else may be raised."""
    refusal = "nothing"
    try:
        yield
    except SparseZooError as error:
        refusal = str(error)
    assert all(line.strip() for line in refusal.splitlines() or [""])
    refusal.encode()  # what a terminal has to show


@given(st.data())
def test_manifests(folder: Path, data: st.DataObject) -> None:
    content = data.draw(mutated(json.dumps(MANIFEST, indent=2).encode()) | values(MANIFEST).map(_json))
    (folder / "manifest.json").write_bytes(content)
    with refused_at_most():
        read_manifest(folder / "manifest.json")


@given(st.data())
def test_mask_files(folder: Path, data: st.DataObject) -> None:
    (folder / "masks").write_bytes(data.draw(mutated(made(lambda path: write_masks(path, MASKS), folder))))
    with refused_at_most():
        read_masks(folder / "masks")


@given(st.data())
def test_headers_of_mask_files(folder: Path, data: st.DataObject) -> None:
    shapes = {name: list(mask.shape) for name, mask in MASKS.items()}
    header = data.draw(values({"format": 1, "digest": mask_digest(MASKS), "shapes": shapes}))
    packed = {name: pack_mask(mask) for name, mask in MASKS.items()}
    save_file(packed, folder / "masks", metadata={"pattern_lock": json.dumps(header)})
    with refused_at_most():
        read_masks(folder / "masks")


def test_a_shape_beyond_all_numbers_is_refused(folder: Path) -> None:
    shapes = {name: list(mask.shape) for name, mask in MASKS.items()}
    header = {"format": 1, "digest": mask_digest(MASKS), "shapes": {**shapes, "layer.0.weight": [10**400]}}
    packed = {name: pack_mask(mask) for name, mask in MASKS.items()}
    save_file(packed, folder / "masks", metadata={"pattern_lock": json.dumps(header)})
    with pytest.raises(PackageError):
        read_masks(folder / "masks")


@given(st.data())
def test_compact_files(folder: Path, data: st.DataObject) -> None:
    weights = {name: torch.full(mask.shape, 0.5) * mask for name, mask in MASKS.items()}
    save_file({**weights, "bias": torch.ones(5)}, folder / "weights")
    content = made(lambda path: write_compact(folder / "weights", MASKS, path), folder)
    (folder / "compact").write_bytes(data.draw(mutated(content)))
    expanded = False
    with refused_at_most():
        expand_compact(folder / "compact", folder / "out")
        expanded = True
    assert (folder / "out").exists() == expanded
    if expanded:
        assert (folder / "out").read_bytes() == (folder / "weights").read_bytes()
        (folder / "out").unlink()


@given(st.data())
def test_recipes(folder: Path, data: st.DataObject) -> None:
    content = data.draw(mutated(RECIPE.encode()) | values(yaml.safe_load(RECIPE)).map(_yaml))
    (folder / "recipe.yaml").write_bytes(content)
    recipe = None
    with refused_at_most():
        recipe = read_recipe(folder)
    with refused_at_most():
        load_recipe(str(folder / "recipe.yaml"))
    if recipe is not None:
        assert parse_recipe(recipe_text(recipe), "again") == recipe


@pytest.mark.parametrize(
    "value",
    [
        *(
            "\0",
            "2024-99-99",
            "!!int x",
            "!!float ''",
            "!!timestamp x",
            "!!bool x",
            "0x" + "f" * 5000,
            "9" * 5000,
        ),
        *(
            "{[a]: b}",
            "{{a: 1}: 2}",
            "{!!int x: 1}",
            "&a [*a]",
            "[" * 3000,
            "{<<: 5}",
            "!!python/object:os.system {}",
        ),
    ],
)
def test_what_yaml_stumbles_over_is_refused(folder: Path, value: str) -> None:
    for name, load in (("recipe.yaml", load_recipe), ("study.yaml", load_study)):
        (folder / name).write_text(f"name: {value}\n")
        with pytest.raises(RecipeError) as refused:
            load(str(folder / name))
        str(refused.value).encode()


@given(st.data())
def test_studies(folder: Path, data: st.DataObject) -> None:
    (folder / "study.yaml").write_bytes(data.draw(mutated(STUDY) | values(yaml.safe_load(STUDY)).map(_yaml)))
    with refused_at_most():
        load_study(str(folder / "study.yaml"))


@given(st.data())
def test_cards(folder: Path, data: st.DataObject) -> None:
    (folder / "README.md").write_bytes(data.draw(mutated(CARD) | mutated(CARD[:900])))
    with refused_at_most():
        check_card(folder / "README.md")


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=2, sort_keys=True).encode()


def _yaml(content: Any) -> bytes:
    return yaml.dump(content, allow_unicode=True, sort_keys=False).encode(errors="surrogatepass")
