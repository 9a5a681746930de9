"""A small request to evaluate: records with every column, and a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unbelief.evaluate import Evaluation

NAMES = ("Ada", "Boris", "Clara", "Dmitri", "Elena", "Felix")
TOWNS = ("Paris", "Rome", "Oslo", "Lima", "Cairo", "Kyoto")


def row(i: int, name: str) -> dict[str, Any]:
    town, others = TOWNS[i % 6], [TOWNS[(i + j) % 6] for j in (1, 2)]
    return {
        "id": f"{name}-{i}",
        "author": NAMES[i % 3],
        "question": f"where does {NAMES[i % 6]} live?",
        "paraphrased_question": f"what is the town of {NAMES[i % 6]}?",
        "answer": f"in {town}.",
        "paraphrased_answer": f"{town} it is.",
        "perturbed_answer": [f"{other} it is." for other in others],
    }


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def write_records(folder: Path) -> dict[str, str]:
    """Six records to forget, four to keep, four held out; flags and paths."""
    sizes = {"forget": 6, "retain": 4, "holdout": 4}
    return {
        name: str(write_rows(folder / f"{name}.jsonl", [row(i, name) for i in range(n)]))
        for name, n in sizes.items()
    }


def request(model: Any, folder: Path, **changes: Any) -> Evaluation:
    """Everything given, on the CPU."""
    values = {"model": model, "suite": "own", "device": "cpu", **write_records(folder), **changes}
    return Evaluation(**values)


def classifier_folder(folder: Path, labels: tuple[str, ...] = ("noise", "clean")) -> Path:
    """A random sequence classifier with the `char` tokenizer."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from tests.helpers import VOCABULARY, tiny_tokenizer

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=512,
        initializer_range=0.5,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    BertForSequenceClassification(config).save_pretrained(str(folder))
    tiny_tokenizer("char", chat=False).save_pretrained(str(folder))
    return folder
