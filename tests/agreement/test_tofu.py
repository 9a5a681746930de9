"""`unbelief evaluate --convention open-unlearning` on TOFU against plain code, model and all.

Needs the folder ../shared with TOFU and two small models: one that learnt everything, and one that
never saw the forget split.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.agreement import plain
from unbelief.evaluate.request import Evaluation
from unbelief.evaluate.results import Results
from unbelief.evaluate.run import evaluate

SETS = {
    "forget": "forget10_perturbed",
    "holdout": "holdout10",
    "retain": "retain_perturbed",
    "real_authors": "real_authors_perturbed",
    "world_facts": "world_facts_perturbed",
}
ATTACKS = ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus")
TEXTS = 1e-3  # numbers that rest on texts: where two tokens are all but equally probable


@dataclass(frozen=True)
class Theirs:
    """One model on the first rows of every set, plainly."""

    model: Any
    tokenizer: Any
    folder: Path
    limit: int

    @classmethod
    def load(cls, shared: Path, name: str, limit: int) -> Theirs:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        source = shared / "models" / "tofu-tiny" / name
        model = AutoModelForCausalLM.from_pretrained(source, dtype="float32").eval()
        return cls(model, AutoTokenizer.from_pretrained(source), shared / "data" / "tofu", limit)

    @property
    def pad_id(self) -> int:
        return plain.pad_id_of(self.tokenizer)

    def rows(self, on: str) -> list[dict[str, Any]]:
        lines = (self.folder / f"{SETS[on]}.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines[: self.limit]]

    def items(self, on: str, key: str = "answer", nth: int | None = None) -> list[plain.Item]:
        template = plain.Template()
        return [
            plain.question_item(
                self.tokenizer, template, r["question"], r[key] if nth is None else r[key][nth]
            )
            for r in self.rows(on)
        ]

    def losses(self, on: str, key: str = "answer", nth: int | None = None) -> np.ndarray:
        return plain.average_losses(self.model, self.items(on, key, nth), self.pad_id)

    def wrong(self, on: str) -> np.ndarray:
        count = len(self.rows(on)[0]["perturbed_answer"])
        return np.stack([self.losses(on, "perturbed_answer", j) for j in range(count)], axis=1)

    def ratios(self, on: str) -> np.ndarray:
        key = "paraphrased_answer" if on in ("forget", "retain") else "answer"
        return plain.truth_ratios(self.losses(on, key), self.wrong(on))

    def attack(self, name: str, on: str) -> np.ndarray:
        items = self.items(on)
        if name == "mia_zlib":
            return plain.zlib_scores(self.tokenizer, self.losses(on), items)
        of = {"mia_min_k": plain.min_k, "mia_min_k_plus_plus": plain.min_k_plus_plus}
        return of[name](self.model, items, self.pad_id) if name in of else self.losses(on)

    def auc(self, name: str) -> float:
        return plain.auc(self.attack(name, "forget"), self.attack(name, "holdout"))

    def rouge(self, on: str) -> np.ndarray:
        items = self.items(on)
        said = plain.generations(self.tokenizer, self.model, items)
        return plain.rouge(said, plain.true_texts(self.tokenizer, items))["rougeL_recall"]


def per_item(theirs: Theirs) -> dict[str, np.ndarray]:
    losses, ratios = theirs.losses("forget"), theirs.ratios("forget")
    true, false = theirs.losses("forget", "paraphrased_answer"), theirs.wrong("forget")
    found = {
        "forget_probability": np.exp(-losses),
        "forget_paraphrase_probability": np.exp(-true),
        "forget_truth_ratio_raw": ratios,
        "forget_truth_ratio_prob_mean": np.exp(-true)
        / (np.exp(-true) + np.exp(-false.mean(axis=1)) + 1e-10),
        "forget_extraction_strength": plain.extraction_strength(
            theirs.model, theirs.items("forget"), theirs.pad_id
        ),
        "forget_exact_memorization": plain.exact_memorization(
            theirs.model, theirs.items("forget"), theirs.pad_id
        ),
        "retain_probability": np.exp(-theirs.losses("retain")),
    }
    for on in ("real_authors", "world_facts"):
        found[f"{on}_probability"] = plain.probability_w_options(
            theirs.losses(on), theirs.wrong(on)
        )
    for name in ATTACKS:
        for on in ("forget", "holdout"):
            found[f"{name}_{on}"] = theirs.attack(name, on)
    for on in ("forget", "retain", "real_authors", "world_facts"):
        found[f"{on}_rouge"] = theirs.rouge(on)
    return found


@pytest.mark.parametrize(
    "limit", [2, pytest.param(60, marks=pytest.mark.slow)], ids=["few", "more"]
)
def test_every_number_of_the_suite(shared_dir: Path, tmp_path: Path, limit: int) -> None:
    tofu = shared_dir / "data" / "tofu"
    models = shared_dir / "models" / "tofu-tiny"
    if not tofu.is_dir() or not models.is_dir():
        pytest.skip("needs ../shared/data/tofu and ../shared/models/tofu-tiny")
    own, retrained = (Theirs.load(shared_dir, name, limit) for name in ("full", "retain90"))
    items = per_item(own)
    sets = _numbers_of_sets(own, retrained, items)
    results = evaluate(
        Evaluation(
            model=models / "full",
            retrained=models / "retain90",
            suite="tofu",
            data=str(tofu),
            split="forget10",
            limit=limit,
            convention="open-unlearning",
            metrics=(*items, *sets),
            device="cpu",
        ),
        tmp_path / "results.json",
        progress=False,
    )
    _check_items(results, items)
    for name, value in sets.items():
        rests_on_texts = name.endswith("_rouge") or name == "model_utility"
        assert results[name].value == pytest.approx(value, abs=TEXTS if rests_on_texts else 1e-4)
        assert results[name].convention.split(",")[0] in ("open-unlearning", "unbelief")


def _check_items(results: Results, items: dict[str, np.ndarray]) -> None:
    for name, values in items.items():
        assert not [s.unscored for s in results.items[name] if s.unscored], name
        ours = np.array([s.value for s in results.items[name]])
        if name.endswith("_rouge"):
            assert ours.mean() == pytest.approx(values.mean(), abs=TEXTS), name
        else:
            close = np.abs(ours - values) <= 1e-4 * np.maximum(1, np.abs(values))
            assert close.all(), (name, ours[~close], values[~close])


def _numbers_of_sets(
    own: Theirs, retrained: Theirs, items: dict[str, np.ndarray]
) -> dict[str, float]:
    found = {name: plain.auc(items[f"{name}_forget"], items[f"{name}_holdout"]) for name in ATTACKS}
    ratios = {on: own.ratios(on) for on in ("retain", "real_authors", "world_facts")}
    for on, r in ratios.items():
        found[f"{on}_truth_ratio"] = plain.true_better(r)
    found["forget_truth_ratio"] = plain.closer_to_1_better(items["forget_truth_ratio_raw"])
    nine = [items[f"{on}_{what}"].mean() for on in ratios for what in ("probability", "rouge")]
    nine += [found[f"{on}_truth_ratio"] for on in ratios]
    found["model_utility"] = plain.model_utility(nine)
    found["forget_quality"] = plain.forget_quality(
        items["forget_truth_ratio_raw"], retrained.ratios("forget")
    )
    found["privleak"] = plain.privleak(found["mia_min_k"], retrained.auc("mia_min_k"))
    return found


def test_rouge_sees_the_same_truth(shared_dir: Path) -> None:
    """The record's answer against that project's: decoded row minus decoded prompt."""
    from rouge_score.tokenize import tokenize

    theirs = Theirs.load(shared_dir, "full", 400)
    for on in SETS:
        for row, text in zip(
            theirs.rows(on), plain.true_texts(theirs.tokenizer, theirs.items(on)), strict=True
        ):
            assert tokenize(row["answer"], None) == tokenize(text, None)
