from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import HfApi

from sparsezoo_hub.hub.local_hub.process import HubAddress


@dataclass(frozen=True)
class LocalHub:
    address: HubAddress
    root: Path
    api: HfApi
    client: httpx2.Client

    @property
    def url(self) -> str:
        return self.address.url

    @property
    def token(self) -> str:
        return self.address.token

    def git_dir(self, repo_id: str) -> Path:
        return self.root / "models" / f"{repo_id}.git"
