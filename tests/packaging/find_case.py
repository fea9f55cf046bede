"""Packages of a few kilobytes with numbers chosen by hand, to be found and compared."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from packaging_case import DENSE_RECIPE, RECIPE
from safetensors.torch import save_file

from sparsezoo_hub.packaging.card_metadata import card_metadata
from sparsezoo_hub.packaging.layout import package_files
from sparsezoo_hub.packaging.manifest import (
    ComponentEntry,
    Manifest,
    Measurements,
    Parents,
    QuantizationEntry,
    SparsityEntry,
    TaskResult,
    WeightSizes,
    hash_file,
    write_manifest,
)

INT8 = QuantizationEntry(
    method="quantization-aware training",
    per_channel=False,
    num_layers=2,
    mean_difference=0.0,
    max_difference=0.0,
    rounding=0.0,
    num_texts=2,
)
CLASSES = {"bert": "Bert", "roberta": "Roberta", "distilbert": "DistilBert"}


def result(
    dataset: str, mean: float, std: float = 0.0, *, metric: str = "accuracy", **more: object
) -> TaskResult:
    seeds = (0, 1, 2) if std else (0,)
    given = {"task": "text-classification", "dataset": dataset, "metric": metric, "mean": mean, "std": std}
    return TaskResult.model_validate({**given, "seeds": seeds, **more})


def write_model(  # noqa: PLR0913 - one argument for each thing that can be looked for
    folder: Path,
    *,
    name: str,
    model_type: str = "bert",
    zeros: tuple[int, int] | None = (90, 90),
    results: Sequence[TaskResult] = (),
    int8: bool = False,
    base_model: str | None = None,
    compact: int = 100,
    width: int = 5,
    card: str = "",
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a package: two weights of 100 entries and an embedding of ten times ``width``.

    ``zeros`` are those of the two weights, None for a dense model; ``files`` are in the place of what would
    be written.
    """
    folder.mkdir(parents=True)
    architecture = f"{CLASSES[model_type]}ForSequenceClassification"
    (folder / "recipe.yaml").write_text(DENSE_RECIPE if zeros is None else RECIPE)
    config = {"model_type": model_type, "architectures": [architecture]}
    (folder / "config.json").write_text(json.dumps(config))
    metadata = card_metadata(
        name=name,
        model_type=model_type,
        architecture=architecture,
        sparse=zeros is not None,
        results=results,
        base_model=base_model,
        license_id=None,
    )
    (folder / "README.md").write_text(f"---\n{metadata.to_yaml()}\n{card}---\n\n# {name}\n")
    tensors = {"a.weight": torch.ones(10, 10), "b.weight": torch.ones(10, 10), "e": torch.ones(10, width)}
    save_file({**tensors, "position_ids": torch.arange(7)}, folder / "model.safetensors")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(bytes(1000))
    if int8:
        (folder / "onnx-int8").mkdir()
        (folder / "onnx-int8" / "model_quantized.onnx").write_bytes(bytes(300))
    for path, content in (files or {}).items():
        (folder / path).write_bytes(content)
    counts = () if zeros is None else zip(("a.weight", "b.weight"), zeros, strict=True)
    manifest = Manifest(
        name=name,
        created=datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        files={path: hash_file(folder / path) for path in package_files(folder)},
        sparsity=SparsityEntry(
            target=None if zeros is None else 0.9,
            overall=0.0 if zeros is None else sum(zeros) / 200,
            per_component={
                name: ComponentEntry(numel=100, zeros=each, sparsity=each / 100) for name, each in counts
            },
        ),
        mask_digest=None if zeros is None else "sha256:" + 64 * "a",
        parents=Parents(backbone=base_model or "something", base_model=base_model),
        measurements=Measurements(
            results=tuple(results),
            sizes=WeightSizes(raw=1500, gzip=700, compact=None if zeros is None else compact),
        ),
        quantization=INT8 if int8 else None,
        versions={"torch": "2.13.0", "transformers": "5.23.0"},
    )
    write_manifest(folder / "manifest.json", manifest)
    return folder


def write_zoo(folder: Path) -> dict[str, Path]:
    """Write a handful of models by the name of their repository: dense, sparse, in int8, and others."""
    measured = [result("sst2", 0.9, 0.01), result("mnli", 0.8), result("sst2", 0.91, 0.004, split="test")]
    return {
        "dense": write_model(
            folder / "dense",
            name="oberta-base",
            model_type="roberta",
            zeros=None,
            results=[result("sst2", 0.94, 0.002), result("mnli", 0.85)],
            card="new_version: org/better\n",
        ),
        "sst2-90": write_model(
            folder / "sst2-90",
            name="sst2-oberta-base-90",
            model_type="roberta",
            results=measured,
            int8=True,
            base_model="org/upstream",
        ),
        "closed": write_model(
            folder / "closed",
            name="oberta-base-95",
            model_type="roberta",
            zeros=(97, 97),
            results=[result("sst2", 0.88, 0.01)],
            compact=60,
        ),
        # A card may have any key; this one is an argument of the client's own parser.
        "large": write_model(
            folder / "large",
            name="mine",
            model_type="distilbert",
            zeros=(80, 84),
            results=[result("own [red]data[/]", 0.7, task="token-classification", metric="f1")],
            width=500,
            card="ignore_metadata_errors: true\n",
        ),
    }
