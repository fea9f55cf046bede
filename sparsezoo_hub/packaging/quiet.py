"""Quiet: third-party libraries at work without their prints, logs, warnings and progress bars."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

from transformers.utils import logging as transformers_logging


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep a block's output from the user; errors are still logged, and every setting is restored.

    For the calls of transformers and torch.onnx that report their own version drift, missing optional
    packages and progress: nothing a user of this package can act on.
    """
    disabled = logging.root.manager.disable
    bars = transformers_logging.is_progress_bar_enabled()
    logging.disable(max(disabled, logging.WARNING))
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
