"""``sparsezoo-hub evaluate``."""

from typing import Annotated

import typer

from sparsezoo_hub.cli.console import print_json, quiet_loading, say
from sparsezoo_hub.cli.options import DataFolder, Json, ModelReference, Revision, TextFiles, Token

_MASKED_LM_LENGTH = 64


def evaluate(
    model: ModelReference,
    task: Annotated[
        str | None, typer.Option(help="A labelled task; without it, masked language modelling on text.")
    ] = None,
    text: TextFiles = None,
    data: DataFolder = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            min=8, help=f"Tokens per example; else the task's own, or {_MASKED_LM_LENGTH} for masked LM."
        ),
    ] = None,
    revision: Revision = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Measure loss, accuracy and a task's metrics on validation text, or on a task's validation set."""
    from dataclasses import asdict

    from sparsezoo_hub.hub.snapshot import local_folder
    from sparsezoo_hub.training.model_evaluation import evaluate_masked_lm, evaluate_task

    if task is None and data is not None:
        raise typer.BadParameter("--data needs --task NAME, which says how to read it", param_hint="--data")
    if task is not None and text:
        raise typer.BadParameter(
            "--text is for masked LM; a task's data is a --data FOLDER", param_hint="--text"
        )
    folder = local_folder(model, revision=revision, token=token)
    quiet_loading()
    if task is None:
        evaluation = evaluate_masked_lm(folder, text or (), max_length or _MASKED_LM_LENGTH)
    else:
        evaluation = evaluate_task(folder, task, max_length, data)
    if as_json:
        print_json({"model": model, "task": task or "masked_lm", **asdict(evaluation)})
        return
    say(
        f"{model}, {task or 'masked LM'}: loss {evaluation.loss:.4f}, accuracy {evaluation.accuracy:.4f} "
        f"over {evaluation.num_predictions} predictions"
    )
    for name, value in evaluation.metrics.items():
        say(f"{name} {100 * value:.2f} %{' (main)' if name == evaluation.metric else ''}")
    for notice in evaluation.notices:
        say(f"note: {notice}")
