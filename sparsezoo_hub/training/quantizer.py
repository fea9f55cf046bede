"""The quantizer: when in a stage its linear layers learn the ranges of int8, and round by them."""

from typing import Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sparsezoo_hub.core.fake_quantization import begin_step, fake_quantize, freeze_ranges, learn_ranges
from sparsezoo_hub.core.stage_settings import Quantization
from sparsezoo_hub.training.processes import largest, process_state


class Quantizer(TrainerCallback):
    """Trains a model as int8 will compute it (Prune OFA, appendix D; oBERTa, table 24).

    The ranges are buffers of the model, so the Trainer's checkpoints have them. They are those of the whole
    batch, whatever part of it a process sees.

    Args:
        settings: its points in optimizer steps.
        model: its linear layers are made ready at once, and compute as before until ``settings.start``.

    Raises:
        TargetError: if a target matches nothing.
    """

    def __init__(self, settings: Quantization, model: nn.Module) -> None:
        self.settings = settings
        self.layers = fake_quantize(
            model, settings.targets, settings.ignore, per_channel=settings.per_channel
        )

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin, or freeze, at the step that says so, or at the first one after a resumption."""
        del args, control, kwargs
        if self.settings.freeze is not None and state.global_step >= self.settings.freeze:
            self._freeze(state.global_step)
        elif state.global_step >= self.settings.start:
            learn_ranges(self.layers)
            begin_step(self.layers, largest if process_state().num_processes > 1 else None)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Freeze: the model is judged by the ranges that it is saved with."""
        del args, control, kwargs
        self._freeze(state.global_step)

    def _freeze(self, step: int) -> None:
        freeze = self.settings.freeze
        if step >= self.settings.start and (freeze is None or step <= freeze):
            # As the last step left them: a run that goes on from here has not learned in this process.
            learn_ranges(self.layers)
        freeze_ranges(self.layers)
