"""An adapter taken off: what is left is the model it was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from unbelief.errors import RequestError
from unbelief.interventions.base import Context, ModelIntervention

if TYPE_CHECKING:
    from unbelief.models.runner import AnswerModel


@dataclass(frozen=True)
class AdapterOff(ModelIntervention):
    """The model without its unmerged adapter.

    An adapter beside unchanged base weights suppresses and forgets nothing: whoever has the files
    leaves it out. This attack shows what they then have; it needs no skill and cannot fail.
    """

    name: ClassVar[str] = "adapter-off"
    asks_for: ClassVar[str] = "weights: a PEFT adapter that is not merged"
    cost: ClassVar[str] = "none"
    source: ClassVar[str] = "Hu et al. 2021, LoRA, arXiv 2106.09685 (the base weights stay frozen)"

    @contextmanager
    def applied(self, model: AnswerModel, context: Context) -> Iterator[AnswerModel]:
        """The model with its adapters disabled.

        Raises:
            RequestError: The model has none.
        """
        adapted: Any = model.model
        if not hasattr(adapted, "disable_adapter"):
            raise RequestError(
                "the model has no adapter that could be taken off",
                where=self.name,
                remedy="leave this attack out: the weights are the model's own",
            )
        trained = [(p, p.requires_grad) for p in adapted.parameters()]
        try:
            with adapted.disable_adapter():
                yield model
        finally:
            for parameter, requires_grad in trained:  # enabling adapters unfreezes them
                parameter.requires_grad_(requires_grad)
