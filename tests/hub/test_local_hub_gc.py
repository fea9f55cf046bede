import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_hub_case import git
from typer.testing import CliRunner
from upkeep_case import ALONE, REPO, SIDE, fill, large_file, make_old, object_file, snapshot

from sparsezoo_hub.cli.app import app
from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.local_hub.fsck import check_root
from sparsezoo_hub.hub.local_hub.garbage_collection import collect_garbage
from sparsezoo_hub.hub.local_hub.process import running_hub


@pytest.fixture(scope="module")
def garbage_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("garbage") / "hub"
    with running_hub(root) as hub:
        api = fill(root, hub)
        api.delete_branch("org/a", branch="side/line")
        api.delete_repo("org/gone")
    return root


@pytest.fixture
def root_with_garbage(garbage_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(garbage_root, tmp_path / "hub"))


def test_garbage_is_what_no_reference_needs_and_its_bytes_are_told(root_with_garbage: Path) -> None:
    root = root_with_garbage
    make_old(root)
    before = {path for path in root.rglob("*") if path.is_file()}
    told = collect_garbage(root, dry_run=True)
    assert {path for path in root.rglob("*") if path.is_file()} == before
    sizes = {path: path.stat().st_size for path in before}
    collected = collect_garbage(root)
    gone = before - set(root.rglob("*"))
    assert told == collected
    assert {each.path for each in collected.garbage} == gone
    assert collected.bytes == sum(sizes[path] for path in gone)
    # The branch's commit, its tree, its pointer; what it and the deleted repository held alone.
    assert sorted(each.kind for each in collected.garbage) == ["git object"] * 3 + ["large file"] * 2
    assert large_file(root, SIDE) in gone
    assert large_file(root, ALONE) in gone
    report = check_root(root)
    assert (report.problems, report.leftovers, report.large_files) == ([], [], 3)
    assert collect_garbage(root).garbage == []
    git(root / REPO, "fsck", "--strict", "--full")


def test_what_is_younger_than_a_day_stays(root_with_garbage: Path) -> None:
    root = root_with_garbage
    collected = collect_garbage(root)
    # Of the deleted branch commit, tree and pointer, which needs one large file; and the other one.
    assert (collected.garbage, collected.young) == ([], 4)
    make_old(root)
    # The commit alone is young, and keeps what it needs.
    unreachable = git(root / REPO, "fsck", "--unreachable", "--no-reflogs").split()
    os.utime(object_file(root, unreachable[unreachable.index("commit") + 1]))
    collected = collect_garbage(root)
    assert [each.path for each in collected.garbage] == [large_file(root, ALONE)]
    assert collected.young == 1
    assert large_file(root, SIDE).exists()


def test_nothing_is_removed_while_a_server_runs_or_something_is_damaged(root_with_garbage: Path) -> None:
    root = root_with_garbage
    make_old(root)
    with running_hub(root), pytest.raises(HubError, match="is being served: stop the server"):
        collect_garbage(root)
    object_file(root, "main").unlink()
    before = snapshot(root)
    with pytest.raises(HubError, match=r"org/a: object .* is missing; nothing was removed"):
        collect_garbage(root)
    assert {**snapshot(root), "lock": None} == {**before, "lock": None}


def removals(monkeypatch: pytest.MonkeyPatch, most: int) -> Iterator[None]:
    """Let the next removals happen, `most` of them, and end the process, as it were, at the one after."""
    real = os.unlink
    left = most

    def unlink(*arguments: object, **named: object) -> None:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        real(*arguments, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        yield


def test_stopped_after_any_removal_the_hub_is_sound_and_the_rest_goes_next_time(
    root_with_garbage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(root_with_garbage)
    for most in range(6):
        root = Path(shutil.copytree(root_with_garbage, tmp_path / str(most)))
        for _ in removals(monkeypatch, most):
            if most < 5:
                with pytest.raises(KeyboardInterrupt):
                    collect_garbage(root)
            else:
                collect_garbage(root)
        assert check_root(root).problems == []
        # Not even what nothing needs lacks anything.
        git(root / REPO, "fsck", "--strict", "--full")
        assert len(collect_garbage(root).garbage) == 5 - most


def test_the_command_tells_it_in_text_and_json(root_with_garbage: Path) -> None:
    run = CliRunner().invoke
    make_old(root_with_garbage)
    dry = run(app, ["serve", "gc", "--root", str(root_with_garbage), "--dry-run", "--json"])
    assert (dry.exit_code, len(json.loads(dry.stdout)["garbage"])) == (0, 5)
    freed = run(app, ["serve", "gc", "--root", str(root_with_garbage)])
    assert (freed.exit_code, "freed" in freed.stdout) == (0, True)
