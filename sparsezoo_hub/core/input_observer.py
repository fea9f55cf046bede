"""Input observer: the range of a quantized layer's inputs, the same however a batch is split."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.ao.quantization import MovingAverageMinMaxObserver


class InputObserver(MovingAverageMinMaxObserver):
    """torch's moving averages, in which an optimizer step counts once, however its batch is split.

    Every part of a batch is compared with what the earlier parts of its step and the other processes have
    seen; the average moves from where it was when the step began.

    Args:
        settings: of torch's observer.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # From the smallest negated and the largest value to those of all processes, (2,) both.
        self.share: Callable[[Tensor], Tensor] | None = None
        self.accumulates = False
        self._step: tuple[Tensor, Tensor] | None = None  # the average before it, and the extremes so far

    def begin_step(self) -> None:
        """Take what comes for parts of one step, until the next call; without a call, each is its own."""
        self.accumulates, self._step = True, None

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x_orig: Tensor) -> Tensor:
        """Take note of the smallest and the largest value, and return what came."""
        low, high = torch.aminmax(x_orig.detach().to(self.min_val.dtype))
        extremes = torch.stack([-low, high])
        if self.share is not None:
            extremes = self.share(extremes)
        before = torch.stack([-self.min_val, self.max_val])  # -inf both, where nothing was seen
        if self._step is not None:
            before, earlier = self._step
            extremes = torch.maximum(extremes, earlier)
        moved = before + self.averaging_constant * (extremes - before)
        average = torch.where(before.isneginf(), extremes, moved)
        self.min_val.copy_(-average[0])
        self.max_val.copy_(average[1])
        self._step = (before, extremes) if self.accumulates else None
        return x_orig
