"""How long the papers' upstream runs take on 1 to 64 GPUs and what they cost: measured pieces, simulated.

    python benchmarks/scaling_plan.py [--gpu a100] [--utilization 0.35] [--price 2.0] [--measure]

Steps, batch sizes and lengths are read from the recipes. ``--measure`` measures two pieces on this machine,
how many tokens a core makes of text and how long a mask update takes on the CPU; without it those of
docs/scaling.md count. Everything else is computed from the constants below, which are assumptions, not
measurements.
"""

import argparse
import os
import time
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table

from sparsezoo_hub.core.recipe import Recipe, Stage
from sparsezoo_hub.core.selection import select_masks
from sparsezoo_hub.core.structures import parse_structure
from sparsezoo_hub.training.python_documentation import python_documentation
from sparsezoo_hub.training.recipe_library import load_recipe
from sparsezoo_hub.training.token_blocks import TokenBlocks
from sparsezoo_hub.training.wordpiece import train_wordpiece

RECIPES = (
    "sparse-bert/base-90",
    "sparse-bert/biobert-90",
    "prune-ofa/bert-base-90",
    "prune-ofa/bert-large-90",
    "prune-ofa/distilbert-90",
    "oberta/base",
    "oberta/base-90",
    "oberta/medium-90",
    "oberta/small-90",
)
NUM_GPUS = (1, 4, 8, 16, 32, 64)
# Words of the corpora (Sparse*BERT, section 4.2), and tokens to a word.
WORDS = {"wikipedia-bookcorpus": 3.3e9, "pubmed": 4.5e9, "wikipedia": 2.5e9}
TOKENS_PER_WORD = 1.3
MASKED_SHARE = 0.15
CHECKPOINT_EVERY = 500
DISK_BYTES_PER_SECOND = 1e9
GPUS_PER_NODE = 8
# Of the backward pass, how much of the gradients' exchange it hides.
OVERLAP = 0.8


@dataclass(frozen=True)
class Gpu:
    """Peak bf16 operations a second, and bytes a second: of memory, inside a node, between nodes."""

    peak: float
    memory: float
    inside: float
    between: float


GPUS = {"a100": Gpu(312e12, 1.5e12, 230e9, 25e9), "h100": Gpu(989e12, 3.3e12, 450e9, 50e9)}


@dataclass(frozen=True)
class Shape:
    """An encoder: layers, hidden size, vocabulary."""

    layers: int
    hidden: int
    vocabulary: int

    @property
    def encoder(self) -> int:
        """The weights of the encoder's linear layers."""
        return 12 * self.layers * self.hidden**2

    @property
    def parameters(self) -> int:
        """About all weights: the encoder's, the embeddings'."""
        return self.encoder + (self.vocabulary + 512) * self.hidden

    def forward(self, length: int) -> float:
        """Return the floating-point operations of a forward pass, by token."""
        attention = 4 * self.layers * length * self.hidden
        head = 2 * MASKED_SHARE * self.hidden * (self.hidden + self.vocabulary)
        return 2 * self.encoder + attention + head


BERT_BASE, BERT_LARGE = Shape(12, 768, 30_522), Shape(24, 1024, 30_522)
DISTILBERT = Shape(6, 768, 30_522)
ROBERTA_BASE, ROBERTA_LARGE = Shape(12, 768, 50_265), Shape(24, 1024, 50_265)
# The student's shape and its teacher's, where the teacher is not of the same.
SHAPES = {
    "prune-ofa/bert-large-90": (BERT_LARGE, BERT_LARGE),
    "prune-ofa/distilbert-90": (DISTILBERT, DISTILBERT),
    "oberta/base": (ROBERTA_BASE, ROBERTA_LARGE),
    "oberta/base-90": (ROBERTA_BASE, ROBERTA_LARGE),
    "oberta/medium-90": (Shape(6, 768, 50_265), ROBERTA_LARGE),
    "oberta/small-90": (Shape(3, 768, 50_265), ROBERTA_LARGE),
}


@dataclass(frozen=True)
class Pieces:
    """What was measured: tokens a second that a core makes of text, seconds of a mask update by weight."""

    tokens_per_core: float
    update_seconds: float


# On the machine that docs/scaling.md names.
MEASURED = Pieces(tokens_per_core=370_000, update_seconds=0.95 / 84.9e6)


