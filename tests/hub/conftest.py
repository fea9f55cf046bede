import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi
from local_hub_case import LocalHub

from sparsezoo_hub.hub.local_hub.process import HubAddress, running_hub

# test_local_hub_client.py speaks only the client's protocol, and runs against any Hub: give its address here,
# and a token in HF_TOKEN. Tests that look into the Hub's folder are skipped then.
ENDPOINT_VARIABLE = "SPARSEZOO_TEST_ENDPOINT"


@pytest.fixture(scope="session")
def local_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    # One client for all requests by hand: making one takes longer than a request.
    with _hub(tmp_path_factory) as (address, folder), httpx2.Client(base_url=address.url) as client:
        yield LocalHub(address, folder, HfApi(endpoint=address.url, token=address.token), client)


@contextmanager
def _hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubAddress, Path | None]]:
    endpoint = os.environ.get(ENDPOINT_VARIABLE)
    if endpoint:
        yield HubAddress(endpoint.rstrip("/"), os.environ["HF_TOKEN"], 0), None
        return
    root = tmp_path_factory.mktemp("outside") / "hub"
    with running_hub(root) as address:
        yield address, root


@pytest.fixture(scope="session")
def new_repo(local_hub: LocalHub) -> Iterator[Callable[[], str]]:
    numbers = count()
    if local_hub.folder is None:
        prefix = f"{local_hub.api.whoami()['name']}/test-{secrets.token_hex(4)}"
    else:
        prefix = "org/model"
    created = []

    def create() -> str:
        repo_id = f"{prefix}-{next(numbers)}"
        local_hub.api.create_repo(repo_id)
        created.append(repo_id)
        return repo_id

    yield create
    if local_hub.folder is None:
        for repo_id in created:
            local_hub.api.delete_repo(repo_id, missing_ok=True)


@pytest.fixture
def repo_id(new_repo: Callable[[], str]) -> str:
    return new_repo()
