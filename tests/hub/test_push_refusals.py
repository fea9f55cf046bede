"""What a push refuses: a package that is not what it promises, or that promises less than before."""

from pathlib import Path
from typing import Any

import pytest
from find_case import INT8
from huggingface_hub import HfApi
from local_hub_case import LocalHub
from manage_case import lowered, manifest_of, variant
from packaging_case import rehashed
from safetensors.numpy import load_file

from sparsezoo_hub.errors import HubError, PackageError, VerificationError
from sparsezoo_hub.hub.promise import check_no_less
from sparsezoo_hub.hub.push import push_package
from sparsezoo_hub.packaging.manifest import Manifest, Measurements

pytestmark = pytest.mark.filterwarnings("ignore:.*clean_up_tokenization_spaces")


def changed(manifest: Manifest, **changes: Any) -> Manifest:
    return manifest.model_copy(update=changes)


@pytest.fixture(scope="module")
def manifest(written: Path) -> Manifest:
    return manifest_of(written)


@pytest.fixture(scope="module")
def lower(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights with a recipe that wants a little less; no test may change it."""
    return lowered(written, tmp_path_factory.mktemp("lower") / "package")


def refusal(now: Manifest, before: Manifest) -> str:
    with pytest.raises(PackageError) as caught:
        check_no_less(now, before, "push to org/model")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(
        "mend the package, choose another repository or branch, or push with --force"
    )
    return str(caught.value)


def test_the_same_and_more_and_the_first_of_all_are_welcome(manifest: Manifest) -> None:
    check_no_less(manifest, None, "push")
    check_no_less(manifest, manifest, "push")
    bare = changed(manifest, measurements=Measurements())
    check_no_less(manifest, bare, "push")
    check_no_less(changed(manifest, quantization=INT8), manifest, "push")
    sparser = manifest.sparsity.model_copy(update={"target": 0.95})
    check_no_less(changed(manifest, sparsity=sparser), manifest, "push")


def test_results_that_vanish_are_named_and_those_of_other_models_do_not_count(manifest: Manifest) -> None:
    said = refusal(changed(manifest, measurements=Measurements()), manifest)
    assert "tiny-90 has lost 2 results: accuracy on parts (validation), masked-LM loss;" in said
    own = tuple(result for result in manifest.measurements.results if result.label is None)
    fewer = manifest.measurements.model_copy(update={"results": own})
    check_no_less(changed(manifest, measurements=fewer), manifest, "push")


def test_int8_and_onnx_that_vanish_are_both_named(manifest: Manifest) -> None:
    files = {name: entry for name, entry in manifest.files.items() if name != "onnx/model.onnx"}
    said = refusal(changed(manifest, files=files), changed(manifest, quantization=INT8))
    assert "has no onnx/model.onnx, which was there; it has no int8 model, which was there" in said


def test_a_weight_that_loses_its_pattern_is_named(manifest: Manifest) -> None:
    names = sorted(manifest.sparsity.per_component)
    kept = {name: manifest.sparsity.per_component[name] for name in names[1:]}
    sparsity = manifest.sparsity.model_copy(update={"per_component": kept})
    said = refusal(changed(manifest, sparsity=sparsity), manifest)
    assert f"has no pattern in 1 weights that had one, the first is {names[0]}" in said


def test_a_pattern_without_a_target_is_compared_as_counted(manifest: Manifest) -> None:
    less = manifest.sparsity.model_copy(update={"target": None, "overall": 0.85})
    assert "has the sparsity 0.8500, tiny-90 0.9" in refusal(changed(manifest, sparsity=less), manifest)
    rounded = less.model_copy(update={"overall": manifest.sparsity.overall - 0.0005})
    check_no_less(changed(manifest, sparsity=rounded), manifest, "push")


def test_a_dense_model_does_not_take_the_place_of_a_pattern(manifest: Manifest) -> None:
    empty = manifest.sparsity.model_copy(update={"target": None, "overall": 0.0, "per_component": {}})
    dense = changed(manifest, mask_digest=None, sparsity=empty)
    assert "is dense, tiny-90 in its place has a locked pattern" in refusal(dense, manifest)
    check_no_less(manifest, dense, "push")


def test_a_lower_target_is_refused_until_forced(written: Path, lower: Path, local_hub: LocalHub) -> None:
    there: dict[str, str] = {"endpoint": local_hub.url, "token": local_hub.token}
    before = push_package(written, "org/lowered", **there)
    with pytest.raises(
        PackageError, match=r"push to org/lowered: .* target 0\.8995, tiny-90 in its place 0\.9;"
    ):
        push_package(lower, "org/lowered", **there)
    assert local_hub.api.model_info("org/lowered").sha == before.commit
    # A branch of its own has nothing in its place.
    beside = push_package(lower, "org/lowered", revision="lower", **there)
    assert local_hub.api.model_info("org/lowered", revision="lower").sha == beside.commit
    with pytest.raises(PackageError, match=r"has the target"):
        push_package(lower, "org/lowered", create_pr=False, **there)
    forced = push_package(lower, "org/lowered", force=True, **there)
    assert local_hub.api.model_info("org/lowered").sha == forced.commit != before.commit


def test_a_package_that_is_broken_is_refused_until_forced(
    written: Path, local_hub: LocalHub, tmp_path: Path
) -> None:
    broken = variant(written, tmp_path / "broken", {})
    (broken / "masks.safetensors").unlink()
    there: dict[str, str] = {"endpoint": local_hub.url, "token": local_hub.token}
    with pytest.raises(VerificationError, match=r"masks\.safetensors is missing.* with --force$") as caught:
        push_package(broken, "org/broken", **there)
    assert "\n" not in str(caught.value)
    assert not local_hub.api.repo_exists("org/broken")
    push_package(broken, "org/broken", force=True, **there)
    # What cannot be trusted has no compact form either.
    files = local_hub.api.list_repo_files("org/broken")
    assert "model.safetensors" in files
    assert not any(name.startswith("compact/") for name in files)


def test_an_onnx_model_of_other_weights_is_refused(
    written: Path, local_hub: LocalHub, tmp_path: Path
) -> None:
    other = variant(written, tmp_path / "other", {})
    content = bytearray((other / "onnx" / "model.onnx").read_bytes())
    embeddings = load_file(written / "model.safetensors")["bert.embeddings.word_embeddings.weight"].tobytes()
    start = content.find(embeddings)
    assert start > 0
    content[start + 1024 : start + 8192] = b"\x3f" * 7168
    (other / "onnx" / "model.onnx").write_bytes(content)
    rehashed(other)
    with pytest.raises(VerificationError, match=r"fails verification at onnx: .*--force"):
        push_package(other, "org/other", endpoint=local_hub.url, token=local_hub.token)


def test_a_card_that_the_hub_refuses_is_one_line(written: Path, local_hub: LocalHub, tmp_path: Path) -> None:
    card = variant(written, tmp_path / "card", {"README.md": ("language: en", "language: {en: true}")})
    with pytest.raises(HubError, match=r"refuses: .*README\.md.*language") as caught:
        push_package(card, "org/card", endpoint=local_hub.url, token=local_hub.token)
    assert "\n" not in str(caught.value)
    assert "model.safetensors" not in local_hub.api.list_repo_files("org/card")


def test_a_folder_that_is_no_package_is_not_even_forced(local_hub: LocalHub, tmp_path: Path) -> None:
    (tmp_path / "hello.txt").write_text("hello")
    with pytest.raises(PackageError, match="is no package"):
        push_package(tmp_path, "org/folder", endpoint=local_hub.url, token=local_hub.token, force=True)
    assert not local_hub.api.repo_exists("org/folder")


def test_tags_name_the_commit_and_are_not_moved(written: Path, lower: Path, local_hub: LocalHub) -> None:
    there: dict[str, str] = {"endpoint": local_hub.url, "token": local_hub.token}
    pushed = push_package(written, "org/tagged", tags=("v1", "stable"), **there)
    tags = {ref.name: ref.target_commit for ref in local_hub.api.list_repo_refs("org/tagged").tags}
    assert tags == {"v1": pushed.commit, "stable": pushed.commit}
    assert push_package(written, "org/tagged", tags=("v1",), **there).commit == pushed.commit
    with pytest.raises(HubError, match=r"has a tag v1 already.*hf repos tag delete"):
        push_package(lower, "org/tagged", tags=("v1",), force=True, **there)
    assert local_hub.api.model_info("org/tagged").sha == pushed.commit


def test_a_branch_that_moves_on_meanwhile_is_looked_at_again(
    written: Path, lower: Path, local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: dict[str, str] = {"endpoint": local_hub.url, "token": local_hub.token}
    push_package(lower, "org/moving", **there)
    send = HfApi.create_commit
    others: list[str] = []

    def send_late(api: HfApi, *arguments: Any, **named: Any) -> Any:
        if not others:  # somebody else is quicker, once
            others.append("under way")
            local_hub.api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="org/moving")
        return send(api, *arguments, **named)

    monkeypatch.setattr(HfApi, "create_commit", send_late)
    pushed = push_package(written, "org/moving", **there)
    commits = [commit.commit_id for commit in local_hub.api.list_repo_commits("org/moving")]
    assert commits[0] == pushed.commit
    assert "x" in local_hub.api.list_repo_files("org/moving", revision=commits[1])
    assert "x" not in local_hub.api.list_repo_files("org/moving")
