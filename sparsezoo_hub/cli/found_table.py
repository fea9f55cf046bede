"""Models that were found, as one table, and what tables of models have in common."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparsezoo_hub.cli.console import console, errors, human_bytes, print_json, say

if TYPE_CHECKING:
    from sparsezoo_hub.hub.search import Found, Wanted
    from sparsezoo_hub.packaging.manifest import TaskResult

NOTHING = "–"  # noqa: RUF001 - a dash as typesetters use it for an empty cell
_ANY_WIDTH = 1000
_LONGEST = 80
_ALL_COLUMNS = 130  # a terminal that is narrower would break every text
_NUM_RESULTS = 3


def find(wanted: "Wanted", limit: int, endpoint: str | None, token: str | None, as_json: bool) -> None:
    """Search, and print what was found as JSON or as a table."""
    from sparsezoo_hub.hub.search import search_models

    quiet_downloads()
    with errors.status("asking the Hub"):
        found = search_models(wanted, endpoint=endpoint, token=token, limit=limit)
    if as_json:
        print_json(
            {
                "models": [{**hit.facts.to_dict(), "private": hit.private} for hit in found.hits],
                "left_out": found.left_out,
                "more": found.more,
                "endpoint": found.asked,
            }
        )
        return
    if found.hits:
        print_table(_table(found, stacked=console.is_terminal and console.width < _ALL_COLUMNS))
    _say_notes(found, limit)


def quiet_downloads() -> None:
    """Hide the client's bar for every file that it fetches: these are many, and small."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined] # public, not in __all__
        disable_progress_bars,
    )

    disable_progress_bars()


def print_table(table: Table) -> None:
    """Print a table; where no terminal limits it, as wide as it must be."""
    # Lines that were folded for a terminal of 80 columns are of no use to grep and less.
    (console if console.is_terminal else Console(highlight=False, width=_ANY_WIDTH)).print(table)


def model_table(title: str, *columns: str, left: Sequence[str] = ()) -> Table:
    """Return an empty table; numbers are at the right, columns named in ``left`` are not."""
    table = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(
            column,
            justify="left" if column in left else "right",
            overflow="fold",
            no_wrap=column not in left,
        )
    return table


def plain(value: object, style: str = "", longest: int = _LONGEST) -> Text:
    """Return somebody else's text for a cell: one line without markup, not too long; a dash for None."""
    from sparsezoo_hub.packaging.markdown import one_line

    text = NOTHING if value is None else one_line(value)
    return Text(text if len(text) <= longest else f"{text[: longest - 1]}…", style=style)


def size_cell(size: int | None) -> str:
    """Return a size in words, a dash for None."""
    return NOTHING if size is None else human_bytes(size)


def result_words(result: "TaskResult") -> str:
    """Return ``0.8125 ± 0.0125``, without a deviation for a single seed."""
    return f"{result.mean:.4f}" + (f" ± {result.std:.4f}" if len(result.seeds) > 1 else "")


def say_left_out(left_out: dict[str, int]) -> None:
    """Say how many repositories are not shown, and why."""
    for reason, count in left_out.items():
        say(f"[dim]left out: {count} {'repository' if count == 1 else 'repositories'} {reason}[/]")


def _table(found: "Found", *, stacked: bool) -> Table:
    """Return the models as a table; stacked, what is text stands below their names, to be narrower."""
    texts = () if stacked else ("architecture", "results")
    numbers = ("sparsity", "target", "size", "int8", "packaged")
    table = model_table("", "model", *texts, *numbers, left=("model", *texts))
    table.leading = 1 if stacked else 0
    for hit in found.hits:
        facts, manifest = hit.facts, hit.facts.manifest
        name = plain(facts.name, "bold")
        if hit.private:
            name.append(" private", "dim")
        below = [_superseded(facts.successor)] if facts.successor is not None else []
        architecture, results = plain(facts.model_type), _results_cell(facts.results)
        if stacked:
            below += [architecture, results]
        target = manifest.sparsity.target
        table.add_row(
            Text("\n").join([name, *below]),
            *(() if stacked else (architecture, results)),
            "dense" if manifest.is_dense else f"{manifest.sparsity.overall:.4f}",
            NOTHING if target is None else f"{target:g}",
            size_cell(facts.sizes["weights"]),
            size_cell(facts.sizes["int8"]),
            f"{manifest.created:%Y-%m-%d}",
        )
    return table


def _superseded(successor: str) -> Text:
    return Text.assemble(("superseded by ", "dim"), plain(successor, "dim"))


def _results_cell(results: Sequence["TaskResult"]) -> Text:
    """Return the means of the first results; one on a test set stands for others of the same data set."""
    tested = {(each.dataset, each.metric) for each in results if each.split == "test"}
    shown = [each for each in results if each.split == "test" or (each.dataset, each.metric) not in tested]
    lines = [
        Text.assemble(
            plain(f"{each.dataset} {each.metric.replace('_', ' ')}"),
            f" {each.mean:.4f}",
            (" test" if each.split == "test" else "", "dim"),
        )
        for each in shown[:_NUM_RESULTS]
    ]
    if len(shown) > _NUM_RESULTS:
        lines.append(Text(f"and {len(shown) - _NUM_RESULTS} more", style="dim"))
    return Text("\n").join(lines) if lines else Text(NOTHING)


def _say_notes(found: "Found", limit: int) -> None:
    where = "in the cache (HF_HUB_OFFLINE is set)" if found.asked is None else f"at {found.asked}"
    count = len(found.hits)
    say(f"[dim]{count or 'no'} model{'' if count == 1 else 's'} {where}[/]")
    if found.more:
        say(f"[dim]there are more: --limit shows more than {limit}[/]")
    say_left_out(found.left_out)
