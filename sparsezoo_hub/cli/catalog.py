"""``sparsezoo-hub catalog``."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparsezoo_hub.cli.console import errors, print_json, say
from sparsezoo_hub.cli.options import Endpoint, Json, Token

if TYPE_CHECKING:
    from rich.text import Text

    from sparsezoo_hub.hub.catalogue import Publications, Published
    from sparsezoo_hub.training.paper_models import PaperModel


def catalog(
    owner: Annotated[
        list[str] | None, typer.Option(help="Look at this owner's repositories; repeat. Else at everybody's.")
    ] = None,
    token: Token = None,
    endpoint: Endpoint = None,
    as_json: Json = False,
) -> None:
    """Show the models of the three papers: what each is, and where it is published, if it is."""
    from sparsezoo_hub.cli.found_table import quiet_downloads
    from sparsezoo_hub.hub.catalogue import published_models
    from sparsezoo_hub.training.paper_models import paper_models

    quiet_downloads()
    models = paper_models()
    names = {each.name for each in models} | {task.name for each in models for task in each.on_tasks}
    with errors.status("asking the Hub"):
        publications = published_models(names, owner or (), endpoint=endpoint, token=token)
    if as_json:
        print_json(_document(models, publications))
    else:
        _show(models, publications)


def _document(models: Sequence["PaperModel"], publications: "Publications") -> dict[str, Any]:
    from dataclasses import asdict

    from sparsezoo_hub.training.paper_models import PAPERS

    def published(name: str) -> list[dict[str, Any]]:
        return [asdict(each) for each in publications.by_name.get(name, [])]

    return {
        "papers": {family: asdict(paper) for family, paper in PAPERS.items()},
        "models": [
            {
                **asdict(model),
                "published": published(model.name),
                "on_tasks": [{**asdict(task), "published": published(task.name)} for task in model.on_tasks],
            }
            for model in models
        ],
        "endpoint": publications.asked,
        "left_out": publications.left_out,
    }


def _show(models: Sequence["PaperModel"], publications: "Publications") -> None:
    from sparsezoo_hub.cli.found_table import model_table, plain, print_table, say_left_out
    from sparsezoo_hub.training.paper_models import PAPERS

    words = ("recipe", "architecture", "tasks with a recipe", "published")
    for family, paper in PAPERS.items():
        table = model_table(
            f"{paper.title} ({paper.url}; {paper.tables})",
            "recipe", "architecture", "sparsity", "tasks with a recipe", "published",
            left=words,
        )  # fmt: skip
        for model in models:
            if model.family == family:
                table.add_row(
                    plain(model.recipe, "bold"),
                    plain(f"{model.model_type}, from {model.starts_from}"),
                    "dense" if model.sparsity is None else f"{model.sparsity:g}",
                    plain(", ".join(dict.fromkeys(task.task for task in model.on_tasks)), longest=200),
                    _places(model, publications.by_name),
                )
        print_table(table)
    where = (
        "in the cache (HF_HUB_OFFLINE is set)" if publications.asked is None else f"at {publications.asked}"
    )
    count = sum(map(len, publications.by_name.values()))
    say(f"[dim]{count or 'none'} of them {where}; a model is found by the name of its recipe[/]")
    say_left_out(publications.left_out)


def _places(model: "PaperModel", by_name: Mapping[str, Sequence["Published"]]) -> "Text":
    from rich.text import Text

    from sparsezoo_hub.cli.found_table import plain

    lines = [_place(each, "") for each in by_name.get(model.name, ())]
    for task in model.on_tasks:
        what = f"{task.task} int8" if task.quantized else task.task
        lines += [_place(each, f"{what}: ") for each in by_name.get(task.name, ())]
    return Text("\n").join(lines) if lines else plain("only a recipe", "dim")


def _place(published: "Published", what: str) -> "Text":
    from rich.text import Text

    from sparsezoo_hub.cli.found_table import plain

    words = ["private"] if published.private else []
    words += [] if published.complete else ["not known to be of full size and length"]
    note = f" ({', '.join(words)})" if words else ""
    return Text.assemble(what, plain(published.repo_id, "bold"), (note, "dim"))
