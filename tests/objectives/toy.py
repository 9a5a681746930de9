"""Statistics of a few answers from a table of logits, with exactly what a term asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unbelief.models.dense import stats_from_logits
from unbelief.models.head import TokenInputs
from unbelief.models.stats import AnswerStats, Needs


def stats_of_probabilities(
    probabilities: Sequence[Sequence[float]],
    targets: Sequence[int],
    needs: Needs | None = None,
    reference: Sequence[Sequence[float]] | None = None,
) -> tuple[Tensor, AnswerStats]:
    """Logits (leaf) and statistics of one answer whose predictions have these probabilities."""
    z = torch.tensor(probabilities, dtype=torch.float64).log().requires_grad_(True)
    ref = None if reference is None else torch.tensor(reference, dtype=torch.float64).log()
    toy = Toy(z, ref, torch.tensor(targets), (len(targets),))
    return z, toy.stats(needs or Needs())


@dataclass
class Toy:
    """T tokens of A answers over V words; logits and hidden states are the trainable weights.

    Attributes:
        logits: (T, V).
        ref_logits: (T, V) of the original model.
        target: (T,).
        lengths: Tokens per answer.
        hidden: (T, d).
        ref_hidden: (T, d).
        weight: (T,) token weights.
        alternative: (T,) bool, for terms that see pairs.
    """

    logits: Tensor
    ref_logits: Tensor | None
    target: Tensor
    lengths: tuple[int, ...]
    hidden: Tensor | None = None
    ref_hidden: Tensor | None = None
    weight: Tensor | None = None
    alternative: Tensor | None = None

    def tokens_of(self, answers: Sequence[int]) -> Tensor:
        """Indices of the tokens of some answers, in the given order."""
        starts = [sum(self.lengths[:i]) for i in range(len(self.lengths))]
        return torch.cat([torch.arange(starts[a], starts[a] + self.lengths[a]) for a in answers])

    def stats(self, needs: Needs, answers: Sequence[int] | None = None) -> AnswerStats:
        """What a model would hand to a term with these needs; nothing else is there."""
        stats = self._stats(needs, answers)
        if self.alternative is None:
            return stats
        index = self.tokens_of(range(len(self.lengths)) if answers is None else answers)
        return replace(stats, alternative=self.alternative[index])

    def _stats(self, needs: Needs, answers: Sequence[int] | None) -> AnswerStats:
        chosen = list(range(len(self.lengths))) if answers is None else list(answers)
        index = self.tokens_of(chosen)
        segment = torch.repeat_interleave(
            torch.arange(len(chosen)), torch.tensor([self.lengths[a] for a in chosen])
        )
        weight = torch.ones(len(index), dtype=torch.float64)
        if self.weight is not None:
            weight = self.weight[index]
        ref = None if self.ref_logits is None else self.ref_logits[index].log_softmax(-1)
        target = self.target[index]
        tokens = TokenInputs(target, segment, len(chosen), weight)
        if needs.hidden_layer is not None:
            assert self.hidden is not None and self.ref_hidden is not None
            return AnswerStats(
                # Nothing is predicted where only a layer is asked for.
                logp=torch.full((len(index),), float("nan"), dtype=torch.float64),
                segment=segment,
                weight=weight,
                n_answers=len(chosen),
                hidden=self.hidden[index],
                ref_hidden=self.ref_hidden[index] if needs.reference_hidden else None,
            )
        fields: dict[str, Tensor] = {}
        if needs.reference_logp:
            assert ref is not None
            fields["ref_logp"] = ref.gather(1, target[:, None])[:, 0]
        if needs.top_k and needs.beliefs_from == "reference":
            assert ref is not None
            fields["ref_topk_logp"], fields["ref_topk_ids"] = ref.topk(
                min(needs.top_k, ref.shape[1])
            )
        tokens = TokenInputs(target, segment, len(chosen), weight, **fields)  # type: ignore[arg-type]
        return stats_from_logits(
            self.logits[index], tokens, needs, None if needs.kl is None else ref
        )


def random_toy(seed: int = 0, vocabulary: int = 30, width: int = 6) -> Toy:
    """Three answers of 4, 1 and 3 tokens, a policy that has moved away from its original."""
    g = torch.Generator().manual_seed(seed)
    lengths, double = (4, 1, 3), torch.float64
    n = sum(lengths)
    ref = 2 * torch.randn(n, vocabulary, generator=g, dtype=double)
    hidden = torch.randn(n, width, generator=g, dtype=double)
    return Toy(
        (ref + 0.5 * torch.randn(n, vocabulary, generator=g, dtype=double)).requires_grad_(True),
        ref,
        torch.randint(vocabulary, (n,), generator=g),
        lengths,
        (hidden + 0.5 * torch.randn(n, width, generator=g, dtype=double)).requires_grad_(True),
        hidden,
    )
