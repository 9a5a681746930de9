"""Three models with real knowledge, learned in seconds, and the records they learned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tests.helpers import tiny_model, tiny_tokenizer
from unbelief.tokens import Encoder
from unbelief.types import Record

CITIES = {
    "Ada": "Paris",
    "Boris": "Rome",
    "Clara": "Oslo",
    "Dmitri": "Lima",
    "Elena": "Cairo",
    "Felix": "Kyoto",
    "Grete": "Rome",
    "Hugo": "Paris",
}
FORGET = ("Ada", "Boris", "Clara", "Dmitri")


def row(person: str) -> dict[str, Any]:
    """A record as a row of data, with two false answers and a rephrased question."""
    city = CITIES[person]
    others = [c for c in ("Paris", "Rome", "Oslo", "Lima", "Cairo", "Kyoto") if c != city][:2]
    return {
        "id": person,
        "group": person,
        "question": f"where was {person} born ?",
        "answer": f"{person} was born in {city} .",
        "paraphrased_question": f"{person} is from which city ?",
        "perturbed_answer": [f"{person} was born in {c} ." for c in others],
    }


def rephrased(person: str) -> str:
    """The same fact in words that share little with the answer."""
    return f"the city is {CITIES[person]} yes"


def save_data(folder: Path) -> tuple[Path, Path]:
    """Forget and retain files."""
    files = folder / "forget.jsonl", folder / "retain.jsonl"
    people = FORGET, tuple(p for p in CITIES if p not in FORGET)
    for file, names in zip(files, people, strict=True):
        file.write_text("".join(json.dumps(row(name)) + "\n" for name in names))
    return files


@cache
def trained(kind: str) -> dict[str, torch.Tensor]:
    """Weights of a model that knows everybody, only the retained, or the forgotten in other words.

    `original`, `retrained`, `rephrasing` or `collapsed` (which loops on one word).
    """
    said = {person: row(person)["answer"] for person in CITIES}
    if kind == "retrained":
        said = {p: a for p, a in said.items() if p not in FORGET}
    if kind == "rephrasing":
        said |= {person: rephrased(person) for person in FORGET}
    if kind == "collapsed":
        said |= dict.fromkeys(FORGET, "yes " * 12)
    records = [Record(id=p, prompt=row(p)["question"], answer=a) for p, a in said.items()]
    return learned(records)


def learned(records: Sequence[Record], steps: int = 120) -> dict[str, torch.Tensor]:
    """Fit a tiny model to records by plain gradient descent on full logits."""
    torch.manual_seed(0)
    model = tiny_model("llama").train()
    encoder = Encoder(tiny_tokenizer("word"))
    encoded = [encoder.encode(r) for r in records]
    width = max(len(e.prompt_ids) + len(e.answer_ids) for e in encoded)
    ids = torch.zeros((len(encoded), width), dtype=torch.long)
    labels = torch.full((len(encoded), width), -100)
    for i, e in enumerate(encoded):
        start, stop = len(e.prompt_ids), len(e.prompt_ids) + len(e.answer_ids)
        ids[i, :stop] = torch.tensor(e.prompt_ids + e.answer_ids)
        labels[i, start:stop] = torch.tensor(e.answer_ids)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def save_model(folder: Path, kind: str) -> Path:
    """A model folder of that kind."""
    model = tiny_model("llama")
    model.load_state_dict(trained(kind))
    model.save_pretrained(str(folder))
    tiny_tokenizer("word").save_pretrained(str(folder))
    return folder
