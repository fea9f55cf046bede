"""``sparsezoo-hub mirror``."""

from typing import Annotated

import typer

from sparsezoo_hub.cli.console import errors, print_json, say
from sparsezoo_hub.cli.options import Json


def mirror(
    source: Annotated[str, typer.Argument(metavar="SOURCE_ENDPOINT", help="Address of the Hub to read.")],
    dest: Annotated[str, typer.Argument(metavar="DEST_ENDPOINT", help="Address of the Hub to write to.")],
    repos: Annotated[
        list[str] | None, typer.Argument(metavar="[REPO]...", help="owner/name; any number of them.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="All models of this owner instead.")] = None,
    source_token: Annotated[
        str | None, typer.Option(help="For private repositories; HF_TOKEN counts at HF_ENDPOINT only.")
    ] = None,
    dest_token: Annotated[
        str | None, typer.Option(help="With write access; HF_TOKEN counts at HF_ENDPOINT only.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy branches and tags of repositories to another Hub, sending only what is not there.

    The history before, pull requests and discussions stay where they are.
    """
    from dataclasses import asdict

    from sparsezoo_hub.errors import SparseZooError
    from sparsezoo_hub.hub.mirror import (
        NOT_MIRRORED,
        Mirrored,
        mirror_ends,
        mirror_repository,
        mirrored_repositories,
    )

    if bool(repos) == (owner is not None):
        raise typer.BadParameter("name repositories, or give --owner", param_hint="REPO")
    ends = mirror_ends(source, dest, source_token, dest_token)
    names = repos or mirrored_repositories(ends[0], owner or "")
    done: list[Mirrored] = []

    def report(one: Mirrored) -> None:
        done.append(one)
        if not as_json:
            sent = f"{one.num_sent} files sent" if one.num_sent else "there already"
            say(f"{one.repo_id}: {one.kind} {one.name} at {one.commit[:12]}, {sent}")

    failed: dict[str, str] = {}
    for name in names:
        try:
            mirror_repository(*ends, name, report)
        except SparseZooError as error:  # the others need not wait for this one
            failed[name] = str(error)
            errors.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
    if as_json:
        print_json(
            {"mirrored": [asdict(one) for one in done], "failed": failed, "not_mirrored": list(NOT_MIRRORED)}
        )
    else:
        num_done = len(names) - len(failed)
        say(f"{num_done} of {len(names)} repositories mirrored, without {', '.join(NOT_MIRRORED)}")
    if failed:
        raise typer.Exit(1)
