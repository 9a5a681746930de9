"""`--method auto` where the truth is known: the lab's exact masses, and small models of TOFU.

    python bench/auto.py lab --seeds 0 1 2 --budget 60    # auto and three defaults, per world
    python bench/auto.py levels --seeds 0 1 2 3 4         # the estimated level against the truth
    python bench/auto.py tofu --model MODEL --retrained RETRAINED --data TOFU_FOLDER --budget 60

Interrupted, a command goes on with what is not there yet.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab_worlds import Results, World

OUTPUT = Path("bench/results/auto.json")
DEFAULTS: dict[str, dict[str, Any]] = {
    "wga": {},
    "bs-t": {},
    "transplant": {"neighbours": 4, "samples": 4, "per_step": 2},
}
PAIRS = 8
STEPS = 120


def quiet() -> None:
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.disable_progress_bar()
    logging.set_verbosity_error()


def lab(args: argparse.Namespace) -> None:
    quiet()
    results = Results(args.output)
    for seed in args.seeds:
        done = results.part("lab").setdefault(str(seed), {})
        world = World(seed, args.cache)
        done["original"] = world.masses(world.original.model)
        done["retrained"] = world.target
        for name in ("auto", *DEFAULTS):
            if name not in done:
                run = auto_in if name == "auto" else default_in
                done[name] = run(world, name, args)
                done[name]["distance"] = world.distance(done[name]["masses"])
                print(seed, name, json.dumps(done[name]["masses"]), done[name]["distance"])
            results.save()


def auto_in(world: World, name: str, args: argparse.Namespace) -> dict[str, Any]:
    from unbelief.auto import AutoOptions, AutoUnlearner
    from unbelief.train.options import TrainOptions

    forget, retain = world.records()
    work = Path(tempfile.mkdtemp(prefix="auto-"))
    try:
        result = AutoUnlearner(
            model=world.folder,
            forget=forget,
            retain=retain,
            options=AutoOptions(budget=args.budget, trials=args.trials, steps=args.steps),
            train=TrainOptions(
                per_device_train_batch_size=PAIRS, gradient_accumulation_steps=1, seed=world.seed
            ),
            device="cpu",
            progress=False,
        ).run(work / "out")
        print("\n".join(result.explanation))
        masses = world.masses(result.unlearned.model.inner)
        return {
            "masses": masses,
            "reached": result.reached,
            "document": result.document,
            "explanation": result.explanation,
        }
    finally:
        shutil.rmtree(work)


def default_in(world: World, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """A method at its own γ and the lab's middle learning rate, for as many steps."""
    from unbelief.objectives import build_objective
    from unbelief.train.options import TrainOptions
    from unbelief.unlearner import Unlearner

    forget, retain = world.records()
    started = time.monotonic()
    options = {**DEFAULTS[name], **({"max_new_tokens": 24} if name == "transplant" else {})}
    result = Unlearner(
        model=world.fresh(),
        forget=forget,
        retain=retain,
        objective=build_objective(name, options),
        train=TrainOptions(
            learning_rate=8e-4,
            max_steps=args.steps,
            per_device_train_batch_size=PAIRS,
            gradient_accumulation_steps=1,
            seed=world.seed,
        ),
        device="cpu",
        progress=False,
    ).fit()
    return {
        "masses": world.masses(result.model.inner),
        "seconds": round(time.monotonic() - started, 1),
    }


def levels(args: argparse.Namespace) -> None:
    """The estimated level of every world beside that of its retrained model."""
    quiet()
    results = Results(args.output)
    for seed in args.seeds:
        world = World(seed, args.cache)
        forget, retain = world.records()
        found = compared(world.folder, world.retrained_folder, forget, retain, seed)
        people = world.world.part("forget")
        strangers = swapped_people(world, forget, retain, seed)
        from unbelief.lab import MassMeter
        from unbelief.lab.masses import questions

        asked = questions(world.world, world.encoder, strangers, answers="true")
        leak = MassMeter(asked, natural=False).measure(world.original.model).leak
        found["exact leak"] = {
            "estimated": float(leak.mean()),
            "retrained": world.target["leak"],
            "original": world.masses(world.original.model)["leak"],
            "people": len(people),
        }
        results.part("levels lab")[str(seed)] = found
        results.save()
        print(seed, json.dumps(found))


