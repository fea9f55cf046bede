"""A comparison of models as one table: a column for each model, what differs from the first one beside it."""

from rich.markup import escape
from rich.text import Text

from sparsezoo_hub.cli.console import say
from sparsezoo_hub.cli.found_table import NOTHING, model_table, plain, print_table, result_words, size_cell
from sparsezoo_hub.hub.comparison import Compared, Comparison, Measure

_SAME = 5e-5  # what four decimals do not show


def show_comparison(comparison: Comparison) -> None:
    """Print the models side by side, and say which have no result in common with the first."""
    models = comparison.models
    table = model_table("", "", *(f"column {index}" for index, _ in enumerate(models)), left=("",))
    for column, model in zip(table.columns[1:], models, strict=True):
        column.header = plain(model.facts.name, "bold")
        column.overflow, column.no_wrap = "fold", False
    for name, cells in _rows(models):
        table.add_row(name, *cells)
    table.add_section()
    for measure in comparison.measures:
        table.add_row(_measure_name(measure), *(_result(comparison, each, measure) for each in models))
    print_table(table)
    first = models[0].facts.name
    if not comparison.common_measures:
        say("[dim]these models have no task in common: there are no results to compare[/]")
    else:
        for name in comparison.apart:
            say(
                f"[dim]{escape(plain(name).plain)} has no task in common with {escape(plain(first).plain)}[/]"
            )
    say("[dim]compact: kept values and mask bits; in brackets: the difference to the first model[/]")


def _rows(models: tuple[Compared, ...]) -> list[tuple[str, list[Text | str]]]:
    facts = [each.facts for each in models]
    return [
        ("architecture", [plain(each.architecture) for each in facts]),
        (
            "sparsity",
            [
                "dense" if each.manifest.is_dense else f"{each.manifest.sparsity.overall:.4f}"
                for each in facts
            ],
        ),
        ("target", [_number(each.manifest.sparsity.target) for each in facts]),
        ("parameters", [_count(each.parameters) for each in models]),
        ("not pruned away", [_count(each.num_kept) for each in models]),
        ("weights file", [size_cell(each.sizes["weights"]) for each in facts]),
        ("compact", [size_cell(each.sizes["compact"]) for each in facts]),
        ("gzip", [size_cell(each.sizes["gzip"]) for each in facts]),
        ("ONNX", [size_cell(each.sizes["onnx"]) for each in facts]),
        ("ONNX int8", [size_cell(each.sizes["int8"]) for each in facts]),
    ]


def _result(comparison: Comparison, model: Compared, measure: Measure) -> str:
    result = model.results.get(measure)
    if result is None:
        return NOTHING
    difference = comparison.difference(model, measure)
    if difference is None:
        return result_words(result)
    return f"{result_words(result)} ({'=' if abs(difference) < _SAME else f'{difference:+.4f}'})"


def _measure_name(measure: Measure) -> Text:
    return plain(f"{measure.dataset} {measure.metric.replace('_', ' ')}, {measure.split}")


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:g}"


def _count(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"
