"""``sparsezoo-hub import``."""

from pathlib import Path
from typing import Annotated

import typer

from sparsezoo_hub.cli.console import print_json, quiet_loading, say
from sparsezoo_hub.cli.options import Json


def import_model(
    folder: Annotated[Path, typer.Argument(help="A model of SparseML, SparseZoo, IntelLabs and others.")],
    out: Annotated[Path, typer.Argument(help="Where the package goes.")],
    name: Annotated[str | None, typer.Option(help="The package's name; else the folder's.")] = None,
    as_json: Json = False,
) -> None:
    """Make a verified package of a model in the format of an older zoo."""
    from sparsezoo_hub.cli.stored_model import sample_texts
    from sparsezoo_hub.packaging.imports.detection import FORMATS
    from sparsezoo_hub.packaging.imports.import_folder import import_folder

    quiet_loading()
    imported = import_folder(folder, out, sample_texts(None), name)
    manifest = imported.manifest
    if as_json:
        print_json(
            {
                "folder": str(out),
                "format": imported.format,
                "files": imported.files,
                "explicit_masks": imported.explicit_masks,
                "left_out": imported.left_out,
                "not_locked": imported.not_locked,
                "recipes": imported.recipes,
                "manifest": manifest.model_dump(mode="json"),
            }
        )
        return
    pattern = "dense" if manifest.is_dense else f"sparsity {manifest.sparsity.overall:.4f}"
    say(f"read {folder} as {FORMATS[imported.format].words}: {', '.join(imported.files)}")
    if not manifest.is_dense:
        masks = imported.explicit_masks
        zeros = len(manifest.sparsity.per_component) - masks
        say(f"pattern: {masks} weights by their masks, {zeros} by their zeros")
    if imported.left_out:
        say(f"left out: {len(imported.left_out)} tensors, {imported.left_out[0]} for example")
    if imported.not_locked:
        say(f"not locked, for they are no linear weights of the encoder: {', '.join(imported.not_locked)}")
    say(f"package: {out}, {pattern}, verified")
