"""Results: what was measured about a package's own model, by name."""

from sparsezoo_hub.packaging.manifest import Manifest


def measured_values(manifest: Manifest) -> dict[str, float]:
    """Return every result by what it is of; two packages have the same name for the same measurement."""
    measured = manifest.measurements
    values = {
        f"{result.metric} on {result.dataset} ({result.split})": result.mean
        for result in measured.results
        if result.label is None  # others are of other models, for comparison
    }
    if measured.mlm is not None and measured.mlm.student is not None:
        values["masked-LM loss"] = measured.mlm.student
    return values
