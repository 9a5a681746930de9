"""`--method auto` where the truth is known: the lab's exact masses, and small models of TOFU.

    python bench/auto.py lab --seeds 0 1 2 --budget 4     # auto and three defaults, per world
    python bench/auto.py levels --seeds 0 1 2 3 4         # the estimated level against the truth
    python bench/auto.py tofu --model MODEL --retrained RETRAINED --data TOFU_FOLDER --budget 6
    python bench/auto.py table

Interrupted, a command goes on with what is not there yet.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

OUTPUT = Path("bench/results/auto.json")
DEFAULTS: dict[str, dict[str, Any]] = {
    "wga": {},
    "bs-t": {},
    "transplant": {"neighbours": 4, "samples": 4, "per_step": 2},
}
PAIRS = 8
STEPS = 48


class Results:
    """A JSON file that grows run by run."""

    def __init__(self, path: Path):
        self.path = path
        self.values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def part(self, name: str) -> dict[str, Any]:
        """A section of it, made where absent."""
        part: dict[str, Any] = self.values.setdefault(name, {})
        return part

    def save(self) -> None:
        """Write everything, with what it was made with."""
        from unbelief.provenance import environment, utc_now

        self.values["environment"] = {**asdict(environment()), "written": utc_now()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.values, indent=1, default=str) + "\n")


class World:
    """One seed of the lab: models, records, exact masses."""

    def __init__(self, seed: int, cache: Path):
        from unbelief.lab import MassMeter, PretrainConfig, WorldConfig, make_world
        from unbelief.lab.masses import questions
        from unbelief.lab.pretrain import model_folder, train_or_load
        from unbelief.tokens.encode import Encoder

        config, pretrain = WorldConfig(seed=seed), PretrainConfig(seed=seed)
        self.seed, self.world = seed, make_world(config)
        self.original = train_or_load(config, "original", pretrain, cache)
        self.retrained = train_or_load(config, "retrained", pretrain, cache)
        self.folder = model_folder(config, "original", pretrain, cache)
        self.retrained_folder = model_folder(config, "retrained", pretrain, cache)
        self.encoder = Encoder(self.original.tokenizer)
        people, kept = self.world.part("forget"), self.world.part("retain")
        self.forget = MassMeter(questions(self.world, self.encoder, people), natural=True)
        self.kept = MassMeter(
            questions(self.world, self.encoder, kept, answers="true"), natural=False
        )
        self.target = self.masses(self.retrained.model)

    def records(self) -> tuple[list[Any], list[Any]]:
        """Records to forget and to keep."""
        return self.world.records("forget"), self.world.drawn_records("retain", self.seed)

    def masses(self, model: Any) -> dict[str, float]:
        """Exact masses, means over people."""
        forget, kept = self.forget.measure(model), self.kept.measure(model)
        assert forget.natural is not None
        return {
            "leak": float(forget.leak.mean()),
            "natural": float(forget.natural.mean()),
            "retained": float(kept.leak.mean()),
        }

    def distance(self, masses: dict[str, float]) -> float:
        """Excess leak + natural gap + retained gap to the retrained model."""
        gap = {k: masses[k] - self.target[k] for k in self.target}
        return max(0.0, gap["leak"]) + abs(gap["natural"]) + abs(gap["retained"])


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
            options=AutoOptions(budget=args.budget),
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
    from unbelief.models.load import in_memory
    from unbelief.objectives import build_objective
    from unbelief.train.options import TrainOptions
    from unbelief.unlearner import Unlearner

    forget, retain = world.records()
    started = time.monotonic()
    options = {**DEFAULTS[name], **({"max_new_tokens": 24} if name == "transplant" else {})}
    result = Unlearner(
        model=in_memory(
            copy.deepcopy(world.original.model), world.original.tokenizer, source="lab original"
        ),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("lab",))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cache", type=Path, default=Path("lab-models"))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--budget", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()
    {"lab": lab}[args.what](args)


if __name__ == "__main__":
    main()
