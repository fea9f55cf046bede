"""``sparsezoo-hub search``."""

import re
from typing import Annotated

import typer

from sparsezoo_hub.cli.byte_sizes import parse_bytes
from sparsezoo_hub.cli.options import Endpoint, Json, Limit, Token

_NUMBER = r"(?:0|1|0?\.\d+|1\.0+)"
_RANGE = re.compile(rf"({_NUMBER})?(?:(-)({_NUMBER})?)?")


def search(  # noqa: PLR0913 - one option for each thing that can be asked for
    words: Annotated[list[str] | None, typer.Argument(help="What must be in the model's id.")] = None,
    *,
    family: Annotated[
        str | None, typer.Option(help="oberta, prune-ofa, sparse-bert or minilm, as far as names tell.")
    ] = None,
    architecture: Annotated[str | None, typer.Option(help="bert, roberta, distilbert, ...")] = None,
    sparsity: Annotated[
        str | None,
        typer.Option(metavar="LOW-HIGH", help="0.8-0.95, 0.8- or -0.95; 0.9 alone is just that, 0 dense."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Has a result on it: sst2, ..., or text-classification, ...")
    ] = None,
    quantized: Annotated[bool, typer.Option("--quantized", help="Comes in int8 as well.")] = False,
    max_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Of the weights file at most: 100MB, 1.5GB.")
    ] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Made from this model on the Hub.")
    ] = None,
    author: Annotated[str | None, typer.Option(help="Owner of the repository.")] = None,
    limit: Limit = 50,
    token: Token = None,
    endpoint: Endpoint = None,
    as_json: Json = False,
) -> None:
    """Find packages on a Hub; with HF_HUB_OFFLINE=1, those that are in the cache."""
    from sparsezoo_hub.cli.found_table import find
    from sparsezoo_hub.hub.search import Wanted

    lowest, highest = (None, None) if sparsity is None else _range(sparsity)
    wanted = Wanted(
        words=tuple(words or ()),
        author=author,
        family=None if family is None else _family(family),
        architecture=None if architecture is None else architecture.lower(),
        lowest=lowest,
        highest=highest,
        task=task,
        quantized=quantized,
        largest=None if max_size is None else parse_bytes(max_size, "--max-size"),
        parent=parent,
    )
    find(wanted, limit, endpoint, token, as_json)


def _family(name: str) -> str:
    from sparsezoo_hub.core.names import check_choice
    from sparsezoo_hub.core.recipe_families import FAMILIES, recipe_family

    try:
        return recipe_family(name) or check_choice(name, FAMILIES, "family")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--family") from None


def _range(text: str) -> tuple[float | None, float | None]:
    match = _RANGE.fullmatch(text.replace(" ", ""))
    low, dash, high = match.groups() if match else (None, None, None)
    lowest, highest = None if low is None else float(low), None if high is None else float(high)
    if dash is None:
        highest = lowest
    if (lowest, highest) == (None, None) or (lowest is not None and highest is not None and lowest > highest):
        raise typer.BadParameter(
            f"must be a range of fractions of zeros, 0.8-0.95 for example, got {text!r}",
            param_hint="--sparsity",
        )
    return lowest, highest
