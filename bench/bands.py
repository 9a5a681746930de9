"""How far do likelihood bands stand for the exact leak? Measured in the lab, where both are known.

In a generated world every way to state a fact is enumerable, so the probability of the true fact
in other words than the target's (the *other mass*) is summed exactly, before and along unlearning.
The same runs are followed the way `unbelief diagnose squeeze` follows a real model: candidates by
beam search from the original model, bands, mean log-probabilities. Reported, over prompts of the
people to be forgotten, with intervals over people:

* what the bands are made of: other phrasings of the fact, false facts, broken text;
* level: probability of a band / exact other mass, above 1 it overstates;
* movement: rank correlation over prompts and recorded steps between the band's change and the
  exact other mass's, both in nats since the start;
* sign: how often the band and the exact mass agree on whether the others had risen when the
  target had lost half of its probability;
* index: rank correlation over prompts of the squeeze index with the exact one,
  max min(rise of other mass, fall of target mass).

    python bench/bands.py --seeds 3 --output bench/results/bands.json
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from unbelief.diagnose import ProposeOptions, SqueezeMeter, propose_candidates
from unbelief.diagnose.agreement import pooled_ratio, rank_correlation, share
from unbelief.diagnose.bands import BANDS
from unbelief.diagnose.candidates import CandidateSet, normalised
from unbelief.diagnose.document import FORMS
from unbelief.diagnose.index import squeeze_index
from unbelief.diagnose.points import Point
from unbelief.diagnose.series import Series, series_of
from unbelief.lab.masses import MassMeter, questions
from unbelief.lab.plan import LONGEST_BELIEF, prepared_methods, record_steps
from unbelief.lab.pretrain import PretrainConfig, train_or_load
from unbelief.lab.world import World, WorldConfig, make_world
from unbelief.models.load import in_memory
from unbelief.models.runner import AnswerModel
from unbelief.provenance import environment, utc_now
from unbelief.tokens.encode import Encoder
from unbelief.train.options import TrainOptions
from unbelief.types import Estimate
from unbelief.unlearner import Unlearner

METHODS = ("graddiff", "npo", "wga", "bs-t", "bs-s")
KINDS = ("other phrasing", "false fact", "broken text")


@dataclass
class Recorder:
    """A hook that measures bands and exact masses at the same steps."""

    bands: SqueezeMeter
    masses: MassMeter
    steps: frozenset[int]
    every: int = 1
    points: list[Point] = field(default_factory=list)
    target: list[np.ndarray] = field(default_factory=list)
    other: list[np.ndarray] = field(default_factory=list)

    def __call__(self, step: int, model: AnswerModel) -> None:
        """Measure, if it is time."""
        if step not in self.steps:
            return
        exact = self.masses.measure(model.inner)
        self.points.append(Point(step=step, label=str(step), readings=self.bands.measure(model)))
        self.target.append(exact.target)
        self.other.append(exact.leak - exact.target)


@dataclass(frozen=True)
class Run:
    """One method on one world. P prompts, T points.

    Attributes:
        method: Its name.
        people: P clusters.
        series: What the bands show.
        target: (P, T) exact probability of the target.
        other: (P, T) exact probability of the fact in other words.
    """

    method: str
    people: tuple[str, ...]
    series: Series
    target: np.ndarray
    other: np.ndarray


def runs_of_world(seed: int, args: argparse.Namespace) -> tuple[list[Run], dict[str, Any]]:
    """All methods on one world, and what its bands are made of."""
    config = WorldConfig(seed=seed)
    pretrained = PretrainConfig(seed=seed, steps=args.pretrain_steps)
    original = train_or_load(config, "original", pretrained, args.cache)
    world, encoder = make_world(config), Encoder(original.tokenizer)
    records = world.records("forget")
    options = ProposeOptions(
        candidates=args.candidates, rank_by=args.rank_by, max_new_tokens=LONGEST_BELIEF
    )
    candidates = propose_candidates(
        original.model, encoder, records, options, model_sha256=original.weights_sha256
    )
    asked = questions(world, encoder, world.part("forget"))
    assert [q.key.split("/")[1] for q in asked] == [r.id.split("/")[1] for r in records]
    runs = []
    for info, objective in prepared_methods(METHODS):
        total = round(args.epochs * -(-len(records) // args.pairs))
        recorder = Recorder(
            SqueezeMeter(encoder, records, candidates),
            MassMeter(asked, natural=True),
            record_steps(total),
        )
        fresh = in_memory(copy.deepcopy(original.model), original.tokenizer)
        Unlearner(
            model=fresh,
            forget=records,
            retain=world.drawn_records("retain", seed),
            objective=objective,
            train=TrainOptions(
                learning_rate=args.learning_rate,
                num_train_epochs=args.epochs,
                per_device_train_batch_size=args.pairs,
                gradient_accumulation_steps=1,
                seed=seed,
            ),
            device="cpu",
            hooks=[recorder],
            progress=False,
        ).fit()
        runs.append(
            Run(
                method=info.label,
                people=tuple(f"{seed}/{r.group}" for r in records),
                series=series_of(recorder.points, candidates, {r.id: r.group for r in records}),
                target=np.stack(recorder.target, axis=1),
                other=np.stack(recorder.other, axis=1),
            )
        )
        print(f"world {seed}: {info.label} done", flush=True)
    return runs, composition(world, candidates)


def composition(world: World, candidates: CandidateSet) -> dict[str, Any]:
    """Counts of each kind in each band, and in which band the other phrasings were found."""
    counts = {band: dict.fromkeys(KINDS, 0) for band in BANDS}
    found = dict.fromkeys((*BANDS, "not found"), 0)
    for person in world.part("forget"):
        for attribute in world.attributes:
            record = f"{person.name.replace(' ', '-').lower()}/{attribute.name}"
            answers = world.grammatical_answers(person, attribute)
            truth = {normalised(a.text): a.true for a in answers}
            own = {normalised(c.text): c for c in candidates.of(record)}
            for text, candidate in own.items():
                kind = {True: KINDS[0], False: KINDS[1], None: KINDS[2]}[truth.get(text)]
                counts[candidate.band][kind] += 1
            for answer in answers:
                if answer.true and answer.phrasing:
                    hit = own.get(normalised(answer.text))
                    found["not found" if hit is None else hit.band] += 1
    return {"bands": counts, "other_phrasings": found}


def at_half(run: Run) -> np.ndarray:
    """(P,) first point at which each prompt's target had lost half; the last where it never did."""
    below = run.target <= run.target[:, :1] / 2
    return np.where(below.any(axis=1), below.argmax(axis=1), below.shape[1] - 1)


