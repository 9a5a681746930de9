"""The model card of a mixed or patched model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unbelief.card import LIMITS


def mixture_card(
    title: str, facts: Mapping[str, str], document: Mapping[str, Any], file: str
) -> str:
    """Markdown card with hub metadata; names no record, no person and no local path.

    Args:
        title: Heading.
        facts: What was done, line by line.
        document: What is written beside the card.
        file: Under which name.
    """
    provenance = document["provenance"]
    inputs = provenance["config"]["inputs"]
    rows = {
        **facts,
        "records to forget": str(provenance["forget"]["n"]),
        "records to keep": str(provenance["retain"]["n"]),
        "original weights (SHA-256)": f"`{inputs['original']['weights_sha256']}`",
        "unlearned weights (SHA-256)": f"`{inputs['unlearned']['weights_sha256']}`",
        "claim": "approximate unlearning, not yet tested",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return (
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\n"
        "tags:\n- machine-unlearning\n- merge\n---\n\n"
        f"# {title}\n\nMade with unbelief, without training. Everything that led to it is in "
        f"`{file}`.\n\n| | |\n|---|---|\n{table}\n\n## Limits\n\n{LIMITS}\n\nWeights of the model "
        "that knew the records are in this one, so what was forgotten may be in it too.\n"
    )
