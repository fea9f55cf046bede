from collections.abc import Callable, Iterator
from itertools import count

import httpx2
import pytest
from huggingface_hub import HfApi
from local_hub_case import LocalHub

from sparsezoo_hub.hub.local_hub.process import running_hub


@pytest.fixture(scope="session")
def local_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    root = tmp_path_factory.mktemp("outside") / "hub"
    # One client for all requests by hand: making one takes longer than a request.
    with running_hub(root) as address, httpx2.Client(base_url=address.url) as client:
        yield LocalHub(address, root, HfApi(endpoint=address.url, token=address.token), client)


@pytest.fixture(scope="session")
def new_repo(local_hub: LocalHub) -> Callable[[], str]:
    numbers = count()

    def create() -> str:
        repo_id = f"org/model-{next(numbers)}"
        local_hub.api.create_repo(repo_id)
        return repo_id

    return create


@pytest.fixture
def repo_id(new_repo: Callable[[], str]) -> str:
    return new_repo()