def agreement(runs: Sequence[Run]) -> dict[str, Estimate]:
    """Level, movement, sign and index over some runs."""
    people = [p for run in runs for p in run.people]
    prompts = [np.arange(len(run.people)) for run in runs]
    halves = [at_half(run) for run in runs]
    last = [np.full(len(run.people), run.other.shape[1] - 1) for run in runs]
    first = [np.zeros(len(run.people), int) for run in runs]
    out: dict[str, Estimate] = {}
    for name, bands in (("high", ("high",)), ("all", BANDS)):
        for when, where in (("at the start", first), ("at half", halves), ("at the end", last)):
            mass = np.concatenate(
                [
                    sum(np.nan_to_num(run.series.band_masses[b]) for b in bands)[i, t]
                    for run, i, t in zip(runs, prompts, where, strict=True)
                ]
            )
            exact = np.concatenate(
                [run.other[i, t] for run, i, t in zip(runs, prompts, where, strict=True)]
            )
            out[f"level of {name} {when}"] = pooled_ratio(mass, exact, people)
    movements = {
        "mean log-probability": lambda s: s.bands["high"],
        "mean log-probability of the own part": lambda s: s.own["high"],
        "log of its probability": lambda s: np.log(s.band_masses["high"].clip(1e-300)),
    }
    spread = [p for run in runs for p in run.people for _ in range(run.other.shape[1] - 1)]
    exact = [_since_start(np.log(run.other.clip(1e-300))) for run in runs]
    for name, pick in movements.items():
        shown = [_since_start(pick(run.series)) for run in runs]
        out[f"movement, {name}"] = rank_correlation(
            np.concatenate([s.ravel() for s in shown]),
            np.concatenate([e.ravel() for e in exact]),
            spread,
        )
        agree = [
            (_at(pick(run.series), h) > 0) == (_at(run.other, h) > 0)
            for run, h in zip(runs, halves, strict=True)
        ]
        out[f"sign, {name}"] = share(np.concatenate(agree), people)
    out["exact masses that rose"] = share(
        np.concatenate([_at(run.other, h) > 0 for run, h in zip(runs, halves, strict=True)]), people
    )
    exact_index = np.concatenate([squeeze_index(run.target, run.other) for run in runs])
    for form in FORMS:
        shown_index = np.concatenate([squeeze_index(*run.series.pair(form)) for run in runs])
        out[f"index, {form}"] = rank_correlation(shown_index, exact_index, people)
    shown_index = np.concatenate([squeeze_index(*r.series.pair("probability")) for r in runs])
    out["index in probability / exact"] = pooled_ratio(shown_index, exact_index, people)
    return out


