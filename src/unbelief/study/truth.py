"""Which metric tells the truth: metrics against exact masses over many lab models.

Metrics are turned first so that for all of one family higher means the same: more leak, more
natural, more kept. A metric that tells the truth then has correlation 1 with the mass it is meant
to show, and never prefers a model that failed to one that forgot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from unbelief.errors import RequestError
from unbelief.study import correlation
from unbelief.study.failures import DEFAULT, FAILURES, Limits, Masses, Outcome, distance, outcome
from unbelief.study.truth_lines import EXACT, Candidate
from unbelief.study.truth_result import (
    MASSES,
    MEANT,
    REFERENCES,
    Fooled,
    Mass,
    MetricTruth,
    Truth,
)
from unbelief.study.truth_rows import Row
from unbelief.types import Estimate

LEAST = 5
_BY_METHOD, _BY_RUN = "methods", "runs"
_NO_SHARES = ("mia_auc", "squeeze")


def analyse(
    rows: Sequence[Row],
    lines: Sequence[Candidate],
    *,
    limits: Limits = DEFAULT,
    seed: int = 0,
    draws: int = correlation.DRAWS,
) -> Truth:
    """Hold every metric against the exact masses.

    Args:
        rows: The models, with `original` and `retrained` of every world.
        lines: The metrics.
        limits: Where outcomes end.
        seed: Of the resampling.
        draws: Number of resamples.

    Raises:
        RequestError: Fewer than 5 models, or a world without its reference models.
    """
    rows = [_with_exact(row) for row in rows]
    models = [row for row in rows if row.method not in REFERENCES]
    if len(models) < LEAST:
        raise RequestError(
            f"{len(models)} models are too few for a correlation",
            where="models",
            remedy=f"measure at least {LEAST}; 200 and more make the intervals useful",
        )
    known = {(row.seed, row.method): row for row in rows if row.method in REFERENCES}
    for world in {row.seed for row in models}:
        for name in REFERENCES:
            if (world, name) not in known:
                raise RequestError(f"world {world} has no {name} model", where="rows")
    try:
        outcomes = {row.key: _outcome(row, known, limits) for row in models}
    except ValueError as error:
        raise RequestError(
            str(error), where="lab", remedy="train the lab's models for more steps"
        ) from None
    truth = _Truth(models, known, outcomes, seed, draws)
    return Truth(
        metrics=tuple(truth.of(line) for line in (*EXACT, *lines)),
        outcomes=dict(Counter(outcomes.values())),
        by_method={
            name: dict(Counter(outcomes[r.key] for r in models if r.method == name))
            for name in dict.fromkeys(r.method for r in models)
        },
        models=len(models),
    )


def turned(value: float, line: Candidate) -> float:
    """A metric's value, turned so that higher is more leak, more natural or more kept."""
    upright = line.good == ("low" if line.family == "leak" else "high")
    return value if upright else -value


def preferred(failed: np.ndarray, forgot: np.ndarray, comparable: np.ndarray) -> np.ndarray:
    """(F, G) 1 where a failed model looks better than one that forgot, ½ at a tie; lower is better.

    Args:
        failed: (F,) badness of models that failed.
        forgot: (G,) badness of models that forgot.
        comparable: (F, G) whether two are of one world; 0 elsewhere.
    """
    better = (np.sign(forgot[None, :] - failed[:, None]) + 1) / 2
    found: np.ndarray = better * comparable
    return found


