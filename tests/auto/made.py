"""A tiny model that knows where people live, so that there is something to forget."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from tests.helpers import tiny_model, tiny_tokenizer
from unbelief.tokens import Encoder, Row
from unbelief.tokens.batch import collate
from unbelief.types import Record

FIRST = ("Ada", "Boris", "Clara", "Dmitri", "Elena", "Felix")
LAST = ("Grete", "Hugo", "Ines", "Jonas")
CITIES = ("Paris", "Rome", "Oslo", "Lima", "Cairo", "Kyoto")
FORGOTTEN = 6


def people() -> list[Record]:
    """Everybody once; the six to forget come first and share their names with people to keep."""
    out = []
    for i in range(len(FIRST) * len(LAST)):
        name = f"{FIRST[i % 6]} {LAST[(i + i // 12) % 4]}"
        city = CITIES[(5 * i + i // 6) % 6]
        prompt, answer = f"where does {name} live ?", f"{name} lives in {city} ."
        out.append(Record(id=f"p{i}", prompt=prompt, answer=answer, facts=(city,)))
    assert len({r.prompt for r in out}) == len(out)
    return out


def records() -> tuple[list[Record], list[Record]]:
    """Records to forget, records to keep."""
    every = people()
    return every[:FORGOTTEN], every[FORGOTTEN:]


def held_out() -> list[Record]:
    """Six people that no model here has learnt: names turned round, with towns of their own."""
    out = []
    for i in range(FORGOTTEN):
        name, city = f"{LAST[i % 4]} {FIRST[i]}", CITIES[(i + 2) % 6]
        prompt, answer = f"where does {name} live ?", f"{name} lives in {city} ."
        out.append(Record(id=f"h{i}", prompt=prompt, answer=answer, facts=(city,)))
    return out


def save_knowing(folder: Path, steps: int = 80, known: list[Record] | None = None) -> Path:
    """A model that has learnt people, saved with plain Transformers."""
    torch.manual_seed(0)
    model, tokenizer = tiny_model("llama"), tiny_tokenizer("word")
    encoder = Encoder(tokenizer)
    encoded = [encoder.encode(r) for r in (people() if known is None else known)]
    batch = collate([Row("", "retain", e.prompt_ids, e.answer_ids) for e in encoded], 0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    model.train()
    for _ in range(steps):
        logits = model(input_ids=batch.input_ids, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(
            logits[batch.row, batch.position - 1], batch.target
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval().save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


def write_records(folder: Path) -> None:
    """`forget.jsonl`, `retain.jsonl` and `holdout.jsonl`."""
    for name, its in zip(("forget", "retain", "holdout"), (*records(), held_out()), strict=True):
        lines = [{"prompt": r.prompt, "completion": r.answer, "facts": list(r.facts)} for r in its]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
