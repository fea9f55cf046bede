"""What each of several processes is dealt, and the state that they write together; rank 0 says both."""

import json
from pathlib import Path

from accelerate.utils import gather_object
from stream_case import TOKENIZER, dealt, parts, settings

from sparsezoo_hub.training.processes import process_state
from sparsezoo_hub.training.streams.loader import StreamLoader
from sparsezoo_hub.training.token_masking import padding_collator


def deal(corpus: Path, out: Path) -> None:
    state = process_state()
    stream = settings(parts({"": corpus}))
    rows = stream.batch_size // state.num_processes
    loader = StreamLoader(
        stream, padding_collator(TOKENIZER), state.process_index, state.num_processes, rows, workers=0
    )
    own = list(dealt([loader], 3))
    everyone = gather_object([own])
    lanes = loader.tensors()["lanes"].tolist()
    if state.is_main_process:
        batches = [[row for share in step for row in share] for step in zip(*everyone, strict=True)]
        out.write_text(json.dumps({"batches": batches, "lanes": lanes}))
    state.destroy_process_group()
