import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from packaging_case import TEXTS, locked_model, wordpiece_tokenizer
from transformers.exporters import ExportedModel
from transformers.utils import logging as transformers_logging

from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.onnx_export import check_onnx, export_onnx, max_length, tokenized_batches
from sparsezoo_hub.packaging.quiet import quiet


@pytest.mark.parametrize("kind", ["roberta-mlm", "distilbert-classifier"])
def test_onnx_runtime_agrees_with_pytorch(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, tokenizer = locked_model(kind).train(), wordpiece_tokenizer()
    masks = PatternLock.masks(model)
    settings = (
        logging.root.manager.disable,
        list(warnings.filters),
        transformers_logging.is_progress_bar_enabled(),
    )

    parity = export_onnx(model, tokenizer, TEXTS, tmp_path / "onnx")

    assert parity.max_abs_diff < 1e-4
    assert parity.num_texts == len(TEXTS)
    assert parity.num_batches > 3
    assert 2 <= parity.num_padded < parity.num_batches
    assert capfd.readouterr() == ("", "")
    assert settings == (
        logging.root.manager.disable, list(warnings.filters), transformers_logging.is_progress_bar_enabled(),
    )  # fmt: skip
    # The model is as it was: in its mode, and locked under training.
    assert model.training
    assert PatternLock.masks(model).keys() == masks.keys()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    model(**tokenizer(list(TEXTS), padding=True, return_tensors="pt")).logits.square().sum().backward()
    optimizer.step()
    assert PatternLock.revived(model) == 0


@pytest.fixture(scope="module")
def session(written: tuple[Path, object]) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(written[0] / "onnx" / "model.onnx")


@pytest.mark.parametrize(("batch", "length"), [(1, 2), (1, 64), (3, 17), (7, 5)])
def test_batch_and_length_are_free(session: onnxruntime.InferenceSession, batch: int, length: int) -> None:
    model = locked_model().eval()
    ids = torch.randint(5, 100, (batch, length), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[-1, length // 2 + 1 :] = 0
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask).logits.numpy()
    names = {each.name for each in session.get_inputs()}
    types = {"token_type_ids": torch.zeros_like(ids).numpy()} if "token_type_ids" in names else {}
    (logits,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy(), **types})
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_the_axes_have_their_names(session: onnxruntime.InferenceSession) -> None:
    assert [each.shape for each in session.get_inputs()] == [["batch", "length"]] * len(session.get_inputs())
    assert [(each.name, each.shape) for each in session.get_outputs()] == [
        ("logits", ["batch", "length", 120])
    ]


def test_the_file_is_sound_and_tells_nothing_of_the_machine(written: tuple[Path, object]) -> None:
    path = written[0] / "onnx" / "model.onnx"
    onnx.checker.check_model(path)
    content = path.read_bytes() + (written[0] / "onnx" / "export.json").read_bytes()
    for secret in (b"site-packages", b"sparsezoo_hub/", str(Path.home()).encode() + b"/", b"stack_trace"):
        assert secret not in content


def test_the_zeros_are_in_the_onnx_file_too(written: tuple[Path, object]) -> None:
    model = onnx.load(written[0] / "onnx" / "model.onnx")
    arrays = [onnx.numpy_helper.to_array(each) for each in model.graph.initializer]
    sparse = [
        array
        for array in arrays
        if array.dtype == np.float32 and array.ndim == 2 and (array == 0).mean() > 0.85
    ]
    assert len(sparse) == 12


def test_transformers_own_loader_runs_it(written: tuple[Path, object]) -> None:
    model, tokenizer = locked_model().eval(), wordpiece_tokenizer()
    inputs = tokenizer(list(TEXTS[:3]), padding=True, return_tensors="pt")
    exported = ExportedModel.from_pretrained(written[0], subfolder="onnx")
    with torch.no_grad():
        expected = model(**{name: inputs[name] for name in ("input_ids", "attention_mask")}).logits
    torch.testing.assert_close(exported(**inputs).logits, expected, atol=1e-4, rtol=0)


def test_an_onnx_file_of_another_model_is_refused(written: tuple[Path, object]) -> None:
    model = locked_model()
    with torch.no_grad():
        model.bert.encoder.layer[1].output.dense.bias[3] += (
            0.5  # the same for all would be lost in the LayerNorm
        )
    with pytest.raises(PackageError, match=r"ONNX Runtime differs from PyTorch by .* the limit is 0\.001"):
        check_onnx(model, wordpiece_tokenizer(), TEXTS, written[0] / "onnx" / "model.onnx")


def test_outputs_that_are_no_numbers_are_refused(written: tuple[Path, object]) -> None:
    model = locked_model()
    with torch.no_grad():
        model.cls.predictions.bias[3] = float("nan")
    with pytest.raises(PackageError, match="differs from PyTorch by nan"):
        check_onnx(model, wordpiece_tokenizer(), TEXTS, written[0] / "onnx" / "model.onnx")


def test_a_broken_onnx_file_is_refused_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(PackageError, match="cannot be run") as caught:
        check_onnx(locked_model(), wordpiece_tokenizer(), TEXTS, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("texts", [[], ["only one"]])
def test_the_check_needs_texts(texts: list[str], tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="at least 2"):
        export_onnx(locked_model(), wordpiece_tokenizer(), texts, tmp_path)


def test_a_tokenizer_without_padding_is_refused(tmp_path: Path) -> None:
    tokenizer = wordpiece_tokenizer()
    tokenizer.pad_token = None
    with pytest.raises(PackageError, match="no padding token"):
        export_onnx(locked_model(), tokenizer, TEXTS, tmp_path)


def test_texts_are_cut_to_what_the_model_can_hold() -> None:
    tokenizer = wordpiece_tokenizer()
    tokenizer.model_max_length = 10**30
    long = ["word " * 500, "word"]
    for kind, expected in (("bert-mlm", 64), ("distilbert-mlm", 64), ("roberta-mlm", 63)):
        model = locked_model(kind)
        assert max_length(model, tokenizer) == expected
        batches = tokenized_batches(model, tokenizer, long)
        assert max(batch["input_ids"].shape[1] for batch in batches) == expected
        model(**batches[-1])


def test_quiet_restores_everything_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    before = (
        logging.root.manager.disable,
        list(warnings.filters),
        transformers_logging.is_progress_bar_enabled(),
    )

    def noisy_failure() -> None:
        print("unheard")  # noqa: T201
        warnings.warn("unheard", UserWarning, stacklevel=1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), quiet():
        noisy_failure()
    assert before == (
        logging.root.manager.disable, list(warnings.filters), transformers_logging.is_progress_bar_enabled(),
    )  # fmt: skip
    assert capsys.readouterr().out == ""
