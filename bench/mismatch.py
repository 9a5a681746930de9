"""People of whom only some questions were named: the lab's mismatch between request and meaning.

    python bench/mismatch.py search                    # settings, on world 100
    python bench/mismatch.py identify --seeds 0 1 2    # who is found, and how well
    python bench/mismatch.py run --seeds 0 1 2         # what is reported
    python bench/mismatch.py table                     # Markdown of all results so far

Of every person to be forgotten two of four questions are handed over; the person is meant. All
other records, the two others of the same people among them, are to be kept, as somebody would who
knows no more than the request. `given` runs a method like that. `schedule` anneals its forget term
(TARF's k(t)). `gate` first ascends a little on what was handed over and takes as many people (or
rows) as are meant out of the retain set, those whose loss rose most; `clean` leaves them at that,
`ascend` hands them over too. `tarf` is schedule and gate (clean) together. `known` is told all that
is meant, and `known-clean` uses that to clean the retain set only. Everything has 120 steps of
eight forget pairs. Interrupted, a command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from lab_worlds import Results
from transplant import CHOSEN, GRID

ROWS, STEPS, PAIRS = 2, 120, 8
SEARCHED = 100
OUTPUT = Path("bench/results/mismatch.json")
ASCENT = {"steps": (1, 2, 4, 8, 16), "lr": 4e-4}
METHODS: dict[str, dict[str, Any]] = {
    # As chosen for the matched request on world 100; graddiff by `search` here.
    "graddiff": {"method": "graddiff", "lr": 8e-4, "retain_weight": 16.0},
    "wga": CHOSEN["wga"],
    "bs-t": CHOSEN["bs-t"],
    "transplant": {**CHOSEN["transplant"], "per_step": 2},  # a quarter of the work
}
# γ under the schedule, from the same two for every method; 3 makes up for the mean of k(t) (0.32).
GAMMAS = (1.0, 3.0)
# What `search` and `identify` chose on world 100 (six ascent rates and lengths that found as many
# people as these eight steps did are in the documentation).
SCHEDULED = {"graddiff": 3.0, "wga": 1.0, "bs-t": 3.0, "transplant": 3.0}
GATE = {"by": "group", "steps": 8}
VARIANTS = (
    "given", "schedule", "gate-clean", "gate-ascend", "tarf", "known-clean", "known"
)  # fmt: skip


class World:
    """One seed of the lab, the request in it, and what measures it."""

    def __init__(self, seed: int, cache: Path):
        from unbelief.lab import MassMeter, PretrainConfig, WorldConfig, make_world
        from unbelief.lab.masses import questions
        from unbelief.lab.pretrain import train_or_load
        from unbelief.tokens.encode import Encoder
        from unbelief.vision.rows import part_of_groups

        config, pretrain = WorldConfig(seed=seed), PretrainConfig(seed=seed)
        self.seed, world = seed, make_world(config)
        self.original = train_or_load(config, "original", pretrain, cache)
        self.retrained = train_or_load(config, "retrained", pretrain, cache)
        self.encoder = Encoder(self.original.tokenizer)
        usual = {r.id: r for r in world.records("forget")}
        drawn = [*world.drawn_records("forget", seed), *world.drawn_records("retain", seed)]
        self.request = part_of_groups(drawn, sorted(world.forget), ROWS, seed=seed)
        self.given = [usual[r.id] for r in self.request.forget]
        self.whole = list(usual.values())
        named = {r.id for r in self.given}
        self.named = np.array([r.id in named for r in self.whole])
        people, kept = world.part("forget"), world.part("retain")[:24]
        self._meant = MassMeter(questions(world, self.encoder, people), natural=True)
        self._kept = MassMeter(questions(world, self.encoder, kept, answers="true"), natural=False)
        self.target = self.masses(self.retrained.model)
        self._changes: dict[int, np.ndarray] | None = None

    def masses(self, model: Any) -> dict[str, float]:
        """Exact masses: leak of named and not named questions, natural, retained."""
        meant, kept = self._meant.measure(model), self._kept.measure(model)
        assert meant.natural is not None
        return {
            "named": float(meant.leak[self.named].mean()),
            "not named": float(meant.leak[~self.named].mean()),
            "natural": float(meant.natural.mean()),
            "retained": float(kept.leak.mean()),
        }

    def distance(self, masses: dict[str, float]) -> float:
        """Excess leak of all that is meant + |natural gap| + |retained gap| to the retrained."""
        gap = {k: masses[k] - self.target[k] for k in masses}
        leak = (gap["named"] + gap["not named"]) / 2  # as many of one as of the other
        return max(0.0, leak) + abs(gap["natural"]) + abs(gap["retained"])

    def fresh(self) -> Any:
        """The original model, to be changed."""
        from unbelief.models.load import in_memory

        return in_memory(
            copy.deepcopy(self.original.model), self.original.tokenizer, source="lab original"
        )

    def losses(self, model: Any) -> np.ndarray:
        """(rest,) mean nats per token of the records that were not handed over."""
        from unbelief.measure import Plan, measure_examples
        from unbelief.scores.metrics.probability import Loss

        plan = Plan({"rest": self.request.rest}, {"rest": Loss().needs})
        examples = measure_examples(model, self.encoder, plan)["rest"]
        return np.array([Loss().value(example) for example in examples])

    def changes(self) -> dict[int, np.ndarray]:
        """Change of those losses after some steps of plain ascent on what was handed over."""
        from unbelief.objectives import build_objective
        from unbelief.train.options import TrainOptions
        from unbelief.unlearner import Unlearner

        if self._changes is not None:
            return self._changes
        seen: dict[int, np.ndarray] = {}

        class Hook:
            every = 1

            def __call__(hook, step: int, model: Any) -> None:
                if step in (0, *ASCENT["steps"]):
                    seen[step] = self.losses(model)

        Unlearner(
            model=self.fresh(),
            forget=self.given,
            objective=build_objective("ga", {}, has_retain=False),
            train=TrainOptions(
                learning_rate=ASCENT["lr"],
                max_steps=max(ASCENT["steps"]),
                per_device_train_batch_size=PAIRS,
                gradient_accumulation_steps=1,
                lr_scheduler_type="constant",
                warmup_epochs=0,
                seed=self.seed,
            ),
            device="cpu",
            hooks=[Hook()],
            progress=False,
        ).fit()
        self._changes = {n: seen[n] - seen[0] for n in ASCENT["steps"]}
        return self._changes

    def likeness(self) -> np.ndarray:
        """(rest,) cosine of each record's gradient with the mean gradient of those handed over."""
        import torch

        from unbelief.tokens.batch import Row, collate

        model = copy.deepcopy(self.original.model).eval()
        parameters = [p for p in model.parameters() if p.requires_grad]

        def gradient(records: Any) -> Any:
            rows = []
            for record in records:
                e = self.encoder.encode(record)
                rows.append(Row(record.id, "retain", e.prompt_ids, e.answer_ids))
            batch = collate(rows, self.encoder.pad_id)
            logits = model(input_ids=batch.input_ids, use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(
                logits[batch.row, batch.position - 1], batch.target
            )
            return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])

        asked = gradient(self.given)
        return np.array(
            [
                float(torch.nn.functional.cosine_similarity(asked, gradient([r]), dim=0))
                for r in self.request.rest
            ]
        )

    def identify(self) -> dict[str, dict[str, float]]:
        """Precision (= recall: as many are taken as there are) by signal, by row and by person."""
        from unbelief.vision.gate import gate

        signals = {f"loss, {n} steps": change for n, change in self.changes().items()}
        # A cosine may be negative, and a gate takes sizes: shifted, the order is the same.
        signals["gradient"] = self.likeness() + 1.0
        true = {r.id for r in self.request.false_retain}
        people = len({r.group for r in self.given})
        out: dict[str, dict[str, float]] = {}
        for name, change in signals.items():
            row = gate(self.given, self.request.rest, change, len(true)).found
            group = gate(self.given, self.request.rest, change, people, by="group").found
            out[name] = {
                "row": sum(r.id in true for r in row) / len(row),
                "group": len({r.group for r in group} & {r.group for r in self.given}) / people,
            }
        return out

    def data(self, variant: str) -> tuple[list[Any], list[Any]]:
        """What a run forgets and keeps."""
        from unbelief.vision.gate import gate

        if variant in ("matched", "known"):
            return self.whole, list(self.request.retain)
        if variant == "known-clean":
            return self.given, list(self.request.retain)
        if variant in ("given", "schedule"):
            return self.given, list(self.request.rest)
        people = len({r.group for r in self.given})
        beyond = people if GATE["by"] == "group" else len(self.request.false_retain)
        made = gate(
            self.given,
            self.request.rest,
            self.changes()[int(GATE["steps"])],
            beyond,
            by=GATE["by"],  # type: ignore[arg-type]
            then="ascend" if variant == "gate-ascend" else "clean",
        )
        return list(made.forget), list(made.retain)

    def run(self, setting: dict[str, Any], variant: str) -> dict[str, Any]:
        """Unlearn once; masses at the end."""
        from unbelief.objectives import build_objective
        from unbelief.train.options import TrainOptions
        from unbelief.unlearner import Unlearner

        options = {k: v for k, v in setting.items() if k not in ("method", "lr")}
        started, cpu = time.monotonic(), time.process_time()
        forget, retain = self.data(variant)
        result = Unlearner(
            model=self.fresh(),
            forget=forget,
            retain=retain,
            objective=build_objective(setting["method"], {"retain": "nll", **options}),
            train=TrainOptions(
                learning_rate=setting["lr"],
                max_steps=STEPS,
                per_device_train_batch_size=PAIRS,
                gradient_accumulation_steps=1,
                seed=self.seed,
            ),
            method=setting["method"],
            device="cpu",
            progress=False,
        ).fit()
        end = self.masses(result.model.inner)
        return {
            **end,
            "distance": self.distance(end),
            "forget rows": len(forget),
            "retain rows": len(retain),
            "cpu_seconds": round(time.process_time() - cpu, 1),
            "seconds": round(time.monotonic() - started, 1),
        }


