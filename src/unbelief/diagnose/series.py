"""Points to curves: per prompt and step, the target, each band, and the user's responses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unbelief.diagnose.bands import BANDS, Band
from unbelief.diagnose.candidates import CandidateSet
from unbelief.diagnose.points import Point, check_steps

Form = Literal["whole", "own", "probability"]
"""How the high band is looked at: mean log-probability of whole candidates, or of their tokens from
where they leave the target, or their summed probability."""
NO_HIGH = "no candidate besides the answer itself"
NOT_FINITE = "the model gave non-finite log-probabilities"


@dataclass(frozen=True)
class Series:
    """Curves of every prompt. P prompts, T points; NaN where something is not there.

    Log-probabilities are means over an answer's tokens (nats per token), a band's is the mean of
    its candidates'. A band's mass is Σ π(y | x) over its candidates: they are different texts, so
    the sum is a probability, and a lower bound of that of all such answers.

    Attributes:
        record_ids: P ids.
        groups: P clusters; None is a cluster by itself.
        steps: T places along the series, the first 0.
        labels: T names.
        target: (P, T) log-probability of the target.
        target_mass: (P, T) its probability.
        bands: (P, T) per band.
        band_masses: (P, T) per band.
        own: (P, T) per band, of the candidates' own parts: from the first token on in which they
            differ from the target, given what they share with it.
        shared: Per band, the mean share of a candidate's tokens that it begins with like the
            target; NaN where there is no candidate.
        responses: (P, T) by name.
        belief_mass: (P, T) mean of S_k over the target's tokens.
        entropy: (P, T) mean entropy on the target's tokens, nats.
    """

    record_ids: tuple[str, ...]
    groups: tuple[str | None, ...]
    steps: tuple[int, ...]
    labels: tuple[str, ...]
    target: np.ndarray
    target_mass: np.ndarray
    bands: Mapping[Band, np.ndarray]
    band_masses: Mapping[Band, np.ndarray]
    own: Mapping[Band, np.ndarray]
    shared: Mapping[Band, float]
    responses: Mapping[str, np.ndarray]
    belief_mass: np.ndarray
    entropy: np.ndarray

    def pair(self, form: Form = "whole") -> tuple[np.ndarray, np.ndarray]:
        """(P, T) curves of the target and of the high band, in the same unit."""
        if form == "probability":
            return self.target_mass, self.band_masses["high"]
        return self.target, self.bands["high"] if form == "whole" else self.own["high"]

    def scored(self, form: Form = "whole") -> np.ndarray:
        """(P,) whether target and high band have finite values everywhere."""
        target, high = (np.isfinite(curve).all(axis=1) for curve in self.pair(form))
        scored: np.ndarray = target & high
        return scored

    def unscored(self, form: Form = "whole") -> dict[str, int]:
        """Why prompts have no index, with counts."""
        target, high = self.pair(form)
        absent = np.isnan(high).all(axis=1) & np.isfinite(target).all(axis=1)
        reasons = [NO_HIGH if a else NOT_FINITE for a in absent[~self.scored(form)]]
        return dict(Counter(reasons))


def series_of(
    points: Sequence[Point], candidates: CandidateSet, groups: Mapping[str, str | None]
) -> Series:
    """Put the points of a series together.

    Args:
        points: Of the same answers; in any order.
        candidates: Says which band a candidate is in.
        groups: Cluster of each record by id.

    Raises:
        RequestError: There is no point 0.
    """
    ordered = sorted(points, key=lambda p: p.step)
    check_steps(ordered)
    ids = candidates.meta.record_ids
    band_of = {(c.record_id, str(c.rank)): c.band for c in candidates.candidates}
    names = dict.fromkeys(r.name for r in ordered[0].readings if r.role == "response")
    index = {name: i for i, name in enumerate(ids)}
    shape = (len(ids), len(ordered))
    keys = ("target", *BANDS, *(f"={n}" for n in names), *(f"own {band}" for band in BANDS))
    sums = {key: np.zeros(shape) for key in keys}
    counts = {key: np.zeros(shape) for key in sums}
    masses = {key: np.zeros(shape) for key in sums}
    belief, entropy = np.full(shape, np.nan), np.full(shape, np.nan)
    shares: dict[str, list[float]] = {band: [] for band in BANDS}
    for t, point in enumerate(ordered):
        for r in point.readings:
            key = {"target": "target", "response": f"={r.name}"}.get(r.role)
            key = band_of[r.record_id, r.name] if key is None else key
            at = index[r.record_id], t
            sums[key][at] += r.per_token
            counts[key][at] += 1
            masses[key][at] += np.exp(r.log_prob)
            if r.role == "candidate" and not t:
                shares[key].append(1 - (r.own_tokens or 0) / r.tokens)
            if r.role == "candidate" and r.own_per_token is not None:
                sums[f"own {key}"][at] += r.own_per_token
                counts[f"own {key}"][at] += 1
            if r.mass is not None and r.entropy is not None:
                belief[at], entropy[at] = r.mass, r.entropy
    with np.errstate(invalid="ignore"):
        means = {key: total / counts[key] for key, total in sums.items()}
    shown = {key: np.where(counts[key] > 0, mass, np.nan) for key, mass in masses.items()}
    return Series(
        record_ids=ids,
        groups=tuple(groups.get(name) for name in ids),
        steps=tuple(p.step for p in ordered),
        labels=tuple(p.label for p in ordered),
        target=means["target"],
        target_mass=shown["target"],
        bands={band: means[band] for band in BANDS},
        band_masses={band: shown[band] for band in BANDS},
        own={band: means[f"own {band}"] for band in BANDS},
        shared={band: _mean(shares[band]) for band in BANDS},
        responses={name: means[f"={name}"] for name in names},
        belief_mass=belief,
        entropy=entropy,
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
