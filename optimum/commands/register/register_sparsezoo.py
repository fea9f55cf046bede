"""``optimum-cli export sparsezoo``: our ``export`` verb among optimum's exports.

optimum reads every module of the namespace package ``optimum.commands.register`` when its command line
starts, so nothing heavy is imported before the command runs. Neither ``optimum`` nor its folders may have an
``__init__.py``: optimum's own distribution has none, and they share the name.
"""

from argparse import ArgumentParser
from functools import partial
from pathlib import Path

from optimum.commands.base import BaseOptimumCLICommand, CommandInfo
from optimum.commands.export.base import ExportCommand

_FLAGS = ("int8", "per-channel", "json")


class SparsezooExportCommand(BaseOptimumCLICommand):
    """Write a model for ONNX Runtime or the sparse engine, compared with PyTorch on real text."""

    COMMAND = CommandInfo(
        name="sparsezoo",
        help="Export a BERT, RoBERTa or DistilBERT to ONNX or the sparse engine, compared with PyTorch.",
    )

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Add the options of ``sparsezoo-hub export``, in optimum's own form: the model is ``--model``."""
        parser.add_argument("-m", "--model", required=True, help="A folder, or a Hub id (owner/name).")
        parser.add_argument("output", type=Path, help="Where the files go; must not exist yet.")
        parser.add_argument(
            "--text", action="append", default=[], help="Text to compare on (txt, jsonl, jsonl.gz); repeat."
        )
        parser.add_argument(
            "--format",
            choices=("onnx", "sparse"),
            default="onnx",
            help="For ONNX Runtime, or packed for the sparse engine of sparsezoo_hub.",
        )
        parser.add_argument(
            "--int8",
            action="store_true",
            help="In int8, by the learned ranges, or calibrated on text.",
        )
        parser.add_argument(
            "--per-channel",
            action="store_true",
            help="Calibrate a range for each output feature of a weight.",
        )
        parser.add_argument("--revision", help="Branch, tag or commit on the Hub.")
        parser.add_argument("--token", help="Hub token; else that of `hf auth login` or HF_TOKEN.")
        parser.add_argument("--json", action="store_true", help="Print the result as JSON.")

    def run(self) -> None:
        """Export; an error is one line on standard error, and an exit code other than 0."""
        from sparsezoo_hub.cli.app import app, run_verb  # noqa: PLC0415 - see above

        given = self.args
        arguments = [
            "export",
            f"--format={given.format}",
            *(f"--{name}" for name in _FLAGS if _is_set(given, name)),
        ]
        for name, values in (("text", given.text), ("revision", [given.revision]), ("token", [given.token])):
            arguments += [f"--{name}={value}" for value in values if value is not None]
        run_verb(partial(app, [*arguments, "--", given.model, str(given.output)], prog_name="sparsezoo-hub"))


def _is_set(given: object, name: str) -> bool:
    return bool(getattr(given, name.replace("-", "_")))


REGISTER_COMMANDS = [(SparsezooExportCommand, ExportCommand)]
