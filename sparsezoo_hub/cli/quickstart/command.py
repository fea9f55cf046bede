"""The verb ``quickstart``."""

from pathlib import Path
from typing import Annotated

import typer

from sparsezoo_hub.cli.options import BackboneReference, TextFiles
from sparsezoo_hub.training.stop_signals import interruptible


@interruptible()
def quickstart(
    text: TextFiles = None,
    backbone: BackboneReference = None,
    out: Annotated[Path, typer.Option(help="Everything goes here.")] = Path("quickstart-out"),
) -> None:
    """Make a 90 % sparse BERT from text, publish it on a Hub of your own, load it locked, fine-tune it.

    Takes minutes on two cores and needs no network. Stopped and started again, it goes on after the last
    finished step.
    """
    from sparsezoo_hub.cli.quickstart.options import Options
    from sparsezoo_hub.cli.quickstart.report import show_report, write_report
    from sparsezoo_hub.cli.quickstart.steps import run_steps

    records = run_steps(
        Options(out=out.resolve(), text=[path.resolve() for path in text or ()], backbone=backbone)
    )
    show_report(write_report(out, records), out)
