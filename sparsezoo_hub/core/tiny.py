"""Tiny: any recipe at a size that every machine runs in minutes, to see that all of its stages work."""

from collections.abc import Mapping
from typing import Any

from sparsezoo_hub.core.recipe import Parent, Recipe, Stage
from sparsezoo_hub.core.stage_settings import Fisher

NAME = "tiny"
MAX_LENGTH = 64
BATCH_SIZE = 8
NUM_GRADIENTS = 8
VOCAB_SIZE = 1024
# As many layers as the papers drop from, if a stage drops layers; else two.
NUM_LAYERS, NUM_LAYERS_TO_DROP_FROM = 2, 12

# The keys of each architecture's config: hidden size, inner size, heads, layers.
_SIZES = {
    "distilbert": ("dim", "hidden_dim", "n_heads", "n_layers"),
}
_USUAL_SIZES = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers")


def tiny(recipe: Recipe, sparsities: Mapping[str, float]) -> Recipe:
    """Return the recipe with small random parents of the same classes, short sequences and small batches.

    The backbone has a hidden size of 32, every other parent (a teacher) one of 48. Methods, sparsities,
    schedules and the number of steps stay as they are.

    Args:
        recipe: any.
        sparsities: of the parents that another recipe prunes, by name.
    """
    drops = any(stage.layers is not None for stage in recipe.stages)
    num_layers = NUM_LAYERS_TO_DROP_FROM if drops else NUM_LAYERS
    parents = {
        name: _tiny_parent(parent.model_type, 48 if index else 32, num_layers, sparsities.get(name))
        for index, (name, parent) in enumerate(recipe.parents.items())
    }
    stages = tuple(_tiny_stage(stage) for stage in recipe.stages)
    return recipe.model_copy(update={"parents": parents, "stages": stages})


def _tiny_parent(model_type: str, hidden_size: int, num_layers: int, sparsity: float | None) -> Parent:
    keys = _SIZES.get(model_type, _USUAL_SIZES)
    sizes = (hidden_size, 2 * hidden_size, 2, num_layers)
    config: dict[str, int | float | str | bool] = dict(zip(keys, sizes, strict=True))
    config["max_position_embeddings"] = MAX_LENGTH + 2  # RoBERTa's positions begin after two others
    return Parent(model_type=model_type, config=config, vocab_size=VOCAB_SIZE, sparsity=sparsity)


def _tiny_stage(stage: Stage) -> Stage:
    update: dict[str, Any] = {
        "max_length": min(MAX_LENGTH, stage.max_length),
        "batch_size": min(BATCH_SIZE, stage.batch_size),
    }
    if stage.pruning is not None and stage.pruning.method == "optimal_bert_surgeon":
        fisher = (stage.pruning.fisher or Fisher()).model_copy(update={"num_gradients": NUM_GRADIENTS})
        update["pruning"] = stage.pruning.model_copy(update={"fisher": fisher})
    return stage.model_copy(update=update)