@dataclass(frozen=True)
class _Truth:
    models: Sequence[Row]
    known: Mapping[tuple[int, str], Row]
    outcomes: Mapping[str, Outcome]
    seed: int
    draws: int

    def of(self, line: Candidate) -> MetricTruth:
        scored = [row for row in self.models if row.metrics.get(line.name) is not None]
        lost = len(self.models) - len(scored)
        meant = MEANT[line.family]
        found = self._correlations(line, scored, lost, meant)
        return MetricTruth(
            name=line.name,
            title=line.title,
            family=line.family,
            meant=meant,
            spearman={mass: found[mass] for mass in MASSES},
            kendall=found["kendall"],
            within=found["within"],
            changed=found["changed"],
            beyond_target=found.get("beyond"),
            error=found.get("error"),
            fooled={failure: self._fooled(line, failure) for failure in FAILURES},
            reasons=dict(Counter(
                row.unscored.get(line.name, "it was not measured")
                for row in self.models if row.metrics.get(line.name) is None
            )),
        )  # fmt: skip

    def _correlations(
        self, line: Candidate, scored: Sequence[Row], lost: int, meant: Mass
    ) -> dict[str, Estimate]:
        def stated(values: np.ndarray) -> Estimate:
            return correlation.estimate(values, len(scored), lost, "correlation", _BY_METHOD)

        names = (
            *MASSES,
            "kendall",
            "within",
            "changed",
            *(("beyond",) if line.family == "leak" else ()),
        )
        if len(scored) < LEAST:
            return dict.fromkeys(names, stated(np.array([np.nan])))
        w = correlation.resamples([row.method for row in scored], self.seed, self.draws)
        x = np.array([turned(float(row.metrics[line.name] or 0), line) for row in scored])
        masses = {mass: np.array([self._mass(row, mass) for row in scored]) for mass in MASSES}
        rank = {mass: correlation.ranks(values, w) for mass, values in masses.items()}
        own = correlation.ranks(x, w)
        raw = {mass: correlation.pearson(own, rank[mass], w) for mass in MASSES}
        out: dict[str, Estimate] = {mass: stated(values) for mass, values in raw.items()}
        out["kendall"] = stated(correlation.kendall(x, masses[meant], w))
        groups = [f"{row.seed}/{row.method}" for row in scored]
        out["within"] = stated(correlation.within(own, rank[meant], groups, w))
        out["changed"] = self._among_changed(line, scored, lost, meant)
        if line.family == "leak":
            both = correlation.pearson(rank["leak"], rank["target"], w)
            out["beyond"] = stated(correlation.partial(raw["leak"], raw["target"], both))
        if line.family == "leak" and line.good == "low" and line.name not in _NO_SHARES:
            misses = (w @ np.abs(x - masses["leak"])) / w.sum(axis=1)
            out["error"] = replace(stated(misses), unit="probability")
        return out

    def _among_changed(
        self, line: Candidate, scored: Sequence[Row], lost: int, meant: Mass
    ) -> Estimate:
        rows = [row for row in scored if self.outcomes[row.key] != "untouched"]
        value = np.array([np.nan])
        if len(rows) >= LEAST:
            w = correlation.resamples([row.method for row in rows], self.seed, self.draws)
            x = np.array([turned(float(row.metrics[line.name] or 0), line) for row in rows])
            value = correlation.spearman(x, np.array([self._mass(r, meant) for r in rows]), w)
        return correlation.estimate(value, len(rows), lost, "correlation", _BY_METHOD)

    def _mass(self, row: Row, mass: Mass) -> float:
        if mass == "distance":
            return distance(row.masses, self.known[row.seed, "retrained"].masses)
        return float(getattr(row.masses, mass))

    def _fooled(self, line: Candidate, failure: Outcome) -> Fooled:
        """The retrained model itself forgot too; by distance it would win every time."""
        failed = [r for r in self.models if self.outcomes[r.key] == failure]
        forgot = [r for r in self.models if self.outcomes[r.key] == "forgotten"]
        ideal = [row for (_, name), row in self.known.items() if name == "retrained"]
        return Fooled(
            by_value=self._preference(line, failed, [*forgot, *ideal], near=False),
            by_distance=self._preference(line, failed, forgot, near=True),
            models=len(failed),
            forgotten=len(forgot),
        )

    def _preference(
        self, line: Candidate, failed: Sequence[Row], forgot: Sequence[Row], *, near: bool
    ) -> Estimate:
        both = [r for r in (*failed, *forgot) if self._badness(r, line, near) is not None]
        lost = len(failed) + len(forgot) - len(both)
        bad = {r.key for r in failed}
        side = np.array([r.key in bad for r in both], bool)
        if not side.any() or side.all():
            none = correlation.estimate(np.array([np.nan]), 0, lost, "share", _BY_RUN)
            return _because(none, "one side has no scored models")
        w = correlation.resamples(
            [f"{r.seed}/{r.method}/{r.learning_rate}" for r in both], self.seed, self.draws
        )
        value = np.array([self._badness(r, line, near) for r in both], float)
        world = np.array([r.seed for r in both])
        comparable = (world[side][:, None] == world[~side][None, :]).astype(float)
        wins = preferred(value[side], value[~side], comparable)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = ((w[:, side] @ wins) * w[:, ~side]).sum(axis=1) / (
                (w[:, side] @ comparable) * w[:, ~side]
            ).sum(axis=1)
        found = correlation.estimate(share, int(comparable.sum()), lost, "share", _BY_RUN)
        return found if found.value is not None else _because(found, "no world has both")

    def _badness(self, row: Row, line: Candidate, near: bool) -> float | None:
        value = row.metrics.get(line.name)
        if value is None:
            return None
        if near:
            ideal = self.known[row.seed, "retrained"].metrics.get(line.name)
            return None if ideal is None else abs(value - ideal)
        return value if line.good == "low" else -value


def _with_exact(row: Row) -> Row:
    """The exact masses go through the same comparison: what a perfect metric would show."""
    exact = {line.name: float(getattr(row.masses, MEANT[line.family])) for line in EXACT}
    return replace(row, metrics={**row.metrics, **exact})


def _outcome(row: Row, known: Mapping[tuple[int, str], Row], limits: Limits) -> Outcome:
    original, retrained = (known[row.seed, name].masses for name in REFERENCES)
    return outcome(row.masses, original, retrained, limits)


def _because(estimate: Estimate, reason: str) -> Estimate:
    values = asdict(estimate)
    return Estimate(**{**values, "reasons": {reason: 1}})


def masses_of(rows: Sequence[Row]) -> dict[str, dict[str, Masses]]:
    """Masses of the reference models, by world."""
    worlds: dict[str, dict[str, Masses]] = {}
    for row in rows:
        if row.method in REFERENCES:
            worlds.setdefault(f"world {row.seed}", {})[row.method] = row.masses
    return worlds
