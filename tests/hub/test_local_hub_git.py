from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile
from local_hub_case import LocalHub, git

from sparsezoo_hub.hub.local_hub.process import running_hub


def test_git_itself_finds_the_repository_sound_and_tells_the_same_history(
    local_hub: LocalHub, repo_id: str
) -> None:
    api = local_hub.api
    for number in range(3):
        api.upload_file(
            repo_id=repo_id,
            path_or_fileobj=b"%d" % number,
            path_in_repo=f"d{number}/ü {number}.txt",
            commit_message=f"commit {number}",
            commit_description="why\n\nand how" if number else None,
        )
    api.create_branch(repo_id, branch="b/c", revision="main")
    api.create_tag(repo_id, tag="v1", tag_message="first")
    folder = local_hub.git_dir(repo_id)
    assert git(folder, "fsck", "--strict", "--full").strip() == ""
    commits = [(commit.commit_id, commit.title) for commit in api.list_repo_commits(repo_id)]
    assert commits == [
        tuple(line.split(" ", 1)) for line in git(folder, "log", "--format=%H %s").splitlines()
    ]
    entries = api.list_repo_tree(repo_id, recursive=True)
    listed = {entry.path: entry.blob_id for entry in entries if isinstance(entry, RepoFile)}
    names = git(
        folder, "-c", "core.quotePath=false", "ls-tree", "-r", "main", "--format=%(path)\t%(objectname)"
    )
    assert listed == dict(line.split("\t") for line in names.splitlines())
    assert git(folder, "rev-parse", "b/c", "v1^{commit}").split() == [commits[0][0]] * 2


def test_what_a_kill_leaves_locked_is_free_again_after_a_restart(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    folder = root / "models" / "org" / "m.git"
    with running_hub(root) as hub:
        HfApi(endpoint=hub.url, token=hub.token).create_repo("org/m")
    # git hash-object of "hello\n", which is about to be written
    locks = [
        "refs/heads/main.lock",
        "packed-refs.lock",
        "objects/ce/013625030ba8dba906f756967f9e9ca394464a.lock",
    ]
    for lock in locks:
        (folder / lock).parent.mkdir(exist_ok=True)
        (folder / lock).write_bytes(b"half")
    (root / "arriving" / "half").write_bytes(b"half")
    (root / "aside" / "half").mkdir()
    with running_hub(root) as hub:
        api = HfApi(endpoint=hub.url, token=hub.token)
        api.upload_file(repo_id="org/m", path_or_fileobj=b"hello\n", path_in_repo="hello.txt")
        assert api.list_repo_files("org/m") == [".gitattributes", "hello.txt"]
    assert [*folder.rglob("*.lock"), *(root / "arriving").iterdir(), *(root / "aside").iterdir()] == []
