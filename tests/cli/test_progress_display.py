import io
import re

import pytest
from rich.console import Console

from sparsezoo_hub.cli.progress_display import ProgressDisplay, human_duration
from sparsezoo_hub.training.progress import Progress

HALF = Progress(
    "student seed 1",
    50,
    100,
    2e-4,
    loss=2.3456,
    sparsity=0.451,
    tokens_per_second=12345.6,
    seconds_left=3661.0,
    number=2,
    count=3,
)
END = Progress("student seed 1", 100, 100, 0.0, loss=2.0, seconds_left=0.0, number=2, count=3)


def shown(*, terminal: bool, width: int = 120) -> str:
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=width, highlight=False)
    with ProgressDisplay(console) as display:
        display(HALF)
        display(HALF)
        display(END)
    return written.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (86400 + 3 * 3600 + 59, "1 d 3 h"),
        (20 * 86400, "20 d"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_elsewhere_than_on_a_terminal_lines_say_it_all_and_the_last_step_is_never_left_out() -> None:
    # The second call comes within ten seconds of the first.
    assert shown(terminal=False, width=40).splitlines() == [
        "  stage 2 of 3 student seed 1: step 50 of 100, 1 h 1 min left, loss 2.346, sparsity 0.45, "
        "lr 2.0e-04, 12,346 tokens/s",
        "  stage 2 of 3 student seed 1: step 100 of 100, loss 2.000, lr 0.0e+00",
    ]


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (120, r"  2/3 student seed 1 ━+ 100/100 loss 2\.000, lr 0\.0e\+00"),
        (80, r"  2/3 student seed 1 100/100 loss 2\.000, lr 0\.0e\+00"),
        (40, r"  2/3 student seed 1 100/100 loss 2\.0.*"),
    ],
)
def test_a_terminal_gets_the_same_numbers_and_a_bar_where_it_is_wide(width: int, line: str) -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown(terminal=True, width=width))
    assert any(re.fullmatch(line, each.rstrip()) for each in text.replace("\r", "\n").split("\n"))


def test_a_display_that_is_told_nothing_writes_nothing() -> None:
    written = io.StringIO()
    with ProgressDisplay(Console(file=written, force_terminal=True)):
        pass
    assert written.getvalue() == ""
