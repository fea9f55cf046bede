"""Whatever goes wrong, the previous package is as it was and nothing is left beside it."""

import errno
import os
import resource
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from forked_processes import ended, forked, words
from packaging_case import locked_model, tiny_contents, wordpiece_tokenizer

from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.errors import PackageError, write_errors
from sparsezoo_hub.packaging import package as package_module
from sparsezoo_hub.packaging.package import PackageContents, write_package
from sparsezoo_hub.packaging.placement import placed
from sparsezoo_hub.packaging.verify import require_verified


def fill_the_disk(folder: Path, scratch: Path) -> None:
    """In a process of its own: the limit on file sizes, which a full disk is like, holds for all of it."""
    contents, said = tiny_contents(), []
    # The weights do not fit; the weights fit, but ONNX's do not.
    for limit in (50_000, 95_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            write_package(folder, contents)
        except PackageError as error:
            said.append(f"{error}\n")
    # A tokenizer is written by a library with errors of its own kind.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, resource.RLIM_INFINITY))
    try:
        with write_errors(folder):
            wordpiece_tokenizer().save_pretrained(scratch)
    except PackageError as error:
        said.append(f"{error}\n")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    sys.stdout.writelines(said)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_changes_nothing(package: Path, tmp_path: Path) -> None:
    before = tree(package.parent)
    scratch = tmp_path.parent / f"{tmp_path.name}-scratch"
    said = tmp_path.parent / f"{tmp_path.name}-said"
    assert ended([forked(said, fill_the_disk, package, scratch)]) == [0], words(said)
    lines = said.read_text().splitlines()
    weights, onnx, tokenizer = lines
    for line in (weights, tokenizer):
        assert line.startswith(f"{package} cannot be written: File too large; ")
        assert "raise the limit (ulimit -f)" in line
    assert onnx.startswith(f"{package} cannot be written: ")
    assert "look whether the disk is full" in onnx
    assert tree(package.parent) == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
@pytest.mark.usefixtures("quick_onnx")
def test_what_the_disk_refuses_is_one_line_that_says_what_to_do(
    package: Path, contents: PackageContents, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    before = tree(package.parent)
    monkeypatch.setattr(package_module, "draw_sparsity", refuse)
    with pytest.raises(PackageError, match=f"cannot be written: {os.strerror(number)}; ") as caught:
        write_package(package, contents)
    assert "\n" not in str(caught.value)
    assert tree(package.parent) == before


@pytest.mark.parametrize("step", ["write_masks", "export_onnx", "render_card", "write_manifest"])
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
@pytest.mark.usefixtures("quick_onnx")
def test_an_interruption_leaves_nothing_behind(
    package: Path,
    contents: PackageContents,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    interruption: type[BaseException],
) -> None:
    def interrupt(*_: object) -> None:
        raise interruption

    before = tree(package.parent)
    monkeypatch.setattr(package_module, step, interrupt)
    for folder in (package, package.with_name("new")):
        with pytest.raises(interruption):
            write_package(folder, contents)
    assert tree(package.parent) == before
    assert list(package.parent.iterdir()) == [package]


@pytest.mark.usefixtures("quick_onnx")
def test_a_new_package_takes_the_place_of_the_previous_one(package: Path, contents: PackageContents) -> None:
    recipe = contents.recipe.model_copy(update={"name": "tiny-90-again"})
    (package / "onnx" / "left-over").touch()
    write_package(package, replace(contents, recipe=recipe))
    assert require_verified(package).name == "tiny-90-again"
    assert list(package.parent.iterdir()) == [package]


@pytest.mark.usefixtures("quick_onnx")
def test_parents_are_made_and_links_followed(tmp_path: Path, contents: PackageContents) -> None:
    target = tmp_path / "real" / "place"
    write_package(target, contents)
    (tmp_path / "link").symlink_to(target)
    write_package(tmp_path / "link", contents)
    assert (tmp_path / "link").is_symlink()
    require_verified(target)


def test_a_move_that_fails_puts_the_previous_package_back(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(package.parent)
    rename = Path.rename

    def fails_for_the_new_one(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new_one)
    with pytest.raises(PackageError, match="Input/output error"), placed(package) as staging:
        (staging / "manifest.json").touch()
    assert tree(package.parent) == before


def test_a_path_below_a_file_is_refused(tmp_path: Path, contents: PackageContents) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(PackageError, match="a part of the path is a file") as caught:
        write_package(tmp_path / "file" / "package", contents)
    assert "\n" not in str(caught.value)
    with pytest.raises(PackageError, match="is a file: a package is a folder"):
        write_package(tmp_path / "file", contents)
    assert tree(tmp_path) == {str(tmp_path / "file"): b"mine"}


def test_a_folder_that_is_no_package_is_never_replaced(tmp_path: Path, contents: PackageContents) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(PackageError, match="has files and is no package"):
        write_package(tmp_path, contents)
    assert tree(tmp_path) == {str(tmp_path / "thesis.tex"): b"years of work"}


def test_a_model_without_a_lock_is_refused(tmp_path: Path) -> None:
    contents = tiny_contents()
    PatternLock.unlock(contents.model)
    with pytest.raises(PackageError, match="BertForMaskedLM is not locked"):
        write_package(tmp_path / "package", contents)
    assert not list(tmp_path.iterdir())


def test_zeros_that_came_back_to_life_are_refused(tmp_path: Path) -> None:
    contents = replace(tiny_contents(), model=locked_model())
    with torch.no_grad():
        contents.model.bert.encoder.layer[0].output.dense.weight.fill_(1.0)
    pruned = round(0.9 * 32 * 48)
    with pytest.raises(PackageError, match=f"{pruned} locked weights .* are no longer zero"):
        write_package(tmp_path / "package", contents)
    assert not list(tmp_path.iterdir())


def test_a_minus_zero_under_a_mask_is_refused(tmp_path: Path) -> None:
    contents = replace(tiny_contents(), model=locked_model())
    weight = contents.model.bert.encoder.layer[0].output.dense.weight
    with torch.no_grad():
        weight[weight == 0] = -0.0
    with pytest.raises(PackageError, match=r"weights that are not exactly \+0\.0"):
        write_package(tmp_path / "package", contents)
    assert not list(tmp_path.iterdir())
