"""Retrained references for smaller forget splits of TOFU, grown from one that exists.

    python bench/tofu_references.py --start RETAIN90_MODEL --split forget05 --data TOFU_FOLDER \
        --output retain95

TOFU's forget splits are nested: what was retrained without `forget10` never saw `forget05` or
`forget01` either, and only lacks rows of `retain95` or `retain99`. Those are learned here, with
their paraphrases, among *all* rows that are known already: mixed with a few of those only, the
model unlearns the others, and is then a reference for nothing. What became of them is printed, and
a model that lost more than `--most-lost` of them is not written. The result never saw a forget row,
but learned in two stages; one that learned everything at once may differ.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from pathlib import Path
from typing import Any

KEPT = {"forget05": "retain95", "forget01": "retain99"}
BATCH = 16


def pairs(path: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = [(r["question"], r["answer"]) for r in rows]
    return found + [
        (r["paraphrased_question"], r["paraphrased_answer"])
        for r in rows
        if r.get("paraphrased_question") and r.get("paraphrased_answer")
    ]


def lessons(data: Path, split: str) -> tuple[list[Any], list[Any]]:
    """Pairs to learn, which the starting model lacks, and pairs it knows."""
    known = pairs(data / "retain90.jsonl")
    wanted = set(pairs(data / f"{KEPT[split]}.jsonl"))
    new = sorted(wanted - set(known))
    questions = {question for question, _ in new}
    rows = (data / "forget10_perturbed.jsonl").read_text(encoding="utf-8").splitlines()
    for row in map(json.loads, rows):
        if row["question"] in questions:
            new.append((row["paraphrased_question"], row["paraphrased_answer"]))
    return new, known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", required=True)
    parser.add_argument("--split", choices=tuple(KEPT), required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--repeat", type=int, default=3, help="times a new pair is seen per epoch")
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--most-lost", type=float, default=0.02, help="share of probability")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    learn(args)


def learn(args: argparse.Namespace) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from unbelief.tokens import Encoder

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    shuffle = random.Random(0)
    tokenizer = AutoTokenizer.from_pretrained(args.start)
    model = AutoModelForCausalLM.from_pretrained(args.start)
    encoder = Encoder(tokenizer)
    new, known = lessons(args.data, args.split)
    sample = shuffle.sample(known, min(256, len(known)))
    before = probability(model, encoder, sample)
    steps = args.epochs * math.ceil((args.repeat * len(new) + len(known)) / BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.learning_rate, steps + 1)
    model.train()
    for epoch in range(args.epochs):
        chosen = args.repeat * new + known
        shuffle.shuffle(chosen)
        total = 0.0
        for start in range(0, len(chosen), BATCH):
            loss = loss_of(model, encoder, chosen[start : start + BATCH])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            total += loss.item()
        mean = total / math.ceil(len(chosen) / BATCH)
        print(f"epoch {epoch + 1} of {args.epochs}: loss {mean:.4f}", flush=True)
    model.eval()
    after, learned = (probability(model, encoder, rows) for rows in (sample, new))
    print(f"probability per token: known {before:.3f}, now {after:.3f}; new {learned:.3f}")
    if after < before - args.most_lost:
        raise SystemExit("what was known is lost: nothing written; train for longer")
    model.save_pretrained(args.output)
    tokenizer.save_pretrained(args.output)


def loss_of(model: Any, encoder: Any, some: list[tuple[str, str]]) -> Any:
    """Mean loss of the answers' tokens."""
    import torch

    from unbelief.tokens import Row, collate
    from unbelief.types import Record

    rows = []
    for i, (question, answer) in enumerate(some):
        one = encoder.encode(Record(id=str(i), prompt=question, answer=answer))
        rows.append(Row(str(i), "retain", one.prompt_ids, one.answer_ids))
    batch = collate(rows, encoder.pad_id)
    labels = torch.full_like(batch.input_ids, -100)
    labels[batch.row, batch.position] = batch.target
    return model(batch.input_ids, attention_mask=batch.attention_mask, labels=labels).loss


def probability(model: Any, encoder: Any, some: list[tuple[str, str]]) -> float:
    """Per token: exp(−mean loss), batch by batch."""
    import torch

    with torch.no_grad():
        losses = [
            loss_of(model, encoder, some[i : i + BATCH]).item() for i in range(0, len(some), BATCH)
        ]
    return math.exp(-sum(losses) / len(losses))


if __name__ == "__main__":
    main()
