import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from local_hub_case import LocalHub
from packaging_case import magnitude_masks, tiny_contents
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from sparsezoo_hub import PatternLock, is_locked, trusting_zeros
from sparsezoo_hub.core.masks import mask_digest
from sparsezoo_hub.errors import MaskError

HEADS = (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoModelForQuestionAnswering,
    AutoModel,
)
pytestmark = [
    pytest.mark.slow,  # every import is a process
    pytest.mark.filterwarnings("ignore:.*clean_up_tokenization_spaces"),
]


@pytest.fixture
def package(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "package"))


def change_weights(package: Path, change: dict[str, tuple[int, float]]) -> None:
    """Set single entries of the weights file."""
    tensors = load_file(package / "model.safetensors")
    for name, (index, value) in change.items():
        tensors[name].flatten()[index] = value
    save_file(tensors, package / "model.safetensors", metadata={"format": "pt"})


def run_python(code: str, *arguments: str, **environment: str) -> str:
    completed = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "HF_HUB_OFFLINE": "0", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.__name__)
def test_stock_from_pretrained_locks_under_every_head(written: Path, head: type) -> None:
    model = head.from_pretrained(written)
    expected = magnitude_masks(tiny_contents().model)
    masks = PatternLock.masks(model)
    assert set(masks) == set(expected)
    promised = json.loads((written / "config.json").read_text())["quantization_config"]
    assert mask_digest(masks) == promised["mask_digest"]


