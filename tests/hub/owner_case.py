from dataclasses import dataclass
from itertools import count

from huggingface_hub import HfApi
from local_hub_case import LocalHub

from sparsezoo_hub.hub.local_hub.tokens import Tokens, TokenScope

NAMES = count(100)


@dataclass(frozen=True)
class Owner:
    """An owner with a token of each scope, on a Hub that was already running when they were made."""

    name: str
    write: str
    read: str
    hub: LocalHub

    def api(self, scope: TokenScope = "write") -> HfApi:
        return HfApi(endpoint=self.hub.url, token=self.write if scope == "write" else self.read)

    def repo(self, *, private: bool) -> str:
        repo_id = f"{self.name}/model-{next(NAMES)}"
        self.api().create_repo(repo_id, private=private)
        return repo_id


def make_owner(hub: LocalHub, name: str) -> Owner:
    tokens = Tokens(hub.root)
    return Owner(name, tokens.create(name, "write"), tokens.create(name, "read"), hub)
