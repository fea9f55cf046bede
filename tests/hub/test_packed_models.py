"""Packed models on a Hub: what is fetched, and of which revision."""

import json
import sys
from pathlib import Path

import torch
from local_hub_case import LocalHub, run_client
from transformers import BertConfig, BertModel

from sparsezoo_hub.runtime import SparseModel

SCRIPT = """
import json, sys
from pathlib import Path
import sparsezoo_hub
import torch
from transformers.exporters import ExportedModel
from sparsezoo_hub.runtime import SparseModel

repo_id, cache = sys.argv[1], Path(sys.argv[2])
ids = {"input_ids": torch.arange(9)[None]}

def files():
    return sorted({path.name for path in cache.rglob("snapshots/*/**/*") if not path.is_dir()})

def output(**options):
    with torch.no_grad():
        return SparseModel.from_pretrained(repo_id, cache_dir=cache, **options)(**ids)[0]

newest = output()
said = {"packed": files()}
said["again, without the network"] = torch.equal(output(local_files_only=True), newest)
exported = ExportedModel.from_pretrained(repo_id, subfolder="sparse", cache_dir=cache)
said["exported"] = torch.equal(exported(**ids)[0], newest)
first = output(revision="first")
said["another revision is another model"] = not torch.equal(first, newest)
said["the tag is that of the first"] = torch.equal(output(revision="first", subfolder="sparse"), first)
said["files of two packed models"] = files()
output(revision="dense")
said["dense"] = files()
print(json.dumps(said))
"""


def tiny(seed: int, folder: Path) -> Path:
    torch.manual_seed(seed)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = BertModel(BertConfig(**small, vocab_size=20, max_position_embeddings=16))
    model.save_pretrained(folder)
    SparseModel.from_model(model).save_pretrained(folder / "sparse")
    (folder / "notes.txt").write_text("Not a file of the model.")
    return folder


def test_only_the_packed_model_of_one_revision_is_fetched(
    local_hub: LocalHub, repo_id: str, tmp_path: Path
) -> None:
    api = local_hub.api
    api.upload_folder(repo_id=repo_id, folder_path=tiny(0, tmp_path / "first"))
    api.create_tag(repo_id, tag="first")
    api.create_branch(repo_id, branch="dense")
    api.delete_folder("sparse", repo_id, revision="dense")
    api.upload_folder(repo_id=repo_id, folder_path=tiny(1, tmp_path / "second"))
    ran = run_client(local_hub, sys.executable, "-W", "error", "-c", SCRIPT, repo_id, str(tmp_path / "cache"))
    assert ran.returncode == 0, ran.stderr
    packed = ["config.json", "export.json", "sparse_model.safetensors"]
    assert json.loads(ran.stdout.splitlines()[-1]) == {
        "packed": packed,
        "again, without the network": True,
        "exported": True,
        "another revision is another model": True,
        "the tag is that of the first": True,
        "files of two packed models": packed,
        "dense": sorted([*packed, "model.safetensors"]),
    }
