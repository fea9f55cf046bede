import threading
from collections.abc import Iterator

import pytest
import torch

from sparsezoo_hub.core.threads import on_threads


@pytest.fixture
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_threads")
def test_pieces_run_side_by_side_and_come_back_in_order() -> None:
    both_there = threading.Barrier(2, timeout=60)  # breaks unless two pieces wait for each other

    def work(number: int) -> tuple[int, int]:
        both_there.wait()
        return number, torch.get_num_threads()

    assert on_threads(work, range(4)) == [(number, 1) for number in range(4)]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("_two_threads")
def test_threads_that_begin_later_have_all_their_threads() -> None:
    on_threads(lambda number: number, range(4))
    found: list[int] = []

    def look() -> None:
        torch.ones(100_000).add(1)
        found.append(torch.get_num_threads())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [2]


@pytest.mark.usefixtures("_two_threads")
@pytest.mark.parametrize(
    ("items", "device"), [([1], None), ([1, 2], torch.device("cuda")), ([1, 2], torch.device("meta"))]
)
def test_a_single_piece_and_pieces_for_an_accelerator_stay_here(
    items: list[int], device: torch.device | None
) -> None:
    here = threading.get_ident()
    assert on_threads(lambda _: threading.get_ident(), items, device) == [here] * len(items)


@pytest.mark.usefixtures("_two_threads")
def test_what_a_piece_raises_is_raised_and_the_threads_are_back() -> None:
    with pytest.raises(ZeroDivisionError):
        on_threads(lambda number: 1 // number, [1, 0, 1])
    assert torch.get_num_threads() == 2
