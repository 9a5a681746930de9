"""What benches about the lab share: results that grow, and a world with its exact masses."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any


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
    """One seed of the lab: models, records, exact masses.

    Args:
        seed: Of the world.
        cache: Folder of trained models.
        kept: How many people to keep are measured; None for all.
    """

    def __init__(self, seed: int, cache: Path, kept: int | None = None):
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
        people, others = self.world.part("forget"), self.world.part("retain")[:kept]
        self.forget = MassMeter(questions(self.world, self.encoder, people), natural=True)
        self.kept = MassMeter(
            questions(self.world, self.encoder, others, answers="true"), natural=False
        )
        self.target = self.masses(self.retrained.model)

    def records(self) -> tuple[list[Any], list[Any]]:
        """Records to forget and to keep."""
        return self.world.records("forget"), self.world.drawn_records("retain", self.seed)

    def fresh(self) -> Any:
        """The original model, to be changed."""
        from unbelief.models.load import in_memory

        model, tokenizer = copy.deepcopy(self.original.model), self.original.tokenizer
        return in_memory(model, tokenizer, source="lab original")

    def masses(self, model: Any) -> dict[str, float]:
        """Exact masses, means over people."""
        forget, kept = self.forget.measure(model), self.kept.measure(model)
        assert forget.natural is not None
        return {
            "target": float(forget.target.mean()),
            "leak": float(forget.leak.mean()),
            "natural": float(forget.natural.mean()),
            "retained": float(kept.leak.mean()),
        }

    def distance(self, masses: dict[str, float]) -> float:
        """Excess leak + |natural gap| + |retained gap| to the retrained model."""
        gap = {k: masses[k] - self.target[k] for k in self.target}
        return max(0.0, gap["leak"]) + abs(gap["natural"]) + abs(gap["retained"])
