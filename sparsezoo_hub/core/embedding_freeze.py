"""The embedding freeze: word, position and token-type embeddings stand still (oBERTa, section 2 and A.10).

``requires_grad`` stays as it is. DDP decides when it wraps a model which parameters it waits for, and an
optimizer may hold momentum from before; so instead the gradient is dropped as soon as it is accumulated,
before anything measures or clips it, and once more right before an optimizer's step: a parameter without a
gradient is skipped by every optimizer of torch, momentum and weight decay included.
"""

import weakref
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from sparsezoo_hub.core.targets import base_model


def embedding_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return every parameter of the base model's ``embeddings``, by its name relative to the base model.

    Those are the word, position and token-type embeddings and their LayerNorm. The decoder of a masked-LM
    head that is tied to the word embeddings is the same parameter, so it is among them.

    Args:
        model: a transformers encoder with any head, however it is wrapped.

    Raises:
        ValueError: if the base model has no module ``embeddings``, or one without parameters.
    """
    base = base_model(model)
    embeddings = getattr(base, "embeddings", None)
    found = (
        dict(embeddings.named_parameters(prefix="embeddings")) if isinstance(embeddings, nn.Module) else {}
    )
    if not found:
        raise ValueError(
            f"{type(base).__name__} has no parameters under embeddings to freeze; BERT, RoBERTa and "
            "DistilBERT have, unless a wrapper flattens parameters (use DDP or FSDP2)"
        )
    return found


class EmbeddingFreeze:
    """Holds the embeddings of a model where they are, under any wrapper and any optimizer of torch.

    Wrappers and optimizers may be made before or after; if FSDP2 shards a frozen model, its gradients still
    count in the first step's clipping. A copy of the model is not frozen, and the freeze ends with this
    object. LBFGS, which moves all parameters together, holds the embeddings only if it has made no step
    before.

    Args:
        model: as in ``embedding_parameters``.

    Raises:
        ValueError: if the model has no embeddings.
    """

    def __init__(self, model: nn.Module) -> None:
        embedding_parameters(model)
        self.model = model
        self._gradient_hooks: dict[nn.Parameter, Any] = {}
        self._step_hooks: dict[str, Any] = {}
        weakref.finalize(self, _remove, self._gradient_hooks, self._step_hooks)

    @property
    def is_frozen(self) -> bool:
        """Whether the embeddings are held now."""
        return bool(self._step_hooks)

    def freeze(self) -> None:
        """Hold the embeddings until ``release``; gradients they have now are dropped."""
        if self.is_frozen:
            return
        self._drop_gradients()
        # The process-wide hook must not keep a model alive that nobody else has.
        drop = weakref.WeakMethod(self._drop_gradients)

        def before_step(_optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
            if (method := drop()) is not None:
                method()

        self._step_hooks["before"] = register_optimizer_step_pre_hook(before_step)

    def release(self) -> None:
        """Let the embeddings be trained again."""
        _remove(self._gradient_hooks, self._step_hooks)

    def _drop_gradients(self) -> None:
        # Looked up each time: FSDP2 and resize_token_embeddings replace parameters.
        for weight in embedding_parameters(self.model).values():
            weight.grad = None
            if weight.requires_grad and weight not in self._gradient_hooks:  # torch hooks no other
                self._gradient_hooks[weight] = weight.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                    _drop_gradient
                )


def _drop_gradient(weight: Tensor) -> None:
    weight.grad = None


def _remove(*hooks: dict[Any, Any]) -> None:
    for each in hooks:
        for hook in each.values():
            hook.remove()
        each.clear()
