"""A diff of two packages as tables."""

from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from sparsezoo_hub.cli.console import console, say
from sparsezoo_hub.hub.diff import MaskDiff, PackageDiff, ResultDiff, WeightDiff


def show_diff(diff: PackageDiff, references: tuple[str, str]) -> None:
    """Print what differs, the masks and weights one by one; what is the same takes a line.

    Args:
        diff: of the packages.
        references: what the user called them.
    """
    for letter, reference, name, sparsity in zip("AB", references, diff.names, diff.sparsity, strict=True):
        console.print(Text(f"{letter}: {reference} ({name}, sparsity {sparsity:.4f})"), soft_wrap=True)
    if diff.is_same:
        say("every file is the same")
        return
    if diff.architectures[0] != diff.architectures[1]:
        console.print(
            Text(f"different architectures: A is {diff.architectures[0]}; B is {diff.architectures[1]}"),
            soft_wrap=True,
        )
    for line in diff.not_compared:
        console.print(Text(f"not compared: {line}"), soft_wrap=True)
    _show_masks(diff)
    _show_weights(diff.weights)
    _show_results(diff.results)
    _show_recipe(diff.recipe)
    _show_files(diff)


def _show_masks(diff: PackageDiff) -> None:
    if diff.jaccard is None:
        say("masks: none that both have")
        return
    if diff.jaccard == 1.0:
        say(f"masks: the same {len(diff.masks)} in both")
        return
    table = _table("Masks: entries kept", ("in both", "only in A", "only in B", "Jaccard"))
    for each in diff.masks:
        table.add_row(Text(each.name), *_mask_cells(each))
    table.add_row("all together", "", "", "", f"{diff.jaccard:.4f}", style="bold")
    console.print(table)


def _mask_cells(each: MaskDiff) -> tuple[str, ...]:
    counts = (each.kept_in_both, each.kept_in_first, each.kept_in_second)
    return (*(f"{count:,}" for count in counts), f"{each.jaccard:.4f}")


def _show_weights(weights: tuple[WeightDiff, ...]) -> None:
    changed = [each for each in weights if not each.equal]
    say(f"weights: {len(weights) - len(changed)} of {len(weights)} tensors are equal")
    if not changed:
        return
    table = _table("Weights that differ", ("largest", "relative"))
    for each in changed:
        relative = "from zero" if each.relative is None else f"{each.relative:.4g}"
        table.add_row(Text(each.name), f"{each.max_abs:.4g}", relative)
    console.print(table)


def _show_results(results: tuple[ResultDiff, ...]) -> None:
    if not results:
        return
    table = _table("Results", ("A", "B", "B - A"))
    for each in results:
        both = each.first is not None and each.second is not None
        change = f"{(each.second or 0) - (each.first or 0):+.4f}" if both else ""
        table.add_row(Text(each.name), _value(each.first), _value(each.second), change)
    console.print(table)


def _show_recipe(lines: tuple[str, ...]) -> None:
    if lines:
        say("recipe:")
        console.print(Syntax("\n".join(lines), "diff", background_color="default"))
    else:
        say("recipe: the same")


def _show_files(diff: PackageDiff) -> None:
    files = diff.files
    say(f"files: {files.num_same} are the same")
    for names, what in (
        (files.changed, "different"),
        (files.only_in_first, "only in A"),
        (files.only_in_second, "only in B"),
    ):
        if names:
            console.print(Text(f"  {what}: {', '.join(names)}"), soft_wrap=True)


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("name", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _value(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"
