"""One finished package of each kind for the whole session, and a copy to change for each test."""

import shutil
from pathlib import Path

import pytest
from packaging_case import tiny_contents

from sparsezoo_hub.packaging import package as package_module
from sparsezoo_hub.packaging.float_parity import FloatParity
from sparsezoo_hub.packaging.manifest import Manifest, read_manifest
from sparsezoo_hub.packaging.package import PackageContents


@pytest.fixture(scope="session")
def contents() -> PackageContents:
    return tiny_contents()


@pytest.fixture(scope="session")
def written(written: Path) -> tuple[Path, Manifest]:
    """A package that no test may change."""
    return written, read_manifest(written / "manifest.json")


@pytest.fixture
def package(written: tuple[Path, Manifest], tmp_path: Path) -> Path:
    """A copy of the package, to change."""
    return Path(shutil.copytree(written[0], tmp_path / "package"))


@pytest.fixture(scope="session")
def dense_written(dense: Path) -> tuple[Path, Manifest]:
    """A dense package that no test may change."""
    return dense, read_manifest(dense / "manifest.json")


@pytest.fixture
def dense_package(dense_written: tuple[Path, Manifest], tmp_path: Path) -> Path:
    """A copy of the dense package, to change."""
    return Path(shutil.copytree(dense_written[0], tmp_path / "package"))


@pytest.fixture
def quick_onnx(written: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    """The ONNX files of the finished package, without waiting for the exporter."""
    _copy_onnx(written[0], monkeypatch)


@pytest.fixture
def quick_dense_onnx(dense_written: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    """The ONNX files of the dense package, without waiting for the exporter."""
    _copy_onnx(dense_written[0], monkeypatch)


def _copy_onnx(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(_model: object, _tokenizer: object, texts: list[str], folder: Path) -> FloatParity:
        shutil.copytree(package / "onnx", folder)
        return FloatParity(1e-6, len(texts), 4, 3, 20)

    monkeypatch.setattr(package_module, "export_onnx", copied)
