"""The tables of a comparison: models in columns, what is known about them in rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sparsezoo_hub.hub.local_hub.web.facts import ModelFacts
from sparsezoo_hub.hub.local_hub.web.heat_map import sparsity_by_kind
from sparsezoo_hub.hub.local_hub.web.wording import (
    count_words,
    duration_words,
    fraction_words,
    short_words,
    size_words,
    text_line,
)
from sparsezoo_hub.packaging.manifest import Manifest, TaskResult

MOST_KINDS = 40

# A data set, a metric, and the part that was measured on.
ResultKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """A row: what it is about, and its words for each model; None where that is not known."""

    name: str
    cells: tuple[str | None, ...]


def results_of(models: list[ModelFacts]) -> "dict[ResultKey, list[TaskResult | None]]":
    """Return every model's own result wherever any of them has one; what most of them have comes first."""
    results: dict[ResultKey, list[TaskResult | None]] = {}
    for place, model in enumerate(models):
        for result in () if model.manifest is None else model.manifest.measurements.results:
            if result.label is None:
                key = text_line(result.dataset), text_line(result.metric), result.split
                results.setdefault(key, [None] * len(models))[place] = result
    return dict(sorted(results.items(), key=lambda item: sum(each is None for each in item[1])))


def comparison_tables(
    models: list[ModelFacts], results: "dict[ResultKey, list[TaskResult | None]]"
) -> list[tuple[str, list[Row]]]:
    """Return the tables with their titles, without the rows that no model has anything in.

    Args:
        models: the columns.
        results: those of `results_of`.
    """
    tables = [
        ("What it is", _identity(models)),
        ("Pattern", _pattern(models)),
        ("Size", _sizes(models)),
        ("Results", _results(models, results)),
        ("How it was made and checked", _making(models)),
        ("Sparsity by kind of weight", _kinds(models)),
    ]
    known = [(title, [row for row in rows if any(row.cells)]) for title, rows in tables]
    return [(title, rows) for title, rows in known if rows]


def sparsity_words(model: ModelFacts) -> str | None:
    """Return a model's sparsity as counted, None if nothing is known about it."""
    if model.manifest is None:
        return None
    return "dense" if model.manifest.is_dense else fraction_words(model.manifest.sparsity.overall)


def _identity(models: list[ModelFacts]) -> list[Row]:
    return [
        _row("architecture", models, lambda model: model.model_type),
        _row("class", models, lambda model: model.model_class),
        _row("task", models, lambda model: text_line(model.pipeline_tag or "")),
        _packaged("package", models, lambda manifest: text_line(manifest.name)),
        _row("last changed", models, lambda model: model.modified[:10]),
    ]


def _pattern(models: list[ModelFacts]) -> list[Row]:
    def total(manifest: "Manifest", field: str) -> int:
        return sum(getattr(entry, field) for entry in manifest.sparsity.per_component.values())

    def counted(count: "Callable[[Manifest], int]") -> "Callable[[Manifest], str | None]":
        return lambda manifest: None if manifest.is_dense else count_words(count(manifest))

    return [
        _row("sparsity, counted", models, sparsity_words),
        _packaged("sparsity, the recipe's target", models, _target),
        _packaged("pruned weights", models, counted(lambda manifest: total(manifest, "numel"))),
        _packaged("zeros in them", models, counted(lambda manifest: total(manifest, "zeros"))),
        _packaged(
            "kept of them",
            models,
            counted(lambda manifest: max(0, total(manifest, "numel") - total(manifest, "zeros"))),
        ),
        _row("int8", models, lambda model: "yes" if model.is_quantized else "no"),
    ]


def _target(manifest: "Manifest") -> str | None:
    target = manifest.sparsity.target
    return None if target is None else fraction_words(target)


def _sizes(models: list[ModelFacts]) -> list[Row]:
    def weights(model: ModelFacts) -> str | None:
        return None if model.weights_size is None else size_words(model.weights_size)

    def form(name: str) -> Callable[[ModelFacts], str | None]:
        def cell(model: ModelFacts) -> str | None:
            sizes = None if model.manifest is None else model.manifest.measurements.sizes
            size, raw = getattr(sizes, name, None), model.weights_size
            if size is None:
                return None
            # A manifest of any origin may claim any size.
            part = f" ({fraction_words(size / raw)} of the file)" if raw and size <= raw else ""
            return size_words(size) + part

        return cell

    return [
        _row("weights file", models, weights),
        _row("weights, gzip", models, form("gzip")),
        _row("weights, compact", models, form("compact")),
        _row("all files", models, lambda model: size_words(model.total_size)),
    ]


def _results(models: list[ModelFacts], results: "dict[ResultKey, list[TaskResult | None]]") -> list[Row]:
    rows = []
    for (dataset, metric, split), row in results.items():
        name = f"{dataset} {metric}" + ("" if split == "validation" else f", {split}")
        rows.append(
            Row(name, tuple(_result_words(each, row[0] if place else None) for place, each in enumerate(row)))
        )
    return [*rows, _packaged("masked-language-model loss", models, _loss)]


def _result_words(result: "TaskResult | None", first: "TaskResult | None") -> str | None:
    if result is None:
        return None
    words = f"{short_words(result.mean)} ± {short_words(result.std)}"
    return words if first is None else f"{words} ({result.mean - first.mean:+.4g})"


def _loss(manifest: "Manifest") -> str | None:
    loss = manifest.measurements.mlm
    return None if loss is None or loss.student is None else short_words(loss.student)


def _making(models: list[ModelFacts]) -> list[Row]:
    def measured(field: str, words: Callable[[Any], str]) -> "Callable[[Manifest], str | None]":
        def cell(manifest: "Manifest") -> str | None:
            value = getattr(manifest.measurements, field)
            return None if value is None else words(value)

        return cell

    return [
        _packaged("training time", models, measured("train_seconds", duration_words)),
        _packaged("hardware", models, measured("hardware", text_line)),
        _packaged("ONNX against PyTorch, at most", models, measured("onnx_max_abs_diff", short_words)),
    ]


def _kinds(models: list[ModelFacts]) -> list[Row]:
    kinds = [
        {} if model.manifest is None else sparsity_by_kind(model.manifest.sparsity.per_component)
        for model in models
    ]
    names = list(dict.fromkeys(name for each in kinds for name in each))[:MOST_KINDS]
    return [
        Row(name, tuple(fraction_words(each[name]) if name in each else None for each in kinds))
        for name in names
    ]


def _row(name: str, models: list[ModelFacts], cell: Callable[[ModelFacts], str | None]) -> Row:
    return Row(name, tuple(cell(model) for model in models))


def _packaged(name: str, models: list[ModelFacts], cell: "Callable[[Manifest], str | None]") -> Row:
    return _row(name, models, lambda model: None if model.manifest is None else cell(model.manifest))
