"""``sparsezoo-hub inspect``."""

from sparsezoo_hub.cli.options import Json, ModelReference, Revision, Token


def inspect(
    model: ModelReference, revision: Revision = None, token: Token = None, as_json: Json = False
) -> None:
    """Count the zeros of every weight of a package, and show what it says of itself."""
    from sparsezoo_hub.cli.console import print_json
    from sparsezoo_hub.cli.inspection_table import show_inspection
    from sparsezoo_hub.hub.snapshot import local_folder
    from sparsezoo_hub.packaging.inspection import inspect_package

    inspection = inspect_package(local_folder(model, revision=revision, token=token))
    if as_json:
        print_json(inspection.to_dict())
    else:
        show_inspection(inspection)
