"""``sparsezoo-hub serve fsck`` and ``serve gc``: looking after the folder of a Hub of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from sparsezoo_hub.cli.console import human_bytes, print_json, say
from sparsezoo_hub.cli.options import Json

Root = Annotated[Path, typer.Option(help="Folder that holds the Hub's repositories.")]


def fsck(root: Root, as_json: Json = False) -> None:
    """Check that everything a Hub holds is there and whole; only reads, beside a running server too.

    Exit code 1 if something is missing or broken, with one line for each. What a kill left behind is
    listed as well, and is no damage: `serve gc` removes it.
    """
    from dataclasses import asdict

    from rich.markup import escape

    from sparsezoo_hub.hub.local_hub.fsck import check_root

    report = check_root(root)
    if as_json:
        print_json({"ok": not report.problems, **asdict(report)})
    else:
        for line in report.leftovers:
            say(f"[yellow]leftover[/] {escape(line)}")
        for line in report.problems:
            say(f"[red]problem[/]  {escape(line)}")
        looked_at = (
            f"{report.repositories} repositories, {report.git_objects} git objects, "
            f"{report.large_files} large files ({human_bytes(report.large_bytes)})"
        )
        verdict = f"{len(report.problems)} problems" if report.problems else "all there and whole"
        say(f"{escape(str(root))}: {looked_at}: {verdict}")
    if report.problems:
        raise typer.Exit(1)


def gc(
    root: Root,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what no branch, tag or pull request needs any more; the server must be stopped for it.

    Large files and git objects of the last 24 hours stay: somebody may be about to commit them.
    """
    from rich.markup import escape

    from sparsezoo_hub.hub.local_hub.garbage_collection import collect_garbage

    collected = collect_garbage(root, dry_run=dry_run)
    if as_json:
        removed = [
            {"kind": each.kind, "path": str(each.path.relative_to(root)), "bytes": each.bytes}
            for each in collected.garbage
        ]
        print_json(
            {"dry_run": dry_run, "bytes": collected.bytes, "young": collected.young, "garbage": removed}
        )
        return
    for each in collected.garbage if dry_run else []:
        say(f"{each.kind}: {escape(str(each.path.relative_to(root)))} ({human_bytes(each.bytes)})")
    done = "would free" if dry_run else "freed"
    young = f"; {collected.young} more are younger than 24 hours and stay" if collected.young else ""
    say(
        f"{escape(str(root))}: {done} {human_bytes(collected.bytes)} in {len(collected.garbage)} files{young}"
    )