def _since_start(values: np.ndarray) -> np.ndarray:
    return values[:, 1:] - values[:, :1]


def _at(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(P,) change since the start at each prompt's own point."""
    return values[np.arange(len(values)), where] - values[:, 0]


def mean_curves(runs: Sequence[Run]) -> dict[str, list[float]]:
    """Means over prompts and worlds, for a look at the shape."""
    return {
        "steps": [float(s) for s in runs[0].series.steps],
        "exact target": np.mean([r.target.mean(axis=0) for r in runs], axis=0).tolist(),
        "exact other": np.mean([r.other.mean(axis=0) for r in runs], axis=0).tolist(),
        "high, probability": np.mean(
            [r.series.band_masses["high"].mean(axis=0) for r in runs], axis=0
        ).tolist(),
        **{
            f"{name}, nats per token": np.mean(
                [
                    (r.series.target if name == "target" else r.series.bands[name]).mean(axis=0)  # type: ignore[index]
                    for r in runs
                ],
                axis=0,
            ).tolist()
            for name in ("target", *BANDS)
        },
        "high own, nats per token": np.mean(
            [r.series.own["high"].mean(axis=0) for r in runs], axis=0
        ).tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="worlds")
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--rank-by", choices=("sum", "mean"), default="sum")
    parser.add_argument("--learning-rate", type=float, default=4e-4)
    parser.add_argument("--epochs", type=float, default=10.0)
    parser.add_argument("--pairs", type=int, default=8, help="forget pairs per step")
    parser.add_argument("--pretrain-steps", type=int, default=600)
    parser.add_argument("--cache", type=Path, default=Path("lab-models"))
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()
    runs: list[Run] = []
    made = []
    for seed in range(args.seeds):
        of_world, parts = runs_of_world(seed, args)
        runs += of_world
        made.append(parts)
    by_method = {run.method: [r for r in runs if r.method == run.method] for run in runs}
    results = {"all": agreement(runs), **{m: agreement(own) for m, own in by_method.items()}}
    made_on = environment()
    document = {
        "created": utc_now(),
        "versions": {"python": made_on.python, **made_on.packages},
        "arguments": {k: str(v) for k, v in vars(args).items() if k not in ("output", "cache")},
        "seconds": round(time.monotonic() - started, 1),
        "composition": _added(made),
        "agreement": {m: {k: asdict(e) for k, e in found.items()} for m, found in results.items()},
        "curves": {m: mean_curves(own) for m, own in by_method.items()},
    }
    for name in results["all"]:
        print(f"\n{name}")
        for method, found in results.items():
            e = found[name]
            interval = "" if e.low is None else f" ({e.low:.2f} to {e.high:.2f})"
            print(f"  {method:8s} {e.value:.2f}{interval}  n = {e.n}")
    print(json.dumps(document["composition"]))
    if args.output:
        args.output.write_text(json.dumps(document) + "\n")


def _added(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if isinstance(value, dict):
                total[name] = _added([x for x in (total.get(name), value) if x])
            else:
                total[name] = total.get(name, 0) + value
    return total


if __name__ == "__main__":
    main()
