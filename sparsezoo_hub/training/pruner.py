"""The pruner: at every mask update, schedule → scores → masks → zeros that hold."""

from typing import Any

from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sparsezoo_hub.core.learning_rates import Window
from sparsezoo_hub.core.masks import top_k_mask
from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.core.recipe import Pruning
from sparsezoo_hub.core.scores import SCORES
from sparsezoo_hub.core.sparsity_schedules import SPARSITY_SCHEDULES
from sparsezoo_hub.core.targets import match_targets


class Pruner(TrainerCallback):
    """Prunes a model while transformers' Trainer trains it, each component by itself.

    Args:
        pruning: what the recipe asks for.
        model: the model that is trained.

    Raises:
        TargetError: if a target matches no weight of the model.
    """

    def __init__(self, pruning: Pruning, model: nn.Module) -> None:
        self.pruning = pruning
        self.modules = match_targets(model, pruning.targets, pruning.ignore)
        self.window = Window(pruning.start, pruning.end, pruning.interval)
        self.masks: dict[str, Tensor] = {}
        self.sparsity = 0.0

    def update(self, step: int, model: nn.Module) -> None:
        """Prune to the sparsity of ``step``; what was pruned stays pruned."""
        self.sparsity = SPARSITY_SCHEDULES[self.pruning.schedule](
            step,
            start=self.pruning.start,
            end=self.pruning.policy_end,
            initial=self.pruning.initial_sparsity,
            final=self.pruning.final_sparsity,
        )
        score = SCORES[self.pruning.method]
        self.masks = {
            name: top_k_mask(score(module.weight), self.sparsity, self.masks.get(name))
            for name, module in self.modules.items()
        }
        PatternLock.prune(model, self.masks)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Prune before the first step if the window starts there."""
        del args, control
        self._update_if_due(state.global_step, kwargs["model"])

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Prune after a step that ends on an update, so that the next one starts with the new masks."""
        del args, control
        self._update_if_due(state.global_step, kwargs["model"])

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Make the pattern final."""
        del args, state, control
        PatternLock.lock(kwargs["model"], self.masks)

    def _update_if_due(self, step: int, model: nn.Module) -> None:
        if self.window.is_update(step):
            self.update(step, model)
