"""``sparsezoo-hub evaluate``."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

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
    onnx: Annotated[
        Literal["onnx", "onnx-int8"] | None,
        typer.Option(help="Judge this ONNX model of the package with ONNX Runtime instead, on a task."),
    ] = None,
    sparse: Annotated[
        bool,
        typer.Option(
            "--sparse", help="Judge the model in the sparse engine instead, in int8 if the package has it."
        ),
    ] = False,
    *,
    revision: Revision = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Measure loss, accuracy and a task's metrics on validation text, or on a task's validation set."""
    from sparsezoo_hub.hub.snapshot import local_folder
    from sparsezoo_hub.packaging.onnx_model import load_onnx_model
    from sparsezoo_hub.training.model_evaluation import evaluate_masked_lm, evaluate_task

    if task is None and data is not None:
        raise typer.BadParameter("--data needs --task NAME, which says how to read it", param_hint="--data")
    if task is not None and text:
        raise typer.BadParameter(
            "--text is for masked LM; a task's data is a --data FOLDER", param_hint="--text"
        )
    if task is None and onnx is not None:
        raise typer.BadParameter("--onnx needs --task NAME, which it is judged on", param_hint="--onnx")
    if sparse and (task is None or onnx is not None):
        raise typer.BadParameter("--sparse needs --task NAME, and no --onnx", param_hint="--sparse")
    folder = local_folder(model, revision=revision, token=token)
    quiet_loading()
    if task is None:
        evaluation = evaluate_masked_lm(folder, text or (), max_length or _MASKED_LM_LENGTH)
    else:
        judged = None if onnx is None else load_onnx_model(folder, onnx)
        if sparse:
            from sparsezoo_hub.runtime import SparseModel

            judged = SparseModel.from_pretrained(folder)
        evaluation = evaluate_task(folder, task, max_length, data, judged)
    form = "sparse" if sparse else onnx
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


def _notices(folder: Path, form: str | None) -> tuple[str, ...]:
    from sparsezoo_hub.packaging.layout import QUANTIZATION

    if form is None and (folder / QUANTIZATION).exists():
        return ("these are the float weights; the package also has int8: --onnx onnx-int8, or --sparse",)
    return ()
