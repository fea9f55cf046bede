"""The pruner: at every mask update, schedule → scores → masks → zeros that hold."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from accelerate.utils import broadcast, gather_object
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sparsezoo_hub.core.fisher import FisherOptions
from sparsezoo_hub.core.learning_rates import Window
from sparsezoo_hub.core.masks import sparsity_of
from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.core.pruning_methods import build_method, sample_gradients, split_increase
from sparsezoo_hub.core.selection import select_masks
from sparsezoo_hub.core.sharding import placed_like, whole
from sparsezoo_hub.core.sparsity_schedules import SPARSITY_SCHEDULES
from sparsezoo_hub.core.sparsity_targets import sparsity_targets
from sparsezoo_hub.core.stage_settings import Fisher, Pruning
from sparsezoo_hub.core.structures import parse_structure
from sparsezoo_hub.errors import MaskError
from sparsezoo_hub.training.gradient_samples import GradientSource
from sparsezoo_hub.training.processes import process_state


class Pruner(TrainerCallback):
    """Prunes a model while transformers' Trainer trains it.

    Args:
        pruning: what the recipe asks for, its window in optimizer steps.
        model: the model that is trained.

    Raises:
        TargetError: if a target matches no weight of the model, or two want different sparsities of one.
        SparsityError: if the structure does not fit the method.
    """

    def __init__(self, pruning: Pruning, model: nn.Module) -> None:
        self.pruning = pruning
        targets = sparsity_targets(model, pruning)
        self.modules = {name: module for name, (module, _) in targets.items()}
        self.groups: dict[float, list[str]] = {}  # components by their final sparsity
        for name, (_, final) in targets.items():
            self.groups.setdefault(final, []).append(name)
        self.structure = parse_structure(pruning.structure)
        fisher = pruning.fisher or Fisher()
        self.method = build_method(
            pruning.method, self.structure, FisherOptions(**fisher.model_dump(exclude={"batch_size"}))
        )
        start, _, end = pruning.window
        self.window = Window(int(start), int(end), int(pruning.interval or 1))
        self.gradients: GradientSource | None = None
        self.masks: dict[str, Tensor] = {}
        self.reached: dict[float, float] = {}  # the schedule's sparsity of each group so far
        self.sparsity = 0.0

    def update(self, step: int, model: nn.Module) -> None:
        """Prune to the sparsity of ``step``; what was pruned stays pruned."""
        aims = {final: self._scheduled(step, final) for final in self.groups}
        if aims == self.reached or not any(aims.values()):
            return  # the masks would stay as they are
        parts = self.method.recomputations
        ways = [split_increase(self.reached.get(final, 0.0), aim, parts) for final, aim in aims.items()]
        for part, sparsities in enumerate(zip(*ways, strict=True)):
            self._prune(step * parts + part, dict(zip(aims, sparsities, strict=True)), model)
        self.reached = aims
        self.sparsity = sparsity_of(self.masks)

    def state(self) -> dict[str, Any]:
        """Return how sparse each group is."""
        return {"reached": [[final, now] for final, now in self.reached.items()]}

    def tensors(self) -> dict[str, Tensor]:
        """Return the masks, and what the method keeps between updates."""
        kept = {f"method:{name}": each for name, each in self.method.state_dict().items()}
        return {**{f"mask:{name}": each for name, each in self.masks.items()}, **kept}

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on from both."""
        self.reached = dict(state["reached"])
        self.masks = _of_kind("mask:", tensors)
        self.method.load_state_dict(_of_kind("method:", tensors))
        self.sparsity = sparsity_of(self.masks)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Prune before the first step if the window starts there; hold what an earlier run has pruned."""
        del args, control
        if self.masks:
            device = next(iter(self.modules.values())).weight.device
            self.masks = {name: mask.to(device) for name, mask in self.masks.items()}
            PatternLock.prune(kwargs["model"], self.masks)
        self._update_if_due(state.global_step, kwargs["model"])

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Let the method see the gradients."""
        del args, state, control, kwargs
        if self.method.observes_training:
            gradients = {
                name: whole(module.weight.grad)
                for name, module in self.modules.items()
                if module.weight.grad is not None
            }
            self.method.observe(self._weights(), gradients)

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

    def _scheduled(self, step: int, final: float) -> float:
        start, policy_end, _ = self.pruning.window
        return SPARSITY_SCHEDULES[self.pruning.schedule](
            step,
            start=start,
            end=policy_end,
            initial=self.pruning.initial_sparsity,
            final=final,
        )

    def _prune(self, seed: int, sparsities: Mapping[float, float], model: nn.Module) -> None:
        if self.method.num_gradients:
            sample_gradients(self.method, self._masked_gradients(seed))
        weights = self._weights()
        check_same("weights", weights)
        scores = self._of_main_process(self.method.scores(weights))
        masks: dict[str, Tensor] = {}
        for final, names in self.groups.items():
            masks |= select_masks(
                {name: scores[name] for name in names},
                sparsities[final],
                scope=self.pruning.scope,
                structure=self.structure,
                kept={name: self.masks[name] for name in names} if self.masks else None,
            )
        check_same("masks", masks)
        with torch.no_grad():
            for name, value in self._of_main_process(self.method.compensate(weights, masks)).items():
                if value is not weights[name]:
                    self.modules[name].weight.copy_(placed_like(value, self.modules[name].weight))
        self.masks = masks
        PatternLock.prune(model, masks)

    def _of_main_process(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what the main process has from sampled gradients, whose last digits differ between GPUs."""
        if not self.method.num_gradients:
            return values
        return dict(broadcast(values))

    def _weights(self) -> dict[str, Tensor]:
        return {name: whole(module.weight.detach()) for name, module in self.modules.items()}

    def _masked_gradients(self, seed: int) -> Iterator[Mapping[str, Tensor]]:
        if self.gradients is None:
            raise RuntimeError(f"the method {self.pruning.method} needs a source of gradients")
        for gradients in self.gradients(seed):
            yield {
                name: gradient.masked_fill(~self.masks[name], 0.0) if self.masks else gradient
                for name, gradient in gradients.items()
            }


def check_same(what: str, tensors: Mapping[str, Tensor]) -> None:
    """Compare all processes' tensors, bit for bit.

    Args:
        what: the tensors are, for the message.
        tensors: by component name.

    Raises:
        MaskError: if they are not the same everywhere; names the components.
    """
    if process_state().num_processes == 1:
        return
    own = {name: _digest(tensor) for name, tensor in tensors.items()}
    everyone: list[dict[str, str]] = gather_object([own])
    differing = sorted(name for name in own if len({each[name] for each in everyone}) > 1)
    if differing:
        raise MaskError(
            f"the {what} of {len(differing)} of {len(own)} components differ between the {len(everyone)} "
            f"processes, {differing[0]} for example: go on from the last checkpoint"
        )


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.detach().contiguous().view(torch.uint8).cpu().numpy().data).hexdigest()


def _of_kind(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
