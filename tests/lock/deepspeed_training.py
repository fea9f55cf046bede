"""Gives DeepSpeed's engine a locked model, and prints what it says. Not collected by pytest.

The engine itself, not ``deepspeed.initialize``, which first compiles what processes talk with.
"""

import sys

import deepspeed.runtime.engine
from lock_case import locked_model

import sparsezoo_hub

if __name__ == "__main__":
    for named in ({"args": None, "model": locked_model()}, {}):
        try:
            deepspeed.runtime.engine.DeepSpeedEngine(*(() if named else (None, locked_model())), **named)
        except sparsezoo_hub.errors.LockError as error:
            sys.stdout.write(f"refused: {error}\n")
