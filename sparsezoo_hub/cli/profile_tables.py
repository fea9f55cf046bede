"""The profile of a model, as people read it."""

import re
from collections.abc import Iterable

from rich.text import Text

from sparsezoo_hub.cli.console import console, human_bytes, say
from sparsezoo_hub.cli.found_table import model_table, plain, print_table, result_words, size_cell
from sparsezoo_hub.core.lineage import contributing_stages
from sparsezoo_hub.hub.model_facts import ModelFacts
from sparsezoo_hub.hub.model_profile import ModelProfile
from sparsezoo_hub.hub.snapshot import split_reference
from sparsezoo_hub.packaging.card_metadata import head_of
from sparsezoo_hub.packaging.layout import ONNX_FOLDER, ONNX_INT8_FOLDER, SPARSE_MODEL
from sparsezoo_hub.packaging.manifest import ComponentEntry

_IN_LAYER = re.compile(r"(?<=layer\.)\d+")
_SHORT_HASH = 12
_LONGEST = 500
_SIZES = {
    "weights": "model.safetensors",
    "gzip": "the same, gzip",
    "compact": "compact: kept values and mask bits",
    "onnx": "ONNX",
    "int8": "ONNX int8",
}


def show_profile(profile: ModelProfile) -> None:
    """Print a model's facts, its sparsity, results, sizes, files and revisions, and how to load it."""
    for name, value in _facts(profile):
        console.print(f"[bold]{name:<13}[/] ", end="")
        console.print(plain(value, longest=_LONGEST), soft_wrap=True)
    facts = profile.facts
    if not facts.manifest.is_dense:
        _show_sparsity(facts)
    _show_results(facts)
    _show_sizes(facts)
    _show_files(facts)
    _show_revisions(profile)
    _show_loading(facts)


def _facts(profile: ModelProfile) -> Iterable[tuple[str, str]]:
    facts, recipe = profile.facts, profile.recipe
    manifest, parents = facts.manifest, facts.manifest.parents
    at = "" if facts.commit is None else f" at commit {facts.commit[:_SHORT_HASH]}"
    yield "model", f"{facts.name}{at}: {recipe.summary}"
    if facts.successor is not None:
        yield "superseded by", facts.successor
    count = "" if profile.parameters is None else f", {profile.parameters:,} parameters"
    family = "" if facts.family is None else f", family {facts.family}"
    yield "architecture", f"{facts.architecture} ({facts.model_type}){count}{family}"
    if manifest.is_dense:
        yield "sparsity", "none: the model is dense"
    else:
        target = manifest.sparsity.target
        promised = "no target" if target is None else f"target {target:g}"
        yield (
            "sparsity",
            f"{manifest.sparsity.overall:.6f}, {promised}: {facts.num_zeros:,} of {facts.num_pruned:,} "
            f"entries of {len(manifest.sparsity.per_component)} pruned weights are zero",
        )
        yield "masks", str(manifest.mask_digest)
    yield "backbone", parents.backbone
    if parents.base_model not in (None, parents.backbone):
        yield "base model", str(parents.base_model)
    if parents.teacher is not None:
        yield "teacher", f"the model of stage {parents.teacher}"
    yield "recipe", f"{recipe.name}: {' → '.join(each.name for each in contributing_stages(recipe))}"
    for name, sources in {} if recipe.provenance is None else recipe.provenance.data.items():
        yield f"data {name}"[:13], ", ".join(sources)
    measured = manifest.measurements
    if measured.train_seconds is not None or measured.hardware is not None:
        took = "" if measured.train_seconds is None else f"{measured.train_seconds:,.0f} s on "
        yield "trained", f"{took}{measured.hardware or 'unknown hardware'}"
    if manifest.quantization is not None:
        yield "int8", f"{manifest.quantization.num_layers} linear layers, {manifest.quantization.method}"
    versions = ", ".join(f"{name} {manifest.versions.get(name)}" for name in ("torch", "transformers"))
    yield "packaged", f"{manifest.created:%Y-%m-%d %H:%M} UTC with {versions}"