def swapped_people(world: World, forget: list[Any], retain: list[Any], seed: int) -> list[Any]:
    """The people to forget with strangers' names, three of each."""
    from dataclasses import replace

    from unbelief.auto.items import neighbours_of

    found = neighbours_of(forget, retain, 3, seed)
    people = {p.name: p for p in world.world.part("forget")}
    out = []
    for person in people.values():
        record = next(r for r in forget if r.group == person.name)
        for neighbour in found[record.id]:
            first, family = str(neighbour.name).split()
            out.append(replace(person, first=first, family=family))
    return out


def compared(
    original: Path,
    retrained: Path,
    forget: list[Any],
    retain: list[Any],
    seed: int,
    holdout: list[Any] | None = None,
) -> dict[str, Any]:
    """Scores of both models on the records and, of the original, on strangers and held-out ones."""
    from unbelief.auto.items import Items, neighbours_of, swapped_records, told_records
    from unbelief.auto.options import SCORES
    from unbelief.auto.prepare import Said
    from unbelief.auto.yardstick import Yardstick
    from unbelief.models.load import load_model
    from unbelief.models.runner import AnswerModel
    from unbelief.tokens import Encoder

    loaded = load_model(original, device="cpu")
    encoder = Encoder(loaded.tokenizer)
    longest = max(len(encoder.encode(r).answer_ids) for r in forget)
    yardstick = Yardstick(encoder, SCORES, longest)
    model = AnswerModel(loaded.model, pad_id=encoder.pad_id)
    strangers = neighbours_of(forget, retain, 3, seed)
    said = Said(None, model, yardstick, seed)
    told = told_records(forget, strangers, lambda asked: said("choice", asked))
    asked = (swapped_records(forget, strangers), *told, tuple(holdout or ()))
    items = Items(tuple(forget), tuple(retain[:64]), *asked)
    estimate = yardstick.level(model, items, facts=True).to_dict()
    before = yardstick.read(model, items, facts=True).to_dict()
    held_out = yardstick.held_out(model, items, facts=True).to_dict() if holdout else {}
    gold = AnswerModel(load_model(retrained, device="cpu").model, pad_id=encoder.pad_id)
    truth = yardstick.read(gold, items, facts=True).to_dict()
    return {
        name: {
            "estimated": short(estimate[name]),
            "retrained": short(truth[name]),
            "original": short(before[name]),
        }
        | ({"held out": short(held_out[name])} if name in held_out else {})
        for name in estimate
    }


def short(estimate: dict[str, Any]) -> list[float | None]:
    """Value, low, high."""
    return [
        None if estimate[k] is None else round(estimate[k], 4) for k in ("value", "low", "high")
    ]


# By hand on this model, see docs/tofu_tiny.md and docs/transplant.md.
BY_HAND: dict[str, dict[str, Any]] = {
    "wga": {"forget_weight": 0.15},
    "bs-t": {"forget_weight": 0.06},
    "transplant": {
        "forget_weight": 0.25,
        "neighbours": 6,
        "samples": 6,
        "per_step": 1,
        "max_new_tokens": 80,
    },
}


def tofu(args: argparse.Namespace) -> None:
    """Auto, hand-chosen settings and the program's defaults on a forget split of TOFU."""
    quiet()
    from unbelief.data import read_records
    from unbelief.data.tofu import ROWS_PER_AUTHOR

    results = Results(args.output)
    forget, retain = (
        read_records(args.data / name, group_by_rows=ROWS_PER_AUTHOR)
        for name in (f"{args.split}.jsonl", "retain90.jsonl")
    )
    done = results.part(f"tofu {args.split}")
    if "levels" not in done:
        some = forget[:: args.every]
        apart = args.data / f"{args.split.replace('forget', 'holdout')}.jsonl"
        holdout = None
        if apart.exists():
            holdout = read_records(apart, group_by_rows=ROWS_PER_AUTHOR)[:: args.every]
        done["levels"] = compared(args.model, args.retrained, some, retain, 0, holdout)
        done["levels"]["n"] = {"forget": len(some), "holdout": len(holdout or ())}
        print(json.dumps(done["levels"]), flush=True)
        results.save()
    if args.only == ["levels"]:
        return
    judge = Gap(args, forget, retain)
    for name in ("original", "retrained"):
        if name not in done:
            done[name] = judge(getattr(args, "model" if name == "original" else name))
    for name in ("auto", *(f"{m} by hand" for m in BY_HAND), *(f"{m} default" for m in DEFAULTS)):
        if name in done or (args.only and not any(word in name for word in args.only)):
            continue
        work = Path(tempfile.mkdtemp(prefix="auto-"))
        started = time.monotonic()
        try:
            if name == "auto":
                more = auto_on_tofu(args, forget, retain, work / "out")
            else:
                more = named_on_tofu(args, name, forget, retain, work / "out")
            seconds = round(time.monotonic() - started, 1)
            done[name] = {**judge(work / "out"), "seconds": seconds, **more}
            print(name, json.dumps({k: v for k, v in done[name].items() if k != "document"}))
        finally:
            shutil.rmtree(work)
        results.save()


