"""``sparsezoo-hub evaluate``."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sparsezoo_hub.cli.console import print_json, quiet_loading, say
from sparsezoo_hub.cli.options import DataFolder, Json, ModelReference, Revision, TextFiles, Token

if TYPE_CHECKING:
    from torch import nn

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
    form: Annotated[
        Literal["onnx", "onnx-int8", "sparse"] | None,
        typer.Option(
            help="Judge this form of the model instead, on a task: an ONNX model of the package with ONNX "
            "Runtime, or the sparse engine: the packed model if there is one, else int8 if it has ranges."
        ),
    ] = None,
    *,
    revision: Revision = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Measure loss, accuracy and a task's metrics on validation text, or on a task's validation set."""
    from sparsezoo_hub.hub.snapshot import local_folder
    from sparsezoo_hub.training.model_evaluation import evaluate_masked_lm, evaluate_task

    if task is None and data is not None:
        raise typer.BadParameter("--data needs --task NAME, which says how to read it", param_hint="--data")
    if task is not None and text:
        raise typer.BadParameter(
            "--text is for masked LM; a task's data is a --data FOLDER", param_hint="--text"
        )
    if task is None and form is not None:
        raise typer.BadParameter("--form needs --task NAME, which it is judged on", param_hint="--form")
    folder = local_folder(model, revision=revision, token=token)
    quiet_loading()
    if task is None:
        evaluation = evaluate_masked_lm(folder, text or (), max_length or _MASKED_LM_LENGTH)
    else:
        judged = None if form is None else _model_in(folder, form)
        evaluation = evaluate_task(folder, task, max_length, data, judged)
    evaluation = replace(evaluation, notices=(*evaluation.notices, *_notices(folder, form)))
    if as_json:
        judged_form = {} if form is None else {"form": form}
        print_json({"model": model, "task": task or "masked_lm", **judged_form, **asdict(evaluation)})
        return
    say(
        f"{model}{f', {form}' if form else ''}, {task or 'masked LM'}: loss {evaluation.loss:.4f}, accuracy "
        f"{evaluation.accuracy:.4f} over {evaluation.num_predictions} predictions"
    )
    for name, value in evaluation.metrics.items():
        say(f"{name} {100 * value:.2f} %{' (main)' if name == evaluation.metric else ''}")
    for notice in evaluation.notices:
        say(f"note: {notice}")


def _model_in(folder: Path, form: str) -> "nn.Module":
    from sparsezoo_hub.packaging.onnx_model import load_onnx_model
    from sparsezoo_hub.runtime import SparseModel

    return SparseModel.from_pretrained(folder) if form == "sparse" else load_onnx_model(folder, form)


def _notices(folder: Path, form: str | None) -> tuple[str, ...]:
    from sparsezoo_hub.packaging.layout import QUANTIZATION

    if form is None and (folder / QUANTIZATION).exists():
        return ("these are the float weights; the package also has int8: --form onnx-int8 or sparse",)
    return ()
