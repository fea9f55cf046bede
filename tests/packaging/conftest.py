"""One finished package for the whole session, and a copy to change for each test."""

import shutil
from pathlib import Path

import pytest
from packaging_case import tiny_contents

from sparsezoo_hub.packaging.manifest import Manifest
from sparsezoo_hub.packaging.package import PackageContents, write_package


@pytest.fixture(scope="session")
def contents() -> PackageContents:
    return tiny_contents()


@pytest.fixture(scope="session")
def written(contents: PackageContents, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """A package that no test may change."""
    folder = tmp_path_factory.mktemp("packages") / "tiny"
    return folder, write_package(folder, contents)


@pytest.fixture
def package(written: tuple[Path, Manifest], tmp_path: Path) -> Path:
    """A copy of the package, to change."""
    return Path(shutil.copytree(written[0], tmp_path / "package"))
