"""``sparsezoo-hub``: every verb, and what happens to an error."""

import os
import sys
from collections.abc import Callable

import typer

from sparsezoo_hub.cli.benchmark import benchmark
from sparsezoo_hub.cli.catalog import catalog
from sparsezoo_hub.cli.compare import compare
from sparsezoo_hub.cli.console import errors
from sparsezoo_hub.cli.deprecate import deprecate
from sparsezoo_hub.cli.diff import diff
from sparsezoo_hub.cli.evaluate import evaluate
from sparsezoo_hub.cli.export import export
from sparsezoo_hub.cli.import_model import import_model
from sparsezoo_hub.cli.info import info
from sparsezoo_hub.cli.inspect import inspect
from sparsezoo_hub.cli.listing import list_models
from sparsezoo_hub.cli.mirror import mirror
from sparsezoo_hub.cli.package import package
from sparsezoo_hub.cli.promote import promote
from sparsezoo_hub.cli.pull import pull
from sparsezoo_hub.cli.push import push
from sparsezoo_hub.cli.quickstart.command import quickstart
from sparsezoo_hub.cli.recipes import recipes
from sparsezoo_hub.cli.search import search
from sparsezoo_hub.cli.serve import serve
from sparsezoo_hub.cli.study import study
from sparsezoo_hub.cli.tag import tag
from sparsezoo_hub.cli.train import train
from sparsezoo_hub.cli.transfer import transfer
from sparsezoo_hub.cli.verify import verify
from sparsezoo_hub.errors import LossError, SparseZooError
from sparsezoo_hub.training.stop_signals import Interrupted

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended, and Typer exits with

app = typer.Typer(
    name="sparsezoo-hub",
    help="Sparse encoder models that stay sparse: make, publish, load locked, fine-tune.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb in (
    quickstart,
    train,
    transfer,
    study,
    evaluate,
    export,
    benchmark,
    package,
    inspect,
    verify,
    search,
    info,
    compare,
    catalog,
    push,
    pull,
    diff,
    tag,
    promote,
    deprecate,
    mirror,
):
    app.command()(verb)
app.command("list")(list_models)
app.command("import")(import_model)
app.add_typer(recipes, name="recipes")
app.add_typer(serve, name="serve")


def run_verb(main: Callable[[], object]) -> None:
    """Run the command line; a known failure is one line on standard error and a code other than 0."""
    # Read at import by the libraries below: no calls home, and no quarrel between forks and tokenizers.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        main()
    except LossError as error:
        if _is_main():
            errors.print(f"[bold red]error:[/] {_escaped(error)}", soft_wrap=True)
        sys.exit(1)
    except SparseZooError as error:
        errors.print(f"[bold red]error:[/] {_escaped(error)}", soft_wrap=True)
        sys.exit(1)
    except OSError as error:  # the user's disk: full, read-only, not theirs
        if error.strerror is None:
            raise
        where = f" ({error.filename})" if error.filename else ""
        errors.print(
            f"[bold red]error:[/] {_escaped(error.strerror)}{where}: choose another folder, or make room"
        )
        sys.exit(1)
    except Interrupted as ended:
        if _is_main():
            errors.print(_escaped(ended.message), soft_wrap=True)
        raise
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # Typer's answer to Ctrl-C
            errors.print("interrupted: the same command goes on from the last checkpoint")
        raise


def main() -> None:
    """Entry point of ``sparsezoo-hub`` and ``hf-sparsezoo``."""
    run_verb(app)


def _is_main() -> bool:
    """Return whether this one speaks of several processes that end together, all for the same reason."""
    return os.environ.get("RANK", "0") == "0"


def _escaped(message: object) -> str:
    return str(message).replace("[", "\\[")
