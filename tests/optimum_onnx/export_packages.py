"""Small packages, PyTorch's outputs on padded batches, and a Hub with one of them, while a command runs.

``python export_packages.py COMMAND...`` with ``tests/packaging`` on the path. The command belongs to another
environment, which has optimum and not this package. It finds the packages in the folder that
OPTIMUM_PACKAGES names, what is in them in its ``exports.json``, and the Hub at HF_ENDPOINT.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import transformers
from packaging_case import RECIPE, TEXTS, magnitude_masks, tiny_contents
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.core.quantization_names import CALIBRATED
from sparsezoo_hub.core.recipe_text import parse_recipe
from sparsezoo_hub.hub.local_hub.process import running_hub
from sparsezoo_hub.hub.push import push_package
from sparsezoo_hub.packaging.calibration import calibrate
from sparsezoo_hub.packaging.layout import ONNX_INT8_FOLDER, ONNX_INT8_MODEL
from sparsezoo_hub.packaging.onnx_export import tokenized_batches
from sparsezoo_hub.packaging.onnx_model import load_onnx_model
from sparsezoo_hub.packaging.package import PackageContents, write_package
from sparsezoo_hub.packaging.quantization_file import FoundRanges
from sparsezoo_hub.training.byte_level_bpe import train_byte_level_bpe
from sparsezoo_hub.training.corpora import Document
from sparsezoo_hub.training.wordpiece import train_wordpiece

ROOT = Path(__file__).parents[2]
LENGTH = 64
VOCABULARY = 400

# Weights so large that a wrong one shows in the outputs.
_USUAL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "initializer_range": 0.2,
}
CONFIGS: dict[str, dict[str, float]] = {
    "bert": {**_USUAL, "max_position_embeddings": LENGTH},
    # Its positions begin after two others.
    "roberta": {**_USUAL, "max_position_embeddings": LENGTH + 2, "type_vocab_size": 1},
    "distilbert": {
        "dim": 32,
        "hidden_dim": 48,
        "n_heads": 2,
        "n_layers": 2,
        "initializer_range": 0.2,
        "max_position_embeddings": LENGTH,
    },
}
OBJECTIVES = {
    "QuestionAnswering": "question_answering",
    "SequenceClassification": "sequence_classification",
    "TokenClassification": "token_classification",
    "MaskedLM": "masked_lm",
}
NUM_LABELS = {"SequenceClassification": 4, "TokenClassification": 5}

BATCHES: dict[str, list[str] | list[tuple[str, str]]] = {
    "texts": [TEXTS[2], TEXTS[1], TEXTS[0]],
    "pairs": [("Who barks?", TEXTS[1]), (TEXTS[2], TEXTS[2])],
}


@dataclass(frozen=True)
class Export:
    """An ONNX file of a package, loaded by ``ORTModelFor{head}``, and how close to PyTorch it has to be."""

    model_type: str
    head: str
    subfolder: str = "onnx"
    file_name: str = "model.onnx"
    tolerance: float = 1e-3

    @property
    def package(self) -> str:
        return f"{self.model_type}-{self.head}"


PUBLISHED = "bert-SequenceClassification"
EXPORTS = [
    *(Export(model_type, head) for model_type in CONFIGS for head in OBJECTIVES),
    # Beside the float one, for which optimum must not mistake it.
    Export("bert", "SequenceClassification", ONNX_INT8_FOLDER, Path(ONNX_INT8_MODEL).name),
]


def tokenizer_for(model_type: str) -> PreTrainedTokenizerBase:
    documents = [Document(path.name, path.read_text(encoding="utf-8")) for path in [ROOT / "README.md"]]
    train = train_byte_level_bpe if model_type == "roberta" else train_wordpiece
    return train(documents, VOCABULARY, LENGTH)


def locked_model(model_type: str, head: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    labels = {"num_labels": NUM_LABELS[head]} if head in NUM_LABELS else {}
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    config = AutoConfig.for_model(
        model_type, **CONFIGS[model_type], **labels, **special, vocab_size=len(tokenizer)
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"AutoModelFor{head}").from_config(config).eval()
    PatternLock.prune(model, magnitude_masks(model))
    return model


def write(folder: Path, export: Export) -> None:
    """Write the package that has the export, and beside it ``.npz``: inputs and PyTorch's outputs."""
    tokenizer = tokenizer_for(export.model_type)
    contents: PackageContents = replace(
        tiny_contents(),
        model=locked_model(export.model_type, export.head, tokenizer),
        tokenizer=tokenizer,
        recipe=parse_recipe(
            RECIPE.replace("kind: masked_lm}", f"kind: {OBJECTIVES[export.head]}}}"), "recipe.yaml"
        ),
        repo_id=f"org/{export.package}",
    )
    if export.package == PUBLISHED:
        batches = tokenized_batches(contents.model, tokenizer, TEXTS)
        contents = replace(contents, quantization=FoundRanges(calibrate(contents.model, batches), CALIBRATED))
    write_package(folder / export.package, contents)
    arrays: dict[str, np.ndarray] = {}
    for batch, texts in BATCHES.items():
        inputs = tokenizer(texts, padding=True, return_tensors="pt")
        with torch.no_grad():
            outputs = contents.model(**inputs)
        arrays |= {f"{batch}/inputs/{name}": value.numpy() for name, value in inputs.items()}
        arrays |= {f"{batch}/outputs/{name}": value.numpy() for name, value in outputs.items()}
        if contents.quantization is not None:
            int8 = load_onnx_model(folder / export.package, ONNX_INT8_FOLDER)(**inputs)
            arrays |= {f"{batch}/int8/{name}": value.numpy() for name, value in int8.items()}
    np.savez(folder / f"{export.package}.npz", **arrays)


def write_all(folder: Path, exports: Iterable[Export]) -> None:
    for export in {each.package: each for each in exports}.values():
        write(folder, export)
    described = {
        "exports": [{**asdict(export), "package": export.package} for export in exports],
        "batches": BATCHES,
        "published": f"org/{PUBLISHED}",
    }
    (folder / "exports.json").write_text(json.dumps(described), encoding="utf-8")


def main(command: list[str]) -> int:
    torch.set_num_threads(1)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary, "packages")
        folder.mkdir()
        write_all(folder, EXPORTS)
        with running_hub(Path(temporary, "hub")) as hub:
            push_package(folder / PUBLISHED, f"org/{PUBLISHED}", endpoint=hub.url, token=hub.token)
            places = {
                "OPTIMUM_PACKAGES": str(folder),
                "HF_ENDPOINT": hub.url,
                "HF_HOME": str(Path(temporary, "home")),
            }
            return subprocess.run(command, env={**os.environ, **places}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
