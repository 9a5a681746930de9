"""Two models with a way between them on which knowledge is lost, and their records."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.audit.made import save_data, save_model, trained
from tests.helpers import tiny_model, tiny_tokenizer


def save_pair(folder: Path) -> Path:
    """`original`, `unlearned` (every weight set to zero: it knows nothing) and the data.

    At α the mixture is (1 − α) original: scaled-down weights, which lose what they know somewhere.
    """
    save_model(folder / "original", "original")
    wiped = tiny_model("llama")
    wiped.load_state_dict({n: torch.zeros_like(t) for n, t in trained("original").items()})
    wiped.save_pretrained(str(folder / "unlearned"))
    tiny_tokenizer("word").save_pretrained(str(folder / "unlearned"))
    save_data(folder)
    return folder
