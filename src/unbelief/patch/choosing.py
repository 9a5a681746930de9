"""Single influences, their order, and how many: all on the validation records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unbelief.calibrate.pair import Pair
from unbelief.calibrate.scoring import number, ratio, value_of
from unbelief.errors import GuardError, RequestError
from unbelief.patch.criterion import Forgetting, check_base
from unbelief.patch.ranking import Ranked, best_k, by_score, harmonic
from unbelief.scores.base import Metric, Statistic
from unbelief.scores.statistics import difference
from unbelief.types import Record


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Both criteria of one candidate on the validation records."""

    utility: Statistic
    forgetting: Statistic


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen, and everything it was chosen by.

    Attributes:
        parts: Exchanged parts, in the order in which they were taken.
        order: All parts by score.
        original: Readings of the original.
        unlearned: Readings of the unlearned model.
        single: By part, of the original with that part alone.
        sweep: With the first 1, 2, ... parts of the order.
        means: Harmonic mean of the two shares at each of these.
    """

    parts: tuple[str, ...]
    order: tuple[Ranked, ...]
    original: Reading
    unlearned: Reading
    single: Mapping[str, Reading]
    sweep: tuple[Reading, ...]
    means: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Chooser:
    """Tries parts of a pair on validation records.

    Attributes:
        pair: The two models.
        utility_name: Of the utility metric.
        utility: More is better, on retain records.
        forgetting: The criterion on forget records.
        forget: Validation records that were to be forgotten.
        retain: Validation records that were to stay.
        shown: A progress bar.
    """

    pair: Pair
    utility_name: str
    utility: Metric
    forgetting: Forgetting
    forget: Sequence[Record]
    retain: Sequence[Record]
    shown: Any

    def choose(self, units: Sequence[str], top_k: int | None) -> Choice:
        """Diagnose every part by itself, order them, and take as many as is best.

        Args:
            units: Labels, shallow to deep.
            top_k: How many, if that is settled.

        Raises:
            RequestError: The original has nothing to keep or to forget.
            GuardError: No number of parts forgets anything and keeps anything.
        """
        original = self._read({})
        check_base(self.forgetting, original.forgetting)
        if value_of(original.utility, self.utility_name) <= 0:
            raise RequestError(
                f"the original's {self.utility_name} on the retain records is 0: there is nothing "
                "to keep",
                where="--original",
                remedy="is it the model that knows the records? or choose another --utility",
            )
        unlearned = self._read(1.0)
        single = {unit: self._read({unit: 1.0}) for unit in units}
        order = by_score(
            units,
            [value_of(single[u].utility, self.utility_name) for u in units],
            [self.forgetting.value(single[u].forgetting) for u in units],
        )
        taken = [ranked.part for ranked in order]
        # The first of the order by itself has been read already.
        sweep = [single[taken[0]]]
        sweep += [self._read(dict.fromkeys(taken[:k], 1.0)) for k in range(2, len(taken) + 1)]
        means = [self._mean(reading, original) for reading in sweep]
        if top_k is None and max(means) == 0:
            raise GuardError(
                "no number of parts both forgets and keeps anything on the validation records",
                remedy="does the unlearned model forget at all? see unbelief audit; or another "
                "--granularity",
            )
        return Choice(
            parts=tuple(taken[: top_k or best_k(means)]),
            order=order,
            original=original,
            unlearned=unlearned,
            single=single,
            sweep=tuple(sweep),
            means=tuple(means),
        )

    def _read(self, alpha: float | Mapping[str, float]) -> Reading:
        with self.pair.blend.at(alpha):
            kept = self.pair.statistics(
                {"retain_validation": self.retain}, {self.utility_name: self.utility}
            )
            left = self.pair.statistics(
                {"forget_validation": self.forget}, {self.forgetting.name: self.forgetting.metric}
            )
        self.shown.update(1)
        return Reading(
            utility=kept["retain_validation"][self.utility_name],
            forgetting=left["forget_validation"][self.forgetting.name],
        )

    def _mean(self, reading: Reading, original: Reading) -> float:
        kept = ratio(reading.utility, original.utility).value
        assert kept is not None  # the original's is above 0
        return harmonic(kept, self.forgetting.share(reading.forgetting, original.forgetting))


def choice_document(
    choice: Choice, forgetting: Forgetting, top_k: int | None, convention: str
) -> dict[str, Any]:
    """What is written about the choice."""

    def reading(one: Reading) -> dict[str, Any]:
        return {
            "utility": number(one.utility, convention),
            "leak": number(one.forgetting, convention),
        }

    def influence(one: Reading) -> dict[str, Any]:
        lost = difference(one.utility, choice.original.utility)
        gained = forgetting.influence(one.forgetting, choice.original.forgetting)
        return {
            "utility_change": number(lost, convention),
            "forgetting_change": number(gained, convention),
        }

    k = len(choice.parts)
    return {
        "parts": list(choice.parts),
        "k": k,
        "k_chosen_by": "asked for" if top_k is not None else "harmonic mean on validation records",
        "original": reading(choice.original),
        "unlearned": reading(choice.unlearned),
        "order": [
            {
                "part": ranked.part,
                "utility_rank": ranked.utility_rank,
                "forgetting_rank": ranked.forgetting_rank,
                "score": ranked.score,
                **reading(choice.single[ranked.part]),
                **influence(choice.single[ranked.part]),
            }
            for ranked in choice.order
        ],
        "sweep": [
            {"k": i, "added": choice.order[i - 1].part, "harmonic_mean": mean, **reading(one)}
            for i, (one, mean) in enumerate(zip(choice.sweep, choice.means, strict=True), start=1)
        ],
        "additivity": _additivity(choice, forgetting),
    }


def _additivity(choice: Choice, forgetting: Forgetting) -> dict[str, float]:
    """Influence of the chosen parts together, and the sum of their single ones."""

    def changes(one: Reading) -> tuple[float, float]:
        lost = difference(one.utility, choice.original.utility).value
        gained = forgetting.influence(one.forgetting, choice.original.forgetting).value
        assert lost is not None and gained is not None
        return lost, gained

    together = changes(choice.sweep[len(choice.parts) - 1])
    single = [changes(choice.single[part]) for part in choice.parts]
    return {
        "utility_together": together[0],
        "utility_sum_of_singles": sum(s[0] for s in single),
        "forgetting_together": together[1],
        "forgetting_sum_of_singles": sum(s[1] for s in single),
    }
