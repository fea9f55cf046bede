"""``sparsezoo-hub transfer``."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsezoo_hub.cli.console import print_json, quiet_loading, say
from sparsezoo_hub.cli.options import Bf16, DataFolder, Json, MaxSteps, ModelReference
from sparsezoo_hub.training.stop_signals import interruptible

if TYPE_CHECKING:
    from sparsezoo_hub.training.transfer import Transferred

_REPEAT = "repeat to search over several"


@interruptible()
def transfer(  # noqa: PLR0913 - one option for each thing that can be chosen
    model: ModelReference,
    task: Annotated[
        str,
        typer.Argument(
            help="A task of the papers, or text-classification, token-classification or question-answering "
            "for your own data."
        ),
    ],
    *,
    data: DataFolder = None,
    teacher: Annotated[
        str | None, typer.Option(help="A dense model: fine-tuned on the task first, it teaches.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many models, with seeds 0, 1, 2, ...")] = 3,
    learning_rate: Annotated[list[float] | None, typer.Option(help=f"Peak; {_REPEAT}.")] = None,
    weight_decay: Annotated[list[float] | None, typer.Option(help=f"{_REPEAT.capitalize()}.")] = None,
    epochs: Annotated[list[float] | None, typer.Option(help=f"{_REPEAT.capitalize()}.")] = None,
    grid: Annotated[
        str | None, typer.Option(help="Search over a paper's grid: prune-ofa (table 6) or oberta (table 23).")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Try only so many points of the grid, drawn at random.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    max_length: Annotated[int | None, typer.Option(min=8, help="Tokens.")] = None,
    freeze_embeddings: Annotated[bool, typer.Option("--freeze-embeddings")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantization-aware training afterwards, and an int8 ONNX model.")
    ] = False,
    fraction: Annotated[float, typer.Option(help="Share of the training examples that is used.")] = 1.0,
    field: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FIELD", help="What your files call a field; repeat.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Names of the labels, in the files' order.")
    ] = None,
    positive: Annotated[str | None, typer.Option(metavar="A,B,...", help="Labels that F1 counts.")] = None,
    metric: Annotated[str | None, typer.Option(help="The main metric, by which is chosen.")] = None,
    max_steps: MaxSteps = None,
    bf16: Bf16 = False,
    out: Annotated[Path | None, typer.Option(help="The folder; runs/MODEL-TASK without it.")] = None,
    as_json: Json = False,
) -> None:
    """Fine-tune a model on a task, its pattern locked: choose on validation, repeat, test once, package."""
    from sparsezoo_hub.cli.progress_display import ProgressDisplay
    from sparsezoo_hub.cli.recipe_package import model_name, package_run
    from sparsezoo_hub.core.names import check_choice, slug
    from sparsezoo_hub.core.objective_settings import TaskSettings
    from sparsezoo_hub.core.search_grids import GRIDS, Grid
    from sparsezoo_hub.errors import RecipeError
    from sparsezoo_hub.training.run_options import RunOptions
    from sparsezoo_hub.training.tasks import find_task
    from sparsezoo_hub.training.transfer import TransferSettings
    from sparsezoo_hub.training.transfer import transfer as run_transfer

    quiet_loading()
    try:
        kind = find_task(task).kind
        papers: Grid = {}
        if grid is not None:
            by_kind = GRIDS[check_choice(grid, GRIDS, "grid")]
            papers = by_kind[check_choice(kind, by_kind, f"kind of task of the grid {grid}")]
    except ValueError as error:
        raise RecipeError(str(error)) from None
    given = {"learning_rate": learning_rate, "weight_decay": weight_decay, "epochs": epochs}
    settings = TransferSettings(
        model=model,
        task=task,
        teacher=teacher,
        grid={**papers, **{name: tuple(values) for name, values in given.items() if values}},
        trials=trials,
        batch_size=batch_size,
        max_length=max_length,
        seeds=tuple(range(seeds)),
        freeze_embeddings=freeze_embeddings,
        quantize=int8,
        fraction=fraction,
        own=TaskSettings(
            fields=_fields(field), labels=_listed(labels), positive=_listed(positive), metric=metric
        ),
        name=model_name(model),
    )
    folder = out or Path("runs") / slug(f"{Path(settings.name or model).name}-{task}")
    with ProgressDisplay() as display:
        done = run_transfer(settings, folder, data, RunOptions(max_steps=max_steps, bf16=bf16), display)
    manifest = package_run(done.run, done.results, folder / "package", tests=done.test)
    if as_json:
        print_json(
            {
                "package": str(folder / "package"),
                "trials": [{"score": each.score, **each.point} for each in done.trials],
                "results": {
                    name: [each.model_dump() for each in runs] for name, runs in done.results.items()
                },
                "test": [each.model_dump() for each in done.test],
                "manifest": manifest.model_dump(mode="json"),
            }
        )
        return
    _show(done)
    pattern = "dense" if manifest.is_dense else f"sparsity {manifest.sparsity.overall:.4f}"
    say(f"package: {folder / 'package'}, {pattern}")


def _show(done: "Transferred") -> None:
    if len(done.trials) > 1:
        say(f"search, seed {done.results['transfer'][0].seed}, the best one first:")
        for trial in done.trials:
            say(f"  {trial.label}: {100 * trial.score:.2f} % on validation")
    for name, results in done.results.items():
        say(f"{name}: {_spread([each.score for each in results])} on validation")
    for metric in done.test[0].metrics if done.test else ():
        say(f"test set: {metric.replace('_', ' ')} {_spread([each.metrics[metric] for each in done.test])}")


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{100 * values[0]:.2f} % (one seed)"
    return (
        f"{100 * statistics.fmean(values):.2f} ± {100 * statistics.stdev(values):.2f} % ({len(values)} seeds)"
    )


def _fields(pairs: Sequence[str] | None) -> dict[str, str]:
    found = {}
    for pair in pairs or ():
        name, equals, field = pair.partition("=")
        if not equals or not name or not field:
            raise typer.BadParameter(f"must be NAME=FIELD, for example text=review; got {pair!r}")
        found[name] = field
    return found


def _listed(names: str | None) -> tuple[str, ...]:
    return tuple(each.strip() for each in names.split(",")) if names else ()
