import json
import os
import random
import shutil
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from local_hub_case import git
from typer.testing import CliRunner
from upkeep_case import OLD, REPO, TEXT, TWO_DAYS, fill, large_file, object_file, overwrite, snapshot

from sparsezoo_hub.cli.app import app
from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.local_hub.fsck import check_root
from sparsezoo_hub.hub.local_hub.garbage_collection import collect_garbage
from sparsezoo_hub.hub.local_hub.process import running_hub


@pytest.fixture(scope="module")
def filled_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("filled") / "hub"
    with running_hub(root) as hub:
        fill(root, hub)
    return root


@pytest.fixture
def root(filled_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled_root, tmp_path / "hub"))


def test_a_sound_hub_has_no_problems_and_every_object_was_looked_at(root: Path) -> None:
    before = snapshot(root)
    report = check_root(root)
    assert (report.problems, report.leftovers, report.served) == ([], [], False)
    counted = [
        git(root / f"models/org/{name}.git", "rev-list", "--objects", "--all") for name in ("a", "b", "gone")
    ]
    # rev-list leaves out the annotated tag itself
    assert report.git_objects == sum(len(lines.splitlines()) for lines in counted)
    assert (report.repositories, report.large_files, report.large_bytes) == (3, 5, 4 * 3000 + 3)
    assert snapshot(root) == before


def damage_commit(root: Path) -> None:
    object_file(root, "main").unlink()


def damage_content(root: Path) -> None:
    large_file(root, OLD).write_bytes(OLD[:-1] + b"x")


def damage_visibility(root: Path) -> None:
    config = root / REPO / "config"
    config.write_text(config.read_text().replace("public", "everybody"))


def damage_note(root: Path) -> None:
    path = large_file(root, OLD)
    path.with_name(path.name + ".git-oid").write_text("0" * 40)


def damage_discussion(root: Path) -> None:
    (root / REPO / "discussions").mkdir()
    (root / REPO / "discussions/1.json").write_text("{}")


# What fsck must say, and what was done.
DAMAGES: dict[str, Callable[[Path], object]] = {
    ": deep/er/text.txt) is missing": lambda root: object_file(root, TEXT).unlink(),
    "is damaged: its content has the hash": lambda root: overwrite(
        object_file(root, TEXT), zlib.compress(b"blob 5\0other")
    ),
    "is damaged: ": lambda root: overwrite(object_file(root, "v1:deep/er"), b""),
    "(reference refs/heads/main) is missing": damage_commit,
    "org/a: reference refs/heads/side/line names no object": lambda root: (
        root / REPO / "refs/heads/side/line"
    ).write_text("nothing\n"),
    "org/a: reference HEAD names no object": lambda root: (root / REPO / "HEAD").write_text(
        "ref: refs/heads/x"
    ),
    "org/a: cannot be opened as a git repository": lambda root: shutil.rmtree(root / REPO / "objects"),
    "org/a: its file 'config' does not say when it was created": lambda root: (
        root / REPO / "config"
    ).write_text("[core]\n\tbare = true\n[hub]\n\tvisibility = public\n"),
    "org/a: its file 'config' must say who sees it, got hub.visibility='everybody'": damage_visibility,
    "discussions/1.json": damage_discussion,
    "must hold a token's owner and scope, and does not": lambda root: next(
        (root / "tokens").iterdir()
    ).write_text("{}"),
    ": model.bin) is missing": lambda root: large_file(root, OLD).unlink(),
    "has 2999 bytes, its pointer says 3000": lambda root: large_file(root, OLD).write_bytes(OLD[:-1]),
    "is damaged, its content has the SHA-256": damage_content,
    ".git-oid must hold": damage_note,
}


@pytest.mark.parametrize("expected", DAMAGES)
def test_what_is_missing_or_broken_is_told_in_one_line(root: Path, expected: str) -> None:
    DAMAGES[expected](root)
    problems = check_root(root).problems
    assert any(expected in problem for problem in problems), problems
    assert not any("\n" in problem for problem in problems)


def test_a_flipped_bit_in_any_object_or_large_file_is_found(root: Path) -> None:
    numbers = random.Random(0)  # noqa: S311 - not for secrets
    files = [path for path in root.rglob("objects/??/*") if path.is_file()] + [*root.glob("objects/??/??/*")]
    assert len(files) > 30
    for path in files:
        content = path.read_bytes()
        flipped = bytearray(content)
        flipped[numbers.randrange(len(content))] ^= 1 << numbers.randrange(8)
        overwrite(path, flipped)
        assert check_root(root).problems != [] or unpacks_alike(content, flipped), path
        overwrite(path, content)
    assert check_root(root).problems == []


def unpacks_alike(content: bytes, flipped: bytes) -> bool:
    """Whether the bit is one of the few that zlib leaves unused, as those behind its last symbol."""
    with suppress(zlib.error):
        return zlib.decompress(flipped) == zlib.decompress(content)
    return False


def test_leftovers_of_a_kill_are_listed_and_are_no_problem(root: Path) -> None:
    left = [
        "arriving/half",
        "aside/half/objects",
        "models/org/a.git/refs/heads/main.lock",
        "objects/stray",
        "token.0123456789abcdef",
        "tokens/new.0123456789abcdef",
        "partial/old",
    ]
    for name in left:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"four")
    (root / "partial" / "young").write_bytes(b"young")
    os.utime(root / "partial" / "old", (time.time() - TWO_DAYS, time.time() - TWO_DAYS))
    report = check_root(root)
    assert report.problems == []
    assert sorted(report.leftovers) == sorted(f"{name.removesuffix('/objects')}: 4 bytes" for name in left)
    assert len(collect_garbage(root).garbage) == len(left)
    assert check_root(root).leftovers == []
    assert (root / "partial" / "young").exists()


def test_a_hub_is_checked_beside_its_server(root: Path) -> None:
    with running_hub(root) as hub:
        (root / "arriving" / "under-way").write_bytes(b"half")
        report = check_root(root)
        assert (report.problems, report.leftovers, report.served) == ([], [], True)
        damage_content(root)
        assert len(check_root(root).problems) == 1
        assert HfApi(endpoint=hub.url).repo_exists("org/a")


def test_another_folder_is_refused_and_not_made_one(tmp_path: Path) -> None:
    for use in (check_root, collect_garbage):
        with pytest.raises(HubError, match="is no Hub's folder"):
            use(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []


def test_the_command_tells_it_in_text_and_json_with_exit_codes(root: Path) -> None:
    run = CliRunner().invoke
    checked = run(app, ["serve", "fsck", "--root", str(root), "--json"])
    assert (checked.exit_code, json.loads(checked.stdout)["ok"]) == (0, True)
    damage_content(root)
    checked = run(app, ["serve", "fsck", "--root", str(root)])
    assert checked.exit_code == 1
    assert sum(line.startswith("problem") for line in checked.stdout.splitlines()) == 1
    told = json.loads(run(app, ["serve", "fsck", "--root", str(root), "--json"]).stdout)
    assert (told["ok"], len(told["problems"])) == (False, 1)
