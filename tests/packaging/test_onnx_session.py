"""The sessions of ONNX Runtime that int8 models run in."""

import pytest
import torch

from sparsezoo_hub.packaging.onnx_session import EXACT_INT8, session_options


@pytest.mark.parametrize("capability", ["avx512_vnni", "avx_vnni"])
def test_with_vnni_int8_is_exact_as_it_is(capability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, capability: True})
    with pytest.raises(RuntimeError, match=EXACT_INT8[0]):  # there is no such entry
        session_options().get_session_config_entry(EXACT_INT8[0])


def test_without_vnni_int8_takes_the_option_that_makes_it_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_vnni": False})
    assert session_options(3).get_session_config_entry(EXACT_INT8[0]) == "1"
    assert session_options(3).intra_op_num_threads == 3
