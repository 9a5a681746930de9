"""An LLM as a judge: naturalness and similarity, 0 to 5, higher is better unlearning in both.

Items (`items`) are put into our prompt (`prompts`) as data, among `controls` whose grades are known
beforehand, and asked of a chat (`chats`): an HTTP `endpoint`, a `local` model, or `recorded`
answers. `run` brings it together, `verdicts` reads replies, `result` makes the results file, and
`agreement` compares judges with one another and with people.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "Endpoint": "unbelief.judge.endpoint",
    "Item": "unbelief.judge.items",
    "Judgement": "unbelief.judge.run",
    "LocalModel": "unbelief.judge.local",
    "Replay": "unbelief.judge.recorded",
    "Retries": "unbelief.judge.pacing",
    "estimates": "unbelief.judge.result",
    "from_environment": "unbelief.judge.address",
    "judge_items": "unbelief.judge.run",
    "krippendorff_alpha": "unbelief.judge.agreement",
    "read_items": "unbelief.judge.items",
    "to_dict": "unbelief.judge.result",
    "weighted_kappa": "unbelief.judge.agreement",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    """Import public names on first use: an endpoint needs no torch."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'unbelief.judge' has no attribute {name!r}")


if TYPE_CHECKING:
    from unbelief.judge.address import from_environment
    from unbelief.judge.agreement import krippendorff_alpha, weighted_kappa
    from unbelief.judge.endpoint import Endpoint
    from unbelief.judge.items import Item, read_items
    from unbelief.judge.local import LocalModel
    from unbelief.judge.pacing import Retries
    from unbelief.judge.recorded import Replay
    from unbelief.judge.result import estimates, to_dict
    from unbelief.judge.run import Judgement, judge_items
