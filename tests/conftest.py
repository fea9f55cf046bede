"""What every test shares: one thread, two finished packages, and a cache of its own for who asks for one."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from packaging_case import dense_contents, tiny_contents
from shared_folder import shared_folder

from sparsezoo_hub.packaging.package import write_package


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let files with long tests come first, so that no worker is left alone with one at the end."""
    long = {item.path for item in items if any(map(item.get_closest_marker, ("slow", "distributed")))}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    # On models this small, threads wait for each other more than they compute, above all on busy cores.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def _imports_are_no_garbage() -> None:
    # accelerate collects garbage at every start of a training: not among all that was imported.
    gc.freeze()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that no test may change."""
    return shared_folder(tmp_path_factory, "package", lambda folder: write_package(folder, tiny_contents()))


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense package that no test may change."""
    return shared_folder(tmp_path_factory, "dense", lambda folder: write_package(folder, dense_contents()))


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The client's cache is an empty folder of this module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
