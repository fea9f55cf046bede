"""Run an ONNX file in DeepSparse whenever a line comes in, and answer with the seconds that it took.

    python benchmarks/deepsparse_worker.py MODEL.onnx BATCH LENGTH THREADS VOCABULARY

``inference.py`` starts it with an interpreter whose environment has ``deepsparse``; it imports nothing of
ours, and the model's inputs are random. The first line of the answer is DeepSparse's version and the fraction
of the model's operators that its engine computes itself.
"""

import os
import sys
import time

import numpy as np
import onnx


def main() -> None:
    """Compile, and answer."""
    path = sys.argv[1]
    batch, length, threads, vocabulary = map(int, sys.argv[2:6])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed goes to the other stream
    os.environ["NM_DISABLE_ANALYTICS"] = "1"
    from deepsparse import Engine, __version__  # noqa: PLC0415 - it reads the environment

    names = [each.name for each in onnx.load(path, load_external_data=False).graph.input]
    shapes = [[batch, length]] * len(names)
    engine = Engine(path, batch_size=batch, num_cores=threads, input_shapes=shapes)
    inputs = {
        "input_ids": np.random.default_rng(0).integers(5, vocabulary, (batch, length)),
        "attention_mask": np.ones((batch, length), np.int64),
        "token_type_ids": np.zeros((batch, length), np.int64),
    }
    given = [inputs[name] for name in engine.input_names]
    print(__version__, engine.fraction_of_supported_ops, file=answers, flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        engine.run(given, val_inp=False)
        print(time.perf_counter() - began, file=answers, flush=True)


if __name__ == "__main__":
    main()