def _show_sparsity(facts: ModelFacts) -> None:
    kinds: dict[str, list[ComponentEntry]] = {}
    for name, entry in facts.manifest.sparsity.per_component.items():
        kinds.setdefault(_IN_LAYER.sub("*", name), []).append(entry)
    table = model_table(
        "Pruned weights", "weights", "number", "entries", "zeros", "sparsity", "lowest", "highest",
        left=("weights",),
    )  # fmt: skip
    for name, entries in kinds.items():
        numel, zeros = sum(each.numel for each in entries), sum(each.zeros for each in entries)
        each_sparsity = [each.sparsity for each in entries]
        table.add_row(
            plain(name),
            str(len(entries)),
            f"{numel:,}",
            f"{zeros:,}",
            f"{zeros / numel if numel else 0:.4f}",
            f"{min(each_sparsity):.4f}",
            f"{max(each_sparsity):.4f}",
        )
    print_table(table)


def _show_results(facts: ModelFacts) -> None:
    measured = facts.manifest.measurements
    table = model_table(
        "Results", "data set", "split", "model", "metric", "result", "seeds",
        left=("data set", "split", "model", "metric"),
    )  # fmt: skip
    for each in measured.results:
        table.add_row(
            plain(each.dataset),
            each.split,
            plain(each.label or "this model"),
            plain(each.metric.replace("_", " ")),
            result_words(each),
            str(len(each.seeds)),
        )
    if measured.results:
        print_table(table)
    else:
        say("no task was measured with this package")
    if measured.mlm is not None:
        losses = {"teacher": measured.mlm.teacher, "this model": measured.mlm.student}
        words = ", ".join(f"{value:.4g} {name}" for name, value in losses.items() if value is not None)
        say(f"masked-LM loss on validation text: {words}")


def _show_sizes(facts: ModelFacts) -> None:
    table = model_table("Sizes", "form", "size", "of the weights", left=("form",))
    whole = facts.sizes["weights"]
    for form, size in facts.sizes.items():
        if size is not None:
            table.add_row(_SIZES[form], size_cell(size), f"{size / whole:.3f}" if whole else "")
    print_table(table)


def _show_files(facts: ModelFacts) -> None:
    table = model_table("Files", "file", "size", "sha256", left=("file", "sha256"))
    for name, entry in facts.manifest.files.items():
        table.add_row(plain(name), human_bytes(entry.size), entry.sha256[:_SHORT_HASH])
    print_table(table)


def _show_revisions(profile: ModelProfile) -> None:
    named = [*(profile.branches or {}).items(), *(profile.tags or {}).items()]
    if not named:
        return
    table = model_table("Revisions", "name", "kind", "commit", left=("name", "kind", "commit"))
    for kind, revisions in (("branch", profile.branches), ("tag", profile.tags)):
        for name, commit in (revisions or {}).items():
            here = " (this one)" if commit == profile.facts.commit else ""
            table.add_row(plain(name), kind, plain(f"{commit[:_SHORT_HASH]}{here}"))
    print_table(table)


def _show_loading(facts: ModelFacts) -> None:
    _, auto_class = head_of(facts.architecture)
    repo_id, revision = (facts.name, None) if facts.repo_id is None else split_reference(facts.name)
    place = repr(repo_id)
    at = "" if revision is None else f", revision={revision!r}"
    lines = [] if facts.manifest.is_dense else ["import sparsezoo_hub  # locks the pattern"]
    lines += [
        f"from transformers import {auto_class}",
        f"model = {auto_class}.from_pretrained({place}{at})",
    ]
    folders = [
        folder
        for form, folder in (("onnx", ONNX_FOLDER), ("int8", ONNX_INT8_FOLDER))
        if facts.sizes[form] is not None
    ]
    if folders:
        lines += ["", "from transformers.exporters import ExportedModel"]
        lines += [
            f"model = ExportedModel.from_pretrained({place}, subfolder={each!r}{at})" for each in folders
        ]
    if SPARSE_MODEL in facts.manifest.files:
        lines += ["", "from sparsezoo_hub.runtime import SparseModel"]
        lines += [f"model = SparseModel.from_pretrained({place}{at})"]
    console.print(Text("Load it", style="bold"))
    for line in lines:
        console.print(Text(f"  {line}" if line else ""), soft_wrap=True)
