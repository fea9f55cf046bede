"""The quickstart's report: one screen, ``report.json`` and ``report.md``."""

import json
from pathlib import Path
from typing import Any

from rich.panel import Panel
from rich.table import Table

from sparsezoo_hub.cli.console import console, human_bytes
from sparsezoo_hub.cli.quickstart.options import REPO_ID
from sparsezoo_hub.cli.quickstart.step_record import StepRecord
from sparsezoo_hub.cli.recipe_package import hardware

PORT = 8800
WAYS = {
    "dense": "dense",
    "upstream_pruned": "pruned upstream, pattern locked",
    "finetune_pruned": "pruned while fine-tuning",
}


def write_report(out: Path, records: list[StepRecord]) -> dict[str, Any]:
    """Write ``report.json`` and ``report.md`` under ``out`` and return the report's content."""
    results = {record.name: record.result for record in records}
    package, transfer = results["package"], results["transfer"]
    measurements = package["measurements"]
    report = {
        "repo_id": REPO_ID,
        "hardware": hardware(),
        "steps": [record.model_dump(exclude={"result"}) for record in records],
        "text": results["text"],
        "backbone": results["backbone"],
        "mlm": {
            "teacher": results["teacher"]["validation_loss"],
            "student": results["pruning"]["validation_loss"],
            "num_predictions": results["pruning"]["num_predictions"],
        },
        "sparsity": package["sparsity"],
        "onnx_max_abs_diff": measurements["onnx_max_abs_diff"],
        "sizes": measurements["sizes"],
        "task": transfer["task"],
        "task_teacher_accuracy": transfer["task_teacher_accuracy"],
        "num_validation": transfer["num_validation"],
        "majority_share": transfer["majority_share"],
        "transfer": transfer["transfer"],
        "zeros_changed": transfer["zeros_changed"],
        "zeros_checked": transfer["zeros_checked"],
        "load": "\n".join(_loading_lines(out)),
    }
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (out / "report.md").write_text(_markdown(report))
    return report


def show_report(report: dict[str, Any], out: Path) -> None:
    """Print the report as one screen."""
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(report):
        facts.add_row(f"[bold]{name}[/]", value)
    accuracy = Table(title=f"{report['task']}: validation accuracy", title_justify="left")
    for column in ("way", "sparsity", "mean", "std", "seeds"):
        accuracy.add_column(column, justify="left" if column == "way" else "right")
    for row in _transfer_rows(report):
        accuracy.add_row(*row)
    console.print(Panel(facts, title="quickstart", expand=False))
    console.print(accuracy)
    console.print("Load it:", style="bold")
    console.print(report["load"], soft_wrap=True, markup=False)
    console.print(
        f"Report: {out / 'report.md'}, {out / 'report.json'}; package: {out / 'package'}", soft_wrap=True
    )


def _facts(report: dict[str, Any]) -> list[tuple[str, str]]:
    sizes, steps = report["sizes"], report["steps"]
    return [
        (
            "masked LM",
            f"validation loss {report['mlm']['teacher']:.3f} dense, {report['mlm']['student']:.3f} pruned "
            f"({report['mlm']['num_predictions']} masked tokens)",
        ),
        (
            "sparsity",
            f"{report['sparsity']['overall']:.4f} over "
            f"{len(report['sparsity']['per_component'])} encoder weights",
        ),
        (
            "lock",
            f"{report['zeros_changed']} of {report['zeros_checked']} locked zeros changed while fine-tuning",
        ),
        ("ONNX", f"max abs difference to PyTorch {report['onnx_max_abs_diff']:.1e}"),
        (
            "weights",
            f"{human_bytes(sizes['raw'])} raw, {human_bytes(sizes['gzip'])} gzip, "
            f"{human_bytes(sizes['compact'])} compact",
        ),
        (
            "took",
            f"{sum(step['seconds'] for step in steps):.0f} s, "
            f"at most {max(step['peak_memory_mb'] for step in steps):.0f} MB ({report['hardware']})",
        ),
    ]


def _transfer_rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = [
        (
            label,
            f"{report['transfer'][way]['sparsity']:.3f}",
            f"{report['transfer'][way]['mean']:.4f}",
            f"{report['transfer'][way]['std']:.4f}",
            str(len(report["transfer"][way]["seeds"])),
        )
        for way, label in WAYS.items()
    ]
    return [*rows, ("always the most frequent label", "", f"{report['majority_share']:.4f}", "", "")]


def _loading_lines(out: Path) -> list[str]:
    return [
        f"sparsezoo-hub serve --root {out / 'hub'} --port {PORT} &",
        f"export HF_ENDPOINT=http://127.0.0.1:{PORT}",
        'python -c "import sparsezoo_hub; from transformers import AutoModelForSequenceClassification as A; '
        f"model = A.from_pretrained('{REPO_ID}'); print(sparsezoo_hub.is_locked(model))\"",
    ]


def _markdown(report: dict[str, Any]) -> str:
    facts = "\n".join(f"- **{name}**: {value}" for name, value in _facts(report))
    accuracy = "\n".join(f"| {' | '.join(row)} |" for row in _transfer_rows(report))
    steps = "\n".join(
        f"| {step['name']} | {step['seconds']} | {step['peak_memory_mb']:.0f} |" for step in report["steps"]
    )
    return f"""# Quickstart report

{facts}

## Transfer to {report["task"]}

Validation accuracy over {report["num_validation"]} examples, mean and standard deviation over seeds, the same
budget and the same task teacher (accuracy {report["task_teacher_accuracy"]:.4f}) for every way. The passages
come from the documentation that is installed with Python; without labels, masked language modelling has seen
them too, unless you gave text of your own.

| way | sparsity | mean | std | seeds |
|---|---|---|---|---|
{accuracy}

## Steps

| step | seconds | peak memory, MB |
|---|---|---|
{steps}

Peak memory is the resident memory of all processes together, sampled; pages that processes share count once
for each.

## Load it

```sh
{report["load"]}
```
"""