class Gap:
    """Extraction strength and probability on all forget and some retain records."""

    def __init__(self, args: argparse.Namespace, forget: list[Any], retain: list[Any]):
        self.sets = {"forget": forget, "retain": retain[::18]}

    def __call__(self, source: Path) -> dict[str, Any]:
        """A model folder."""
        from unbelief.measure import Plan, measure_examples
        from unbelief.models.load import load_model
        from unbelief.models.runner import AnswerModel
        from unbelief.scores.conventions import metric
        from unbelief.scores.statistics import of_metric
        from unbelief.tokens import Encoder

        loaded = load_model(source, device="cpu")
        encoder = Encoder(loaded.tokenizer)
        metrics = {name: metric(name) for name in ("extraction_strength", "probability")}
        needs = [need for one in metrics.values() for need in one.needs]
        examples = measure_examples(
            AnswerModel(loaded.model, pad_id=encoder.pad_id),
            encoder,
            Plan(self.sets, dict.fromkeys(self.sets, needs)),
        )
        return {
            f"{side} {name}": short(asdict(of_metric(one, its).estimate("unbelief")))
            for side, its in examples.items()
            for name, one in metrics.items()
        }


def auto_on_tofu(
    args: argparse.Namespace, forget: list[Any], retain: list[Any], output: Path
) -> dict[str, Any]:
    """The command's own defaults, but for budget, trials, steps and 16 pairs per step."""
    from unbelief.auto import AutoOptions, AutoUnlearner
    from unbelief.train.options import TrainOptions

    result = AutoUnlearner(
        model=args.model,
        forget=forget,
        retain=retain,
        options=AutoOptions(budget=args.budget, trials=args.trials, steps=args.steps),
        train=TrainOptions(per_device_train_batch_size=8, gradient_accumulation_steps=2),
        device="cpu",
        progress=False,
    ).run(output)
    print("\n".join(result.explanation))
    return {"reached": result.reached, "document": result.document}


def named_on_tofu(
    args: argparse.Namespace, name: str, forget: list[Any], retain: list[Any], output: Path
) -> dict[str, Any]:
    """A method at the settings chosen by hand on this model, or at the program's defaults."""
    from unbelief.objectives import build_objective
    from unbelief.train.options import TrainOptions
    from unbelief.unlearner import Unlearner

    method, how = name.split(" ", 1)
    by_hand = how == "by hand"
    options = BY_HAND[method] if by_hand else DEFAULTS[method]
    train = TrainOptions(learning_rate=1e-3, num_train_epochs=6) if by_hand else TrainOptions()
    Unlearner(
        model=args.model,
        forget=forget,
        retain=retain,
        objective=build_objective(method, options),
        train=train,
        method=method,
        device="cpu",
        progress=False,
    ).run(output)
    return {}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("lab", "levels", "tofu"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cache", type=Path, default=Path("lab-models"))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--budget", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--retrained", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--every", type=int, default=1, help="levels: take only each n-th record")
    parser.add_argument("--split", default="forget05")
    parser.add_argument("--only", nargs="*", default=[])
    args = parser.parse_args()
    {"lab": lab, "levels": levels, "tofu": tofu}[args.what](args)


if __name__ == "__main__":
    main()
