"""``accelerate launch -m sparsezoo_hub.train RECIPE``: the same as ``sparsezoo-hub train``."""

import typer

from sparsezoo_hub.cli.app import run_verb
from sparsezoo_hub.cli.train import train

if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(train)
    run_verb(app)