def measure() -> Pieces:
    """Return the pieces, measured here."""
    documents = python_documentation()
    tokenizer = train_wordpiece(documents, 8_000)
    texts = [document.text for document in documents]
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core's
    began = time.perf_counter()
    rows = TokenBlocks(texts, tokenizer, 512)
    tokens_per_core = len(rows) * 512 / (time.perf_counter() - began)
    scores = {str(layer): torch.rand(768, 3072) for layer in range(12)}
    began = time.perf_counter()
    select_masks(scores, 0.9, scope="uniform", structure=parse_structure("unstructured"), kept=None)
    seconds = time.perf_counter() - began
    return Pieces(tokens_per_core, seconds / sum(each.numel() for each in scores.values()))


def num_steps(stage: Stage) -> int:
    """Return a stage's optimizer steps, from the words of its corpus where its length is in epochs."""
    if stage.steps is not None:
        return stage.steps
    rows = WORDS[stage.data] * TOKENS_PER_WORD / stage.max_length
    return round(stage.length * rows / stage.batch_size)


def num_updates(stage: Stage) -> int:
    """Return how often a stage computes its masks."""
    if stage.pruning is None:
        return 0
    start, _, end = stage.pruning.window
    return round((end - start) / (stage.pruning.interval or 1))


def stage_hours(recipe: str, stage: Stage, gpus: int, gpu: Gpu, utilization: float, pieces: Pieces) -> float:
    """Return the hours of a stage on so many GPUs."""
    student, teacher = SHAPES.get(recipe, (BERT_BASE, BERT_BASE))
    tokens = stage.batch_size * stage.max_length
    operations = 3 * student.forward(stage.max_length)
    if stage.teacher is not None:
        operations += teacher.forward(stage.max_length)
    compute = tokens * operations / (gpus * gpu.peak * utilization)
    # A ring: every GPU sends and receives twice its share of the gradients, over the slowest link.
    link = gpu.inside if gpus <= GPUS_PER_NODE else gpu.between
    exchange = 2 * (gpus - 1) / gpus * 4 * student.parameters / link
    backward = compute * 2 / 3
    exposed = max(0.0, exchange - OVERLAP * backward)
    # AdamW reads and writes weight, gradient and two moments; the lock weight, gradient and mask.
    optimizer = (28 * student.parameters + 17 * student.encoder) / gpu.memory
    step = compute + exposed + optimizer
    # Tokenizing is done meanwhile by eight cores to a GPU; a step waits where these are slower.
    step = max(step, tokens / (8 * gpus * pieces.tokens_per_core))
    steps = num_steps(stage)
    checkpoints = steps / CHECKPOINT_EVERY * 12 * student.parameters / DISK_BYTES_PER_SECOND
    updates = num_updates(stage) * pieces.update_seconds * student.encoder
    return (steps * step + checkpoints + updates) / 3600


def tokens_of(recipe: Recipe) -> float:
    """Return the tokens that all stages of a recipe read."""
    return sum(num_steps(stage) * stage.batch_size * stage.max_length for stage in recipe.stages)


def main() -> None:
    """Compute and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpu", choices=GPUS, default="a100")
    parser.add_argument("--utilization", type=float, default=0.35)
    parser.add_argument("--price", type=float, default=2.0)
    parser.add_argument("--measure", action="store_true")
    options = parser.parse_args()
    pieces = measure() if options.measure else MEASURED
    console = Console(width=120)
    console.print(
        f"{options.gpu}, {options.utilization:.0%} of its bf16 peak, {options.price:g} dollars an hour; "
        f"{pieces.tokens_per_core:,.0f} tokens/s a core, mask update of BERT-base "
        f"{pieces.update_seconds * BERT_BASE.encoder:.2f} s"
    )
    hours = Table("hours on GPUs", "tokens, billions", *(str(each) for each in NUM_GPUS))
    money = Table("dollars", "tokens, billions", *(str(each) for each in NUM_GPUS))
    for name in RECIPES:
        recipe = load_recipe(name)
        tokens = f"{tokens_of(recipe) / 1e9:.1f}"
        totals = [
            sum(
                stage_hours(name, stage, gpus, GPUS[options.gpu], options.utilization, pieces)
                for stage in recipe.stages
            )
            for gpus in NUM_GPUS
        ]
        hours.add_row(name, tokens, *(f"{each:.1f}" for each in totals))
        costs = [each * gpus * options.price for each, gpus in zip(totals, NUM_GPUS, strict=True)]
        money.add_row(name, tokens, *(f"{each:,.0f}" for each in costs))
    console.print(hours)
    console.print(money)


if __name__ == "__main__":
    main()
