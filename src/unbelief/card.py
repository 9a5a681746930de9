"""The model card of an unlearned model: what was done, what it may be called, what it is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LIMITS = (
    "Approximate unlearning was run as described. Nothing here shows that no influence of the "
    "records remains, nor that another attack, more fine-tuning or another precision would not "
    "bring them back. It is not a legal certificate of erasure or anonymity."
)


def model_card(details: Mapping[str, Any]) -> str:
    """Markdown card with hub metadata; names no record, no person and no local path.

    Args:
        details: What is written to `unbelief.json`.
    """
    provenance = details["provenance"]
    config = provenance["config"]
    forget = config["objective"]["forget"]
    method = config["method"] or forget["name"]
    retain = config["objective"]["retain"]
    rows = [
        ("method", f"`{method}`"),
        ("forget term", _options(forget)),
        ("retain term", _options(retain) if retain else "none"),
        ("reduction", config["objective"]["reduction"]),
        ("records to forget", str(provenance["forget"]["n"])),
        ("records to keep", str(provenance["retain"]["n"]) if provenance["retain"] else "none"),
        ("optimiser steps", str(details["steps"])),
        ("learning rate", f"{config['train']['learning_rate']:g}"),
        ("weights that came in (SHA-256)", f"`{provenance['input_weights_sha256']}`"),
        ("claim", details["claim"]),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return (
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\n"
        f"tags:\n- machine-unlearning\n- {method}\n---\n\n"
        "# Unlearned model\n\nMade with unbelief. Everything needed to repeat the run, and its "
        "curves, is in `unbelief.json`.\n\n"
        f"| | |\n|---|---|\n{table}\n\n{_chosen(details)}## Limits\n\n{LIMITS}\n\n"
        "Whoever has this model and the model it came from can compare the two and "
        "learn *what* was removed.\n"
    )


def _chosen(details: Mapping[str, Any]) -> str:
    """How method and strength came about, where nobody named them."""
    if "auto" not in details:
        return ""
    lines = "".join(f"- {line.strip()}\n" for line in details["auto"]["explanation"])
    return f"## How method and strength were chosen\n\n{lines}\n"


def _options(term: Mapping[str, Any]) -> str:
    parts = []
    for name, value in term.items():
        if name == "name":
            continue
        shown = _options(value) if isinstance(value, Mapping) else f"{value}"
        parts.append(f"{name}={shown}")
    return f"{term['name']}({', '.join(parts)})"
