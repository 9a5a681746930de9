"""How many prompts may leak at most, given how many did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from unbelief.scores.base import Aggregate, Statistic
from unbelief.scores.comparing import expect
from unbelief.scores.resampling import cluster_index
from unbelief.scores.statistics import missing, rate_statistic
from unbelief.types import Score


@dataclass(frozen=True)
class LeakBound(Aggregate):
    """Share of prompts that leak, with the exact bound "at most p, with 95 % confidence".

    Input: a rate per prompt (`leak_rate`, or any score of 0 or more). A prompt leaks when its score
    is above 0, that is when any of its responses leaked: responses of one prompt are correlated and
    are no independent trials, prompts are taken as such. The interval is one-sided, from 0 to the
    Clopper-Pearson bound: no leak among 400 prompts still allows 0.75 %. Prompts of one author are
    not independent either; `over=clusters` counts authors, of whom any prompt may leak.

    Attributes:
        over: `items` or `clusters`.

    Source: Clopper and Pearson 1934.
    """

    name: ClassVar[str] = "leak_bound"
    summary: ClassVar[str] = "share of prompts that ever leak, with an exact 95 % upper bound"
    unit: ClassVar[str] = "share"
    source: ClassVar[str] = "Clopper and Pearson 1934"

    over: Literal["items", "clusters"] = "items"

    def combine(
        self, inputs: Sequence[Statistic], reference: Sequence[Statistic] | None
    ) -> Statistic:
        """The share of leaking prompts (or clusters) and its bound."""
        (rates,) = expect(inputs, 1, self.name)
        if not any(s.value is not None for s in rates.scores):
            return missing(
                "; ".join(rates.reasons) or "no prompt was scored",
                unit=self.unit,
                version=self.version,
            )
        found = list(rates.scores)
        if self.over == "clusters":
            found = _by_cluster(found)
        leaks = [s if s.value is None else replace(s, value=float(s.value > 0)) for s in found]
        bound = rate_statistic(leaks, unit=self.unit, version=self.version, side="upper")
        interval = f"exact binomial 95 % upper bound over {self.over}, any response leaking"
        return replace(bound, interval=interval)


def _by_cluster(scores: Sequence[Score]) -> list[Score]:
    """The highest score of each cluster; unscored when one of its items is and none leaked."""
    names, index = cluster_index(scores)
    out = []
    for i, name in enumerate(names):
        own = [s for s, j in zip(scores, index, strict=True) if j == i]
        values = [s.value for s in own if s.value is not None]
        lost = [s for s in own if s.value is None]
        if lost and not any(v > 0 for v in values):
            out.append(Score(None, lost[0].unscored, name))
        else:
            out.append(Score(max(values), None, name))
    return out
