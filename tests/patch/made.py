"""An unlearned model in which one layer forgets and the other does damage alone."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import torch

from tests.audit.made import CITIES, FORGET, row, save_data, save_model, trained
from tests.helpers import tiny_model, tiny_tokenizer
from unbelief.tokens import Encoder
from unbelief.types import Record


@cache
def planted() -> dict[str, torch.Tensor]:
    """The original with two layers trained, each by itself.

    Layer 1 says another city of the forgotten people alone. Layer 0 says another city of the
    people that were to stay: damage, and nothing is forgotten.
    """
    wrong = {p: "Kyoto" if p in FORGET else "Lima" for p in CITIES}
    found = dict(trained("original"))
    for layer, whose in ((1, FORGET), (0, tuple(p for p in CITIES if p not in FORGET))):
        said = {p: wrong[p] if p in whose else CITIES[p] for p in CITIES}
        prefix = f"model.layers.{layer}."
        found |= {n: t for n, t in _fitted(prefix, said).items() if n.startswith(prefix)}
    return found


def _fitted(prefix: str, said: dict[str, str]) -> dict[str, torch.Tensor]:
    """The original after training of one layer on a city per person."""
    model = tiny_model("llama")
    model.load_state_dict(trained("original"))
    encoder = Encoder(tiny_tokenizer("word"))
    records = [
        Record(id=p, prompt=row(p)["question"], answer=f"{p} was born in {city} .")
        for p, city in said.items()
    ]
    encoded = [encoder.encode(record) for record in records]
    ids = torch.tensor([e.prompt_ids + e.answer_ids for e in encoded])  # all of one length
    labels = ids.clone()
    labels[:, : len(encoded[0].prompt_ids)] = -100
    trains = [p for n, p in model.named_parameters() if n.startswith(prefix)]
    optimiser = torch.optim.Adam(trains, lr=1e-2)
    for _ in range(40):
        model.zero_grad()
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.01
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def save_planted(folder: Path) -> Path:
    """`original`, `unlearned`, `retrained` and the data."""
    for kind in ("original", "retrained"):
        save_model(folder / kind, kind)
    model = tiny_model("llama")
    model.load_state_dict(planted())
    model.save_pretrained(str(folder / "unlearned"))
    tiny_tokenizer("word").save_pretrained(str(folder / "unlearned"))
    save_data(folder)
    # Truth ratios compare with a paraphrase of the answer.
    rows = [{**row(p), "paraphrased_answer": f"{p} is from {CITIES[p]} ."} for p in FORGET]
    (folder / "forget.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder
