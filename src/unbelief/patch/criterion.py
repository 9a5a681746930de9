"""What counts as forgotten: less of a leak score, or a distribution like the retrained model's."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unbelief.calibrate.scoring import steering, value_of
from unbelief.errors import RequestError
from unbelief.scores.aggregates.forget_quality import ForgetQuality
from unbelief.scores.base import Metric, Statistic
from unbelief.scores.conventions import metric
from unbelief.scores.statistics import difference

QUALITY = "forget_quality"


@dataclass(frozen=True, kw_only=True)
class Forgetting:
    """A criterion on forget records.

    Attributes:
        name: As it was asked for.
        metric: What is measured.
        retrained: The same of the retrained model, for `forget_quality`.
    """

    name: str
    metric: Metric
    retrained: Statistic | None = None

    def value(self, own: Statistic) -> float:
        """Higher for more forgotten: −M, or ln p of the test against the retrained model.

        Raises:
            RequestError: It cannot be computed.
        """
        if self.name != QUALITY:
            return -value_of(own, f"{self.name} on the forget records")
        assert self.retrained is not None
        for one in (own, self.retrained):
            value_of(one, "truth_ratio on the forget records")
        found = ForgetQuality(scale="ln").combine([own], [self.retrained])
        return value_of(found, "forget_quality on the forget records")

    def share(self, own: Statistic, base: Statistic) -> float:
        """How much of the way is made, in [0, 1] but for what is below 0: 1 − M / M_o, or p."""
        if self.name == QUALITY:
            return math.exp(self.value(own))
        return 1 - value_of(own, self.name) / value_of(base, self.name)

    def influence(self, own: Statistic, base: Statistic) -> Statistic:
        """What a part changes: M_o − M, or ln p − ln p_o (which has no interval)."""
        if self.name == QUALITY:
            return Statistic(
                value=self.value(own) - self.value(base),
                n=own.n,
                n_unscored=own.n_unscored,
                unit="ln probability",
                interval="none (a p-value)",
            )
        return difference(base, own)


def criterion(name: str, convention: str, retrained: Statistic | None = None) -> Forgetting:
    """The criterion of that name.

    Raises:
        RequestError: An unknown metric, or one that does not grow with what is known.
    """
    if name == QUALITY:
        return Forgetting(name=name, metric=metric("truth_ratio", convention), retrained=retrained)
    return Forgetting(name=name, metric=steering(name, convention, "--forgetting"))


def check_base(forgetting: Forgetting, base: Statistic) -> None:
    """Refuse an original that knows nothing of what was to be forgotten.

    Raises:
        RequestError: Its score on the forget records is 0.
    """
    if forgetting.name != QUALITY and value_of(base, forgetting.name) <= 0:
        raise RequestError(
            f"the original's {forgetting.name} on the forget records is 0: there is nothing to "
            "forget",
            where="--original",
            remedy="is it the model that knows the records? or choose another --forgetting",
        )
