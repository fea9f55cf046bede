"""Two processes whose masks differ in one weight: each prints what it is told."""

import sys

import torch

from sparsezoo_hub.errors import MaskError
from sparsezoo_hub.training.processes import process_state
from sparsezoo_hub.training.pruner import check_same


def compare() -> None:
    rank = process_state().process_index
    same = torch.tensor([[True, False], [False, True]])
    check_same("masks", {"one": same, "two": same})
    try:
        check_same("masks", {"one": same, "two": same if rank == 0 else ~same})
    except MaskError as error:
        sys.stdout.write(f"{error}\n")
    process_state().destroy_process_group()