def setting_of(method: str, variant: str, gamma: float | None = None) -> dict[str, Any]:
    """A method's options in a variant."""
    own = dict(METHODS[method])
    if variant in ("schedule", "tarf"):
        own |= {"weights": "schedule", "forget_weight": gamma or SCHEDULED[method]}
    return own


def searches() -> dict[str, tuple[dict[str, Any], str]]:
    """What is tried on the world that is not reported, with a matched request."""
    tried = {
        f"graddiff lr={lr:g} retain={weight:g}": (
            {"method": "graddiff", "lr": lr, "retain_weight": weight},
            "matched",
        )
        for lr, weight in GRID
    }
    for method in METHODS:
        for gamma in GAMMAS:
            own = setting_of(method, "schedule", gamma)
            tried[f"{method} schedule γ={gamma:g}"] = (own, "matched")
    return tried


def carry_out(
    results: Results, part: str, seeds: list[int], cache: Path, only: list[str] | None
) -> None:
    done = results.part(part)
    for seed in seeds:
        world = None
        for name, (setting, variant) in wanted(part).items():
            if only and not any(word in name for word in only):
                continue
            entry = done.setdefault(name, {"setting": setting, "variant": variant, "seeds": {}})
            if entry["setting"] != setting:
                raise SystemExit(f"{name} has other settings in the results: {entry['setting']}")
            if str(seed) in entry["seeds"]:
                continue
            world = world or World(seed, cache)
            found = world.run(setting, variant)
            entry["seeds"][str(seed)] = found
            results.part("references").setdefault(str(seed), {}).update(
                retrained=world.target, original=world.masses(world.original.model)
            )
            results.save()
            print(part, seed, name, found, flush=True)


