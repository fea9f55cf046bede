"""``sparsezoo-hub evaluate``."""

from typing import Annotated

import typer

from sparsezoo_hub.cli.console import print_json, quiet_loading, say
from sparsezoo_hub.cli.options import Json, ModelReference, Revision, TextFiles, Token


def evaluate(
    model: ModelReference,
    task: Annotated[
        str | None, typer.Option(help="A labelled task; without it, masked language modelling on text.")
    ] = None,
    text: TextFiles = None,
    max_length: Annotated[int, typer.Option(min=8, help="Tokens per example.")] = 64,
    revision: Revision = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Measure loss and accuracy on validation text, or on a task's validation set."""
    from dataclasses import asdict

    from sparsezoo_hub.hub.snapshot import local_folder
    from sparsezoo_hub.training.model_evaluation import evaluate_masked_lm, evaluate_task

    folder = local_folder(model, revision=revision, token=token)
    quiet_loading()
    if task is None:
        evaluation = evaluate_masked_lm(folder, text or (), max_length)
    else:
        evaluation = evaluate_task(folder, task, max_length)
    if as_json:
        print_json({"model": model, "task": task or "masked_lm", **asdict(evaluation)})
    else:
        say(
            f"{model}, {task or 'masked LM'}: loss {evaluation.loss:.4f}, accuracy {evaluation.accuracy:.4f} "
            f"over {evaluation.num_predictions} predictions"
        )
