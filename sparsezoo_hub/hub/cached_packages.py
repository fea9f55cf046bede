"""Cached packages: what the Hub client's cache has, for when no Hub can be asked."""

from dataclasses import dataclass

from huggingface_hub import constants, scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from sparsezoo_hub.packaging.layout import MANIFEST


@dataclass(frozen=True)
class CachedPackage:
    """A repository of which a manifest is in the cache, and the commit to read."""

    repo_id: str
    commit: str


def cached_packages() -> list[CachedPackage]:
    """Return the model repositories in the cache that have a manifest, the last changed first.

    Of several commits it is the one that the main branch was last seen at, or else the last one fetched.
    """
    try:
        repos = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return []
    found = []
    for repo in sorted(repos, key=lambda each: (-each.last_modified, each.repo_id)):
        packages = [each for each in repo.revisions if any(file.file_name == MANIFEST for file in each.files)]
        if repo.repo_type == "model" and packages:
            best = max(packages, key=lambda each: ("main" in each.refs, each.last_modified))
            found.append(CachedPackage(repo.repo_id, best.commit_hash))
    return found
