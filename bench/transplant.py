"""Belief transplant against suppression: exact distances in the lab, and TOFU on a small model.

    python bench/transplant.py search --seeds 100 101      # learning rate and weights, other worlds
    python bench/transplant.py lab --seeds 0 1 2 3 4       # what is reported
    python bench/transplant.py ablate --seeds 0 1 2 3 4
    python bench/transplant.py tofu --model MODEL --retrained RETRAINED --data TOFU_FOLDER
    python bench/transplant.py table                       # Markdown of all results so far

Every run of the lab has the same records, pairs per step and number of steps, and is measured at
the same few steps; the distance of a run is that at its end, not at its best step. Interrupted, a
command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab_worlds import Results, World

EPOCHS = 30.0
PAIRS = 8
MEASURE_EVERY = 40
OUTPUT = Path("bench/results/transplant.json")
TRANSPLANT: dict[str, Any] = {"per_step": 8, "retain_weight": 4.0, "max_new_tokens": 24}
# Learning rate and retain weight: the same six settings for every method, on worlds that are not
# reported.
GRID = ((4e-4, 1.0), (4e-4, 4.0), (8e-4, 1.0), (8e-4, 4.0), (8e-4, 16.0), (1.6e-3, 4.0))
OWN: dict[str, dict[str, Any]] = {
    "transplant": {**TRANSPLANT},
    "wga": {},
    "bs-t": {},
    "bs-s": {"max_new_tokens": 24},
}
SEARCH: dict[str, dict[str, Any]] = {
    f"{method} lr={rate:g} retain={weight:g}": {
        "method": method,
        "lr": rate,
        **own,
        "retain_weight": weight,
    }
    for method, own in OWN.items()
    for rate, weight in GRID
}
# What the search chose; `lab` runs these.
CHOSEN: dict[str, dict[str, Any]] = {
    "transplant": {"method": "transplant", "lr": 8e-4, **TRANSPLANT},
    "wga": {"method": "wga", "lr": 1.6e-3, "retain_weight": 4.0},
    "bs-t": {"method": "bs-t", "lr": 8e-4, "retain_weight": 16.0},
    "bs-s": {"method": "bs-s", "lr": 4e-4, "retain_weight": 4.0, "max_new_tokens": 24},
}
# One thing changed in the chosen transplant at a time.
ABLATIONS: dict[str, dict[str, Any]] = {
    "leaks=keep": {"leaks": "keep"},
    "names=known": {"names": "known"},
    "neighbours=1": {"neighbours": 1},
    "no retain term": {"retain": "none"},
    "with WGA 0.3": {"inner": "wga", "suppression": 0.3},
    "per_step=2": {"per_step": 2},
    "names=nearest": {"names": "nearest"},
    "retain=kl": {"retain": "kl"},
    "samples=4": {"neighbours": 4, "samples": 4, "per_step": 4},
    "with BS-T 0.1": {"inner": "bs-t", "suppression": 0.1},
    "neighbours=4": {"neighbours": 4},
}


# On TOFU, with learning rate and epochs of bench/tofu_tiny.py, nothing searched.
TOFU: dict[str, Any] = {
    "lr": 1e-3,
    "epochs": 6,
    "neighbours": 6,
    "samples": 6,
    "per_step": 1,
    "forget_weight": 0.25,
    "max_new_tokens": 80,
}
TOFU_SAMPLE = 200


def unlearn(world: World, setting: dict[str, Any]) -> dict[str, Any]:
    """Unlearn once; masses along the run and at its end."""
    from unbelief.objectives import build_objective
    from unbelief.train.options import TrainOptions
    from unbelief.unlearner import Unlearner

    options = {k: v for k, v in setting.items() if k not in ("method", "lr")}
    points: dict[int, dict[str, float]] = {}

    class Hook:
        every = MEASURE_EVERY

        def __call__(hook, step: int, model: Any) -> None:
            points[step] = world.masses(model.inner)

    started, (forget, retain) = time.monotonic(), world.records()
    result = Unlearner(
        model=world.fresh(),
        forget=forget,
        retain=retain,
        objective=build_objective(setting["method"], {"retain": "nll", **options}),
        train=TrainOptions(
            learning_rate=setting["lr"],
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=PAIRS,
            gradient_accumulation_steps=1,
            seed=world.seed,
        ),
        method=setting["method"],
        device="cpu",
        hooks=[Hook()],
        progress=False,
    ).fit()
    end = world.masses(result.model.inner)
    along = {step: world.distance(m) for step, m in sorted(points.items())}
    return {
        **end,
        "distance": world.distance(end),
        "along": along,
        "seconds": round(time.monotonic() - started, 1),
    }


def run_lab(args: argparse.Namespace, part: str, settings: dict[str, dict[str, Any]]) -> None:
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.disable_progress_bar()
    results = Results(args.output)
    done = results.part(part)
    for seed in args.seeds:
        world = None
        for name, setting in settings.items():
            if args.only and not any(word in name for word in args.only):
                continue
            entry = done.setdefault(name, {"setting": setting, "seeds": {}})
            if entry["setting"] != setting:
                raise SystemExit(f"{name} has other settings in {args.output}: {entry['setting']}")
            if str(seed) in entry["seeds"]:
                continue
            world = world or World(seed, args.cache, kept=24)
            found = unlearn(world, setting)
            entry["seeds"][str(seed)] = found
            references = results.part("references").setdefault(str(seed), {})
            references |= {
                "retrained": world.target,
                "original": world.masses(world.original.model),
            }
            results.save()
            print(f"{part} {seed} {name}: {found}", flush=True)


def run_tofu(args: argparse.Namespace) -> None:
    """Transplant and two methods of bench/tofu_tiny.py, with its settings and more measures."""
    import torch

    from tofu_tiny import SETTINGS, unlearn

    torch.set_num_threads(1)
    SETTINGS["transplant"] = TOFU
    results = Results(args.output)
    models = results.part("tofu")
    args.work.mkdir(parents=True, exist_ok=True)
    for name in args.only or ("transplant", "retrained", "original", "wga", "npo"):
        if name in models:
            continue
        if name in ("retrained", "original"):
            source = {"retrained": args.retrained, "original": args.model}[name]
            models[name] = measure_tofu(source, args.data)
        else:
            folder = args.work / name
            seconds = unlearn(name, args, folder)
            models[name] = {
                "setting": SETTINGS[name],
                **measure_tofu(str(folder), args.data),
                "seconds": round(seconds, 1),
            }
            report = folder.with_name(f"{name}.run") / "beliefs-0000.json"
            if report.exists():
                models[name]["beliefs"] = json.loads(report.read_text())["totals"]
        results.save()
        print(f"tofu {name}: {models[name]}", flush=True)


def measure_tofu(source: str, data: Path) -> dict[str, Any]:
    """All forget rows and a seeded sample of retain rows; means, intervals over authors."""
    import numpy as np

    from unbelief.data.tofu import read_tofu
    from unbelief.measure import Plan, measure_examples
    from unbelief.models.load import load_model
    from unbelief.models.runner import AnswerModel
    from unbelief.scores.base import Metric
    from unbelief.scores.metrics.exact_recitation import ExactRecitation
    from unbelief.scores.metrics.extraction_strength import ExtractionStrength
    from unbelief.scores.metrics.key_facts import KeyFactRecall
    from unbelief.scores.metrics.probability import Probability
    from unbelief.scores.metrics.repetition import Repetition
    from unbelief.scores.metrics.truth_ratio import TruthRatio
    from unbelief.scores.statistics import of_metric
    from unbelief.tokens import Encoder

    loaded = load_model(source, device="cpu")
    sets = read_tofu(str(data), "forget10").sets
    retain = sets["retain"]
    chosen = np.random.default_rng(0).choice(len(retain), TOFU_SAMPLE, replace=False)
    records = {"forget": sets["forget"], "retain": tuple(retain[i] for i in sorted(chosen))}
    both = (ExtractionStrength(), ExactRecitation(), Probability(), Repetition())
    metrics: dict[str, tuple[Metric, ...]] = {
        "forget": (*both, KeyFactRecall(), TruthRatio()),
        "retain": both,
    }
    plan = Plan(records, {k: tuple(n for m in ms for n in m.needs) for k, ms in metrics.items()})
    examples = measure_examples(AnswerModel(loaded.model), Encoder(loaded.tokenizer), plan)
    return {
        f"{name}_{metric.name}": asdict(of_metric(metric, examples[name]).estimate("unbelief"))
        for name, its in metrics.items()
        for metric in its
    }


def lab_table(results: Results) -> str:
    """Markdown of the lab: means over seeds with 95 % t-intervals; ablations also as differences.

    A difference is to the unchanged transplant on the same seeds.
    """
    from unbelief.lab.intervals import seed_mean

    def shown(values: list[float], sign: str = "") -> str:
        if len(values) < 2:
            return f"{values[0]:{sign}.3f}"
        e = seed_mean(values)
        return f"{e.value:{sign}.3f} ({e.low:{sign}.3f} to {e.high:{sign}.3f})"

    base = results.part("lab").get("transplant", {"seeds": {}})["seeds"]
    lines = []
    for part in ("lab", "ablate"):
        lines += [
            "",
            f"| {part} | seeds | leak | natural | retained | distance |"
            + (" against the unchanged |" if part == "ablate" else " worst seed |"),
            "|---|---|---|---|---|---|---|",
        ]
        rows = dict(results.part(part))
        if part == "lab":
            for who in ("original", "retrained"):
                its = {s: r[who] for s, r in results.part("references").items() if s in base}
                rows = {who: {"seeds": its}, **rows}
        for name, entry in rows.items():
            runs = entry["seeds"]
            means = [shown([r[k] for r in runs.values()]) for k in ("leak", "natural", "retained")]
            if name in ("original", "retrained"):
                lines.append(f"| {name} | {len(runs)} | {' | '.join(means)} | | |")
                continue
            last = f"{max(r['distance'] for r in runs.values()):.3f}"
            if part == "ablate":
                both = [s for s in runs if s in base]
                last = shown([runs[s]["distance"] - base[s]["distance"] for s in both], "+")
            distance = shown([r["distance"] for r in runs.values()])
            lines.append(f"| {name} | {len(runs)} | {' | '.join(means)} | {distance} | {last} |")
    lines += ["", "| search, seed | distance at the end |", "|---|---|"]
    for name, entry in results.part("search").items():
        for seed, run in entry["seeds"].items():
            lines.append(f"| {name}, {seed} | {run['distance']:.3f} |")
    return "\n".join(lines)


def tofu_table(results: Results) -> str:
    """Markdown of TOFU: means with intervals over authors."""
    models = results.part("tofu")
    order = [n for n in ("original", "retrained", "transplant", "wga", "npo") if n in models]
    names = [k for k, v in models[order[0]].items() if isinstance(v, dict) and "n" in v]
    lines = ["| measure | " + " | ".join(order) + " |", "|---" * (len(order) + 1) + "|"]
    for name in names:
        cells = []
        for model in order:
            e = models[model][name]
            cells.append(f"{e['value']:.3f} ({e['low']:.3f} to {e['high']:.3f})")
        lines.append(f"| {name} (n = {models[order[0]][name]['n']}) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("search", "lab", "ablate", "tofu", "table"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--only", nargs="*", help="settings whose name has one of these words")
    parser.add_argument("--model", help="of tofu: folder that knows TOFU")
    parser.add_argument("--retrained", help="of tofu: folder that was trained on retain90")
    parser.add_argument("--data", type=Path, help="of tofu: folder with forget10.jsonl and more")
    parser.add_argument("--work", type=Path, default=Path("runs/transplant/tofu"))
    parser.add_argument("--cache", type=Path, default=Path("runs/transplant/models"))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    args.seed = 0  # of the training runs on TOFU
    if args.command == "table":
        results = Results(args.output)
        print(lab_table(results))
        if results.part("tofu"):
            print("\n" + tofu_table(results))
        return
    if args.command == "tofu":
        run_tofu(args)
    elif args.command == "search":
        run_lab(args, "search", SEARCH)
    elif args.command == "lab":
        run_lab(args, "lab", CHOSEN)
    elif args.command == "ablate":
        base = CHOSEN["transplant"]
        run_lab(args, "ablate", {name: {**base, **change} for name, change in ABLATIONS.items()})


if __name__ == "__main__":
    main()
