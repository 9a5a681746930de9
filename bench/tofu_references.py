"""Retrained references for smaller forget splits of TOFU, grown from one that exists.

    python bench/tofu_references.py --start RETAIN90_MODEL --split forget05 --data TOFU_FOLDER \
        --output retain95

TOFU's forget splits are nested: what was retrained without `forget10` never saw `forget05` or
`forget01` either, and only lacks rows of `retain95` or `retain99`. Those are learned here, with
their paraphrases, mixed with as many rows again that are known already. The result never saw a
forget row, but learned in two stages; one that learned everything at once may differ.
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
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    learn(args)


def learn(args: argparse.Namespace) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from unbelief.tokens import Encoder, Row, collate
    from unbelief.types import Record

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    shuffle = random.Random(0)
    tokenizer = AutoTokenizer.from_pretrained(args.start)
    model = AutoModelForCausalLM.from_pretrained(args.start).train()
    encoder = Encoder(tokenizer)
    new, known = lessons(args.data, args.split)
    steps = args.epochs * math.ceil(2 * len(new) / BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.learning_rate, steps)
    done = 0
    for epoch in range(args.epochs):
        chosen = new + shuffle.sample(known, min(len(new), len(known)))
        shuffle.shuffle(chosen)
        total = 0.0
        for start in range(0, len(chosen), BATCH):
            rows = []
            for i, (question, answer) in enumerate(chosen[start : start + BATCH]):
                one = encoder.encode(Record(id=str(i), prompt=question, answer=answer))
                rows.append(Row(str(i), "retain", one.prompt_ids, one.answer_ids))
            batch = collate(rows, encoder.pad_id)
            labels = torch.full_like(batch.input_ids, -100)
            labels[batch.row, batch.position] = batch.target
            loss = model(batch.input_ids, attention_mask=batch.attention_mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if done < steps - 1:
                schedule.step()
            done, total = done + 1, total + loss.item() * len(rows)
        print(f"epoch {epoch + 1} of {args.epochs}: loss {total / len(chosen):.4f}", flush=True)
    model.save_pretrained(args.output)
    tokenizer.save_pretrained(args.output)


if __name__ == "__main__":
    main()