def test_the_loaded_model_trains_and_keeps_its_zeros(written: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(written, num_labels=3)
    weights = dict(model.base_model.named_parameters())
    before = copy.deepcopy({name: weights[name].detach() for name in PatternLock.masks(model)})
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(3):
        model(input_ids=torch.randint(5, 100, (4, 8)), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, old in before.items():
        assert torch.equal(weights[name] == 0, old == 0)
        assert not torch.equal(weights[name], old)


def test_an_ordinary_model_is_left_behind(written: Path) -> None:
    model = AutoModelForMaskedLM.from_pretrained(written)
    assert not getattr(model, "is_quantized", False)
    assert not hasattr(model, "hf_quantizer")
    assert model.half().dtype == torch.float16
    assert is_locked(model)


def test_a_model_that_is_saved_again_locks_again(written: Path, tmp_path: Path) -> None:
    first = AutoModelForMaskedLM.from_pretrained(written)
    first.save_pretrained(tmp_path / "again")
    assert not (tmp_path / "again" / "masks.safetensors").exists()
    second = AutoModelForSequenceClassification.from_pretrained(tmp_path / "again")
    assert mask_digest(PatternLock.masks(second)) == mask_digest(PatternLock.masks(first))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_loading_in_half_precision_locks(written: Path, dtype: torch.dtype) -> None:
    model = AutoModelForMaskedLM.from_pretrained(written, dtype=dtype)
    assert model.dtype == dtype
    assert len(PatternLock.masks(model)) == 12


def test_a_kept_weight_that_became_zero_stays_free(package: Path) -> None:
    name = "encoder.layer.0.attention.self.query.weight"
    kept = int(magnitude_masks(tiny_contents().model)[name].flatten().nonzero()[0])
    change_weights(package, {f"bert.{name}": (kept, 0.0)})
    model = AutoModelForMaskedLM.from_pretrained(package)
    assert PatternLock.masks(model)[name].flatten()[kept]


def test_a_pruned_weight_that_is_not_zero_is_refused_by_name(package: Path) -> None:
    name = "encoder.layer.1.output.dense.weight"
    pruned = int((~magnitude_masks(tiny_contents().model)[name]).flatten().nonzero()[0])
    change_weights(package, {f"bert.{name}": (pruned, 0.5)})
    with pytest.raises(
        MaskError, match=r"disagree in 1 of 12 weights: encoder\.layer\.1\.output\.dense\.weight has 1"
    ):
        AutoModelForMaskedLM.from_pretrained(package)


def test_zeros_that_fit_no_promise_and_no_mask_file_are_refused(package: Path) -> None:
    change_weights(package, {"bert.encoder.layer.0.attention.self.query.weight": (0, 0.5)})
    change_weights(package, {"bert.encoder.layer.0.attention.self.query.weight": (1, 0.5)})
    (package / "masks.safetensors").unlink()
    with pytest.raises(MaskError, match=r"there is no masks\.safetensors beside them"):
        AutoModelForMaskedLM.from_pretrained(package)


def test_zeros_are_trusted_where_the_user_says_so(package: Path) -> None:
    name = "encoder.layer.0.attention.self.query.weight"
    pruned = int((~magnitude_masks(tiny_contents().model)[name]).flatten().nonzero()[0])
    change_weights(package, {f"bert.{name}": (pruned, 0.5)})
    with trusting_zeros():
        model = AutoModelForMaskedLM.from_pretrained(package)
    assert PatternLock.masks(model)[name].flatten()[pruned]
    with pytest.raises(MaskError, match="disagree"):
        AutoModelForMaskedLM.from_pretrained(package)


def test_a_model_without_our_block_is_loaded_without_a_lock(package: Path) -> None:
    config = json.loads((package / "config.json").read_text())
    del config["quantization_config"]
    (package / "config.json").write_text(json.dumps(config))
    assert not is_locked(AutoModelForMaskedLM.from_pretrained(package))


OUTPUTS = """
import sys, torch
{extra}
from transformers import AutoModelForMaskedLM
model = AutoModelForMaskedLM.from_pretrained(sys.argv[1]).eval()
ids = torch.arange(5, 37).view(2, 16)
with torch.no_grad():
    torch.save(model(input_ids=ids).logits, sys.argv[2])
print("sparsezoo_hub" in sys.modules)
"""


def test_without_this_package_stock_transformers_gives_the_same_outputs(
    written: Path, tmp_path: Path
) -> None:
    stock = run_python(OUTPUTS.format(extra=""), str(written), str(tmp_path / "stock.pt"))
    ours = run_python(OUTPUTS.format(extra="import sparsezoo_hub"), str(written), str(tmp_path / "ours.pt"))
    assert (stock.strip(), ours.strip()) == ("False", "True")
    assert torch.equal(torch.load(tmp_path / "stock.pt"), torch.load(tmp_path / "ours.pt"))


LOCKED = """
import sys
{imports}
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1])
print(sparsezoo_hub.is_locked(model), "sparsezoo_hub.training" in sys.modules)
"""


@pytest.mark.parametrize("first", ["sparsezoo_hub", "transformers"])
def test_the_order_of_the_imports_does_not_matter(written: Path, first: str) -> None:
    imports = ["import sparsezoo_hub", "from transformers import AutoModelForSequenceClassification"]
    ordered = "\n".join(sorted(imports, key=lambda line: first not in line))
    assert run_python(LOCKED.format(imports=ordered), str(written)).split() == ["True", "False"]


def test_importing_the_package_imports_neither_torch_nor_transformers() -> None:
    code = "import sys, sparsezoo_hub; print({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules))"
    assert run_python(code).strip() == "set()"


def test_masks_come_from_the_hub_when_zeros_alone_do_not_tell(
    package: Path, local_hub: LocalHub, tmp_path: Path
) -> None:
    """The client downloads the mask file only because the digest asks for it."""
    change_weights(package, {"bert.encoder.layer.0.attention.self.query.weight": (0, 0.0)})
    kept = magnitude_masks(tiny_contents().model)["encoder.layer.0.attention.self.query.weight"].flatten()
    change_weights(
        package, {"bert.encoder.layer.0.attention.self.query.weight": (int(kept.nonzero()[0]), 0.0)}
    )
    local_hub.api.create_repo("org/tells-not")
    local_hub.api.upload_folder(repo_id="org/tells-not", folder_path=package)
    code = LOCKED.format(
        imports="import sparsezoo_hub\nfrom transformers import AutoModelForSequenceClassification"
    )
    printed = run_python(
        code, "org/tells-not", HF_ENDPOINT=local_hub.url, HF_HUB_CACHE=str(tmp_path / "cache")
    )
    assert printed.split()[0] == "True"
    assert list((tmp_path / "cache").rglob("masks.safetensors"))
