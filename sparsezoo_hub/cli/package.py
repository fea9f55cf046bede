"""``sparsezoo-hub package``."""

from pathlib import Path
from typing import Annotated

import typer

from sparsezoo_hub.cli.console import print_json, quiet_loading, say
from sparsezoo_hub.cli.options import Json, TextFiles


def package(
    model: Annotated[Path, typer.Argument(help="A folder with a model, locked or dense, and its tokenizer.")],
    folder: Annotated[Path, typer.Argument(help="Where the package goes.")],
    recipe: Annotated[str, typer.Option(help="The recipe it was made with: a file, or a name.")],
    text: TextFiles = None,
    as_json: Json = False,
) -> None:
    """Make a package of a locked or dense model, one that you fine-tuned yourself for example."""
    from sparsezoo_hub.cli.stored_model import load_stored_model, sample_texts, stored_ranges
    from sparsezoo_hub.packaging.manifest import Measurements
    from sparsezoo_hub.packaging.package import PackageContents, write_package
    from sparsezoo_hub.training.recipe_library import load_recipe

    quiet_loading()
    loaded, tokenizer = load_stored_model(model)
    manifest = write_package(
        folder,
        PackageContents(
            loaded,
            tokenizer,
            load_recipe(recipe),
            sample_texts(text),
            Measurements(),
            quantization=stored_ranges(model),
        ),
    )
    if as_json:
        print_json(manifest.model_dump(mode="json"))
    else:
        pattern = "dense" if manifest.is_dense else f"sparsity {manifest.sparsity.overall:.4f}"
        say(f"package: {folder}, {pattern}")
