"""What every test shares: one thread, one finished package, and a cache of its own for who asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from packaging_case import tiny_contents

from sparsezoo_hub.packaging.package import write_package


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    # On models this small, threads wait for each other more than they compute, above all on busy cores.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that no test may change."""
    folder = tmp_path_factory.mktemp("written") / "package"
    write_package(folder, tiny_contents())
    return folder


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The client's cache is an empty folder of this module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