def wanted(part: str) -> dict[str, tuple[dict[str, Any], str]]:
    """Runs of a part by name."""
    if part == "search":
        return searches()
    # Variant by variant, so that a run that is stopped has whole comparisons.
    return {
        f"{method} {variant}": (setting_of(method, variant), variant)
        for variant in VARIANTS
        for method in METHODS
    }


def table(results: Results) -> str:
    """Markdown: means with 95 % t-intervals over worlds."""
    names = ("named", "not named", "natural", "retained")
    done, references = results.part("run"), results.part("references")
    lines = ["| | worlds | " + " | ".join(names) + " | distance |", "|---" * 7 + "|"]
    seeds = sorted({s for e in done.values() for s in e["seeds"]}, key=int)
    for role in ("original", "retrained"):
        cells = [interval([references[s][role][n] for s in seeds], 0, 1) for n in names]
        lines.append(f"| {role} | {len(seeds)} | " + " | ".join(cells) + " | |")
    ordered = sorted(done, key=lambda name: _order(*name.rsplit(" ", 1)))
    for name in ordered:
        rows = list(done[name]["seeds"].values())
        cells = [interval([r[n] for r in rows], 0, 1) for n in names]
        cells.append(interval([r["distance"] for r in rows], 0, 3))
        lines.append(f"| {name} | {len(rows)} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_differences(done, ordered), "", *_found(results)])


def _order(method: str, variant: str) -> tuple[int, int]:
    return list(METHODS).index(method), VARIANTS.index(variant)


def _differences(done: dict[str, Any], ordered: list[str]) -> list[str]:
    """World by world, a variant minus `given` of the same method."""
    names = ("named", "not named", "retained", "distance")
    lines = ["| minus `given` | worlds | " + " | ".join(names) + " |", "|---" * 6 + "|"]
    for name in ordered:
        method, variant = name.rsplit(" ", 1)
        own, plain = done[name]["seeds"], done.get(f"{method} given", {"seeds": {}})["seeds"]
        both = [s for s in own if s in plain]
        if variant == "given" or not both:
            continue
        cells = [interval([own[s][n] - plain[s][n] for s in both], -3, 3, "+") for n in names]
        lines.append(f"| {name} | {len(both)} | " + " | ".join(cells) + " |")
    return lines


def _found(results: Results) -> list[str]:
    """Shares of those found that are meant, by signal."""
    lines = ["| signal | by row | by person |", "|---|---|---|"]
    found = results.part("identify")
    for signal in next(iter(found.values()), {}):
        rows = [v[signal] for s, v in found.items() if int(s) != SEARCHED]
        cells = " | ".join(interval([r[by] for r in rows], 0, 1) for by in ("row", "group"))
        lines.append(f"| {signal} | {cells} |")
    return lines


def interval(values: list[float], least: float, largest: float, sign: str = "") -> str:
    """Mean (t-interval), cut where the quantity ends."""
    from unbelief.lab.intervals import seed_mean

    form = f"{sign}.3f"
    if len(values) < 2:
        return f"{values[0]:{form}}"
    e = seed_mean(values)
    assert e.value is not None and e.low is not None and e.high is not None
    low, high = max(e.low, least), min(e.high, largest)
    return f"{e.value:{form}} ({low:{form}} to {high:{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=("search", "identify", "run", "table"))
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--only", nargs="*", help="runs whose name has one of these words")
    parser.add_argument("--cache", type=Path, default=Path("runs/mismatch/models"))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    results = Results(args.output)
    if args.command == "table":
        print(table(results))
        return
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.disable_progress_bar()
    seeds = args.seeds or ([SEARCHED] if args.command == "search" else [0, 1, 2])
    if args.command != "identify":
        carry_out(results, args.command, seeds, args.cache, args.only)
        return
    found = results.part("identify")
    for seed in seeds:
        found[str(seed)] = World(seed, args.cache).identify()
        results.save()
        print(seed, json.dumps(found[str(seed)]), flush=True)


if __name__ == "__main__":
    main()
