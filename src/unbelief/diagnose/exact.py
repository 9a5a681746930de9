"""A model in double precision as a pure function of its parameters, with J v and Jᵀ u.

With logits z(θ) of T positions, J = dz/dθ has T V rows and as many columns as there are
parameters. It is never formed: Jᵀ u is one backward pass, J v one forward-mode pass.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unbelief.errors import RequestError
from unbelief.tokens.batch import Row, TokenBatch, collate

Parameters = dict[str, Tensor]
MOST_PARAMETERS = 300_000_000
"""Double precision, two copies and a gradient: 7 GB at this size."""


class _Double(TorchFunctionMode):
    """Turns requests for float32 into float64.

    Models compute norms, rotations and the softmax of attention in float32 whatever their weights
    are in, which would bury second-order terms in rounding.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # the signature is PyTorch's
        if func is Tensor.float:
            func = Tensor.double
        given = {name: _double(value) for name, value in (kwargs or {}).items()}
        return func(*(_double(value) for value in args), **given)


def _double(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


class ExactModel:
    """Logits at answer positions and their derivatives. T positions, V tokens.

    Args:
        model: A Transformers causal language model; a copy of it is used.
        pad_id: Filler of padded ids; never seen.

    Attributes:
        parameters: Those that train (`requires_grad`), float64, by name; tied ones once.

    Raises:
        RequestError: The model is too large for this, or nothing of it trains.
    """

    def __init__(self, model: nn.Module, pad_id: int = 0):
        size = sum(p.numel() for p in model.parameters())
        if size > MOST_PARAMETERS:
            raise RequestError(
                f"the model has {size:,} parameters; exact derivatives in double precision are "
                f"for at most {MOST_PARAMETERS:,}",
                where="model",
                remedy="use a smaller model of the same family",
            )
        own: Any = copy.deepcopy(model)
        self._model = own.double().eval()
        # Fused attention has no forward-mode derivative.
        self._model.set_attn_implementation("eager")
        self.pad_id = pad_id
        self.parameters: Parameters = {
            name: p.detach() for name, p in self._model.named_parameters() if p.requires_grad
        }
        if not self.parameters:
            raise RequestError("no parameter of the model trains", where="model")

    @property
    def size(self) -> int:
        """Number of parameters that train."""
        return sum(p.numel() for p in self.parameters.values())

    def batch(self, rows: Sequence[Row]) -> TokenBatch:
        """Rows on the model's device."""
        return collate(rows, self.pad_id).to(next(iter(self.parameters.values())).device)

    def logits(self, batch: TokenBatch, parameters: Parameters | None = None) -> Tensor:
        """(T, V) logits that predict the scored tokens, differentiable by the parameters."""
        own = self.parameters if parameters is None else parameters
        with _Double():
            out = torch.func.functional_call(
                self._model, own, kwargs={"input_ids": batch.input_ids, "use_cache": False}
            )
        logits: Tensor = out.logits[batch.row, batch.position - 1]
        return logits

    def vjp(self, batch: TokenBatch, cotangent: Tensor) -> Parameters:
        """Jᵀ u: parameter space from (T, V)."""
        with torch.enable_grad():
            own = {name: p.detach().requires_grad_() for name, p in self.parameters.items()}
            found = torch.autograd.grad(
                self.logits(batch, own), list(own.values()), cotangent, allow_unused=True
            )
        pairs = zip(own.items(), found, strict=True)
        return {name: torch.zeros_like(p) if g is None else g for (name, p), g in pairs}

    @torch.no_grad()
    def jvp(self, batch: TokenBatch, tangent: Parameters) -> Tensor:
        """J v: (T, V) from parameter space."""
        with _known_warning():
            found: Any = torch.func.jvp(
                lambda p: self.logits(batch, p), (self.parameters,), (tangent,)
            )
        change: Tensor = found[1]
        return change

    def moved(self, direction: Parameters, rate: float) -> Parameters:
        """θ − rate · direction."""
        return {name: p - rate * direction[name] for name, p in self.parameters.items()}


@contextmanager
def _known_warning() -> Iterator[None]:
    """PyTorch compiles its own forward-mode formulas with what it has deprecated since."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`torch.jit", category=DeprecationWarning)
        yield
