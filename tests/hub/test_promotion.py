"""Promotion, tags and deprecation of what is at a Hub."""

from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from local_hub_case import LocalHub
from manage_case import lowered, variant
from markdown_it import MarkdownIt

from sparsezoo_hub.errors import HubError, PackageError, VerificationError
from sparsezoo_hub.hub.contents import stored_files
from sparsezoo_hub.hub.deprecation import deprecate_repository, deprecated_card
from sparsezoo_hub.hub.promotion import promote_package
from sparsezoo_hub.hub.pull import pull_package
from sparsezoo_hub.hub.push import push_package
from sparsezoo_hub.hub.tags import tag_revision

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*clean_up_tokenization_spaces"),
    pytest.mark.usefixtures("own_cache"),
]
HOSTILE = (
    "<script>alert(1)</script>\n---\nnew_version: evil/one\n# big | [x](javascript:1) `` ![i](http://e/v)"
)


@pytest.fixture
def there(local_hub: LocalHub) -> dict[str, str]:
    return {"endpoint": local_hub.url, "token": local_hub.token}


def test_staging_becomes_the_release_as_it_is(
    written: Path, local_hub: LocalHub, there: dict[str, str], tmp_path: Path
) -> None:
    release = variant(written, tmp_path / "release", {"README.md": ("# ", "# Before: ")})
    before = push_package(release, "org/staged", **there)
    staged = push_package(written, "org/staged", revision="staging", **there)
    local_hub.api.upload_file(path_or_fileobj=b"x", path_in_repo="extra.bin", repo_id="org/staged")
    promoted = promote_package("org/staged", "staging", "main", **there)
    assert promoted.source == staged.commit
    history = [commit.commit_id for commit in local_hub.api.list_repo_commits("org/staged")]
    assert history[0] == promoted.commit
    assert history[2] == before.commit  # one commit on top of what was there
    assert stored_files(local_hub.api, "org/staged", "main") == stored_files(
        local_hub.api, "org/staged", staged.commit
    )
    again = promote_package("org/staged", "staging", "main", **there)
    assert (again.commit, again.is_new) == (promoted.commit, False)
    tagged = promote_package("org/staged", "staging", "v1", **there)
    assert (tagged.commit, tagged.is_new) == (staged.commit, True)
    with pytest.raises(HubError, match="has a tag v1 already"):
        promote_package("org/staged", before.commit, "v1", **there)


def test_what_is_broken_or_promises_less_is_not_promoted(
    written: Path, local_hub: LocalHub, there: dict[str, str], tmp_path: Path
) -> None:
    release = push_package(written, "org/guarded", **there)
    push_package(lowered(written, tmp_path / "lower"), "org/guarded", revision="staging", **there)
    with pytest.raises(PackageError, match=r"promotion of staging .* has the target 0\.8995"):
        promote_package("org/guarded", "staging", "main", **there)
    local_hub.api.upload_file(
        path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="org/guarded", revision="staging"
    )
    with pytest.raises(VerificationError, match=r"config\.json"):
        promote_package("org/guarded", "staging", "main", **there)
    with pytest.raises(HubError, match="has no such revision"):
        promote_package("org/guarded", "elsewhere", "main", **there)
    assert local_hub.api.model_info("org/guarded").sha == release.commit


def test_a_tag_is_made_once(local_hub: LocalHub, there: dict[str, str], repo_id: str) -> None:
    first = local_hub.api.model_info(repo_id).sha
    local_hub.api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=repo_id)
    tagged = tag_revision(repo_id, "old", revision=first, **there)
    assert (tagged.commit, tagged.is_new) == (first, True)
    assert not tag_revision(repo_id, "old", revision=first, **there).is_new
    with pytest.raises(HubError, match="has a tag old already"):
        tag_revision(repo_id, "old", **there)
    with pytest.raises(HubError, match="has no such revision"):
        tag_revision(repo_id, "new", revision="nowhere", **there)


def test_a_deprecated_package_names_its_successor_and_still_verifies(
    written: Path, local_hub: LocalHub, there: dict[str, str], tmp_path: Path, repo_id: str
) -> None:
    published = push_package(written, "org/deprecated", **there)
    done = deprecate_repository("org/deprecated", repo_id, note=HOSTILE, **there)
    assert done.is_new
    assert not deprecate_repository("org/deprecated", repo_id, note=HOSTILE, **there).is_new
    pulled = pull_package("org/deprecated", tmp_path / "pulled", endpoint=local_hub.url)  # verifies
    assert pulled.commit == done.commit
    info = local_hub.api.model_info("org/deprecated")
    assert info.card_data is not None
    assert info.card_data.get("new_version") == repo_id
    with pytest.raises(PackageError, match=rf"deprecated, '{repo_id}' has taken its place"):
        push_package(written, "org/deprecated", **there)
    undone = deprecate_repository("org/deprecated", None, **there)
    assert stored_files(local_hub.api, "org/deprecated", undone.commit) == stored_files(
        local_hub.api, "org/deprecated", published.commit
    )
    assert not deprecate_repository("org/deprecated", None, **there).is_new


def test_a_successor_must_be_another_repository_that_is_there(there: dict[str, str], repo_id: str) -> None:
    with pytest.raises(HubError, match="its own successor"):
        deprecate_repository(repo_id, repo_id, **there)
    with pytest.raises(HubError, match="has no org/nowhere: publish it first"):
        deprecate_repository(repo_id, "org/nowhere", **there)
    with pytest.raises(HubError, match="deprecation of"):
        deprecate_repository(repo_id, "not/a/name", **there)
    with pytest.raises(HubError, match=r"it has no README\.md"):
        deprecate_repository(repo_id, None, **there)


@pytest.mark.parametrize(
    "card",
    [
        "---\nlicense: mit\n---\n\n# Name\n",
        "---\nlicense: mit\n---\n# Name",
        "# Only text\n---\nno: metadata\n---\n",
        "",
        "---\r\nlicense: mit\r\n---\r\n# Windows\r\n",
        "---\n---\n\nempty",
    ],
)
def test_a_note_is_text_and_undoing_gives_the_very_card_back(card: str) -> None:
    deprecated = deprecated_card(card, "org/next", HOSTILE)
    assert deprecated_card(deprecated, "org/next", HOSTILE) == deprecated
    assert deprecated_card(card, None) == card
    if card != "---\n---\n\nempty":  # of a block without an entry nothing is worth keeping
        assert deprecated_card(deprecated, None) == card
    parsed = ModelCard(deprecated)
    assert parsed.data.get("new_version") == "org/next"
    assert parsed.data.get("license") == ("mit" if "mit" in card else None)
    first = parsed.text.lstrip().splitlines()[0]
    assert first.startswith("> **Deprecated:** use org/next instead.")
    html = MarkdownIt("commonmark", {"html": True}).render(first)
    assert "<script" not in html
    assert "<a " not in html
    assert "<img" not in html
    assert yaml.safe_load(deprecated.split("---")[1])["new_version"] == "org/next"
