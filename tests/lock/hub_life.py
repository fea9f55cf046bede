"""Publishes locked models, or loads them, in a process of its own. Not collected by pytest.

huggingface_hub reads its endpoint, cache and token once, when it is imported: so each life is a process.

python hub_life.py publish FOLDER             writes FOLDER/published.json
python hub_life.py load CASES.json FOUND.json  [[name, repository, arguments], …] -> {name: what was loaded}
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi
from lock_case import BATCH, OPTIMIZERS, encoder, examples, locked_model, train_plain
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForMaskedLM, PreTrainedModel, Trainer, TrainingArguments

import sparsezoo_hub
from sparsezoo_hub import PatternLock
from sparsezoo_hub.core.masks import mask_digest
from sparsezoo_hub.packaging.mask_file import write_masks

QUERY = "encoder.layer.0.attention.self.query.weight"
Seen = dict[str, Any]


def seen(model: nn.Module) -> Seen:
    """The masks' digest, and the zeros counted without the code under test."""
    zeros = hashlib.sha256()
    for name, weight in sorted(encoder(model).named_parameters()):
        if ".layer." in name and name.endswith(".weight") and weight.ndim == 2:
            zeros.update(name.encode() + (weight.detach() == 0).numpy().tobytes())
    return {
        "is_locked": sparsezoo_hub.is_locked(model),
        "digest": mask_digest(PatternLock.masks(model)),
        "zeros": zeros.hexdigest(),
        "sum": float(sum(weight.double().sum() for weight in model.parameters())),
    }


def trained(model: PreTrainedModel) -> PreTrainedModel:
    train_plain(model, OPTIMIZERS["adamw-foreach"](model.parameters()))
    return model


def sparser(model: PreTrainedModel, row: int) -> PreTrainedModel:
    """Another pattern, so that a model of another revision cannot pass for this one."""
    with PatternLock.editing(model) as masks:
        masks[QUERY] = masks[QUERY].clone()
        masks[QUERY][row] = False
    return model


def publish_revisions(_folder: Path) -> dict[str, Seen]:
    model = trained(locked_model())
    first = model.push_to_hub("org/pushed")
    found = {f"org/pushed@{first.oid}": seen(model)}
    trained(sparser(model, 0)).push_to_hub("org/pushed")
    found["org/pushed"] = seen(model)
    trained(sparser(model, 1)).push_to_hub("org/pushed", revision="sparser")
    found["org/pushed@sparser"] = seen(model)
    model.push_to_hub("org/shards", max_shard_size="10KB")
    return {**found, "org/shards": seen(model)}


def publish_from_trainer(folder: Path) -> dict[str, Seen]:
    model = locked_model()
    arguments = TrainingArguments(
        str(folder / "trainer"),
        hub_model_id="org/trained",
        max_steps=3,
        learning_rate=0.01,
        per_device_train_batch_size=BATCH,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, train_dataset=examples("masked-lm", 3 * BATCH))
    trainer.train()
    trainer.push_to_hub()
    return {"org/trained": seen(model)}


def publish_what_zeros_do_not_tell(folder: Path) -> dict[str, Seen]:
    """A kept weight is exactly zero, so only the mask file tells: at the root, and in a branch's folder."""
    found = {}
    api = HfApi()
    api.create_repo("org/untold")
    api.create_branch("org/untold", branch="side")
    for place, branch, row in (("", "main", 2), ("deep/down", "side", 3)):
        model = sparser(trained(locked_model()), row)
        here = folder / f"untold-{branch}"
        model.save_pretrained(here)  # which keeps kept weights off zero, so that is done to the file
        weights = load_file(here / "model.safetensors")
        weight = weights[f"bert.{QUERY}"].flatten()
        place_of_zero = int((weight != 0).nonzero()[0])
        weight[place_of_zero] = 0
        save_file(weights, here / "model.safetensors", metadata={"format": "pt"})
        with torch.no_grad():
            encoder(model).get_parameter(QUERY).flatten()[place_of_zero] = 0
        write_masks(here / "masks.safetensors", PatternLock.masks(model))
        api.upload_folder(repo_id="org/untold", folder_path=here, path_in_repo=place, revision=branch)
        found[f"org/untold@{branch}:{place}"] = seen(model)
    return found


def publish_in_a_folder(folder: Path) -> dict[str, Seen]:
    """The root of the repository holds another pattern."""
    model = trained(locked_model())
    model.push_to_hub("org/nested")
    trained(sparser(model, 4)).save_pretrained(folder / "inner")
    HfApi().upload_folder(repo_id="org/nested", folder_path=folder / "inner", path_in_repo="students/inner")
    return {"org/nested:students/inner": seen(model)}


PUBLISHERS: tuple[Callable[[Path], dict[str, Seen]], ...] = (
    publish_revisions,
    publish_from_trainer,
    publish_what_zeros_do_not_tell,
    publish_in_a_folder,
)


def publish(folder: str) -> None:
    found: dict[str, Seen] = {}
    for publisher in PUBLISHERS:
        found |= publisher(Path(folder))
    found["loaded in the process that pushed"] = seen(AutoModelForMaskedLM.from_pretrained("org/pushed"))
    Path(folder, "published.json").write_text(json.dumps(found))


def load(cases: str, found: str) -> None:
    outcomes = {name: outcome(repo_id, **rest) for name, repo_id, rest in json.loads(Path(cases).read_text())}
    Path(found).write_text(json.dumps(outcomes))


def outcome(repo_id: str, trusting: bool = False, **arguments: Any) -> Seen:
    try:
        if not trusting:
            return seen(AutoModelForMaskedLM.from_pretrained(repo_id, **arguments))
        with sparsezoo_hub.trusting_zeros():
            return seen(AutoModelForMaskedLM.from_pretrained(repo_id, **arguments))
    except (OSError, ValueError) as error:  # a MaskError is a ValueError
        return {"error": type(error).__name__, "message": str(error)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"publish": publish, "load": load}[sys.argv[1]](*sys.argv[2:])
