"""How the audited model was made, and what is needed to make the audit again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unbelief.audit.request import AuditRequest
from unbelief.provenance import environment

RECORD = "unbelief.json"


def made_by(model: str) -> str:
    """Method and length of the run, as the model's own record has it.

    A record is a claim of whoever made the model; the audit tests the model, not the claim.
    """
    file = Path(model).expanduser() / RECORD
    try:
        details = json.loads(file.read_text(encoding="utf-8"))
        config = details["provenance"]["config"]
        forget, retain = config["objective"]["forget"], config["objective"]["retain"]
        parts = [
            f"method {config['method'] or forget['name']}",
            f"forget term {_term(forget)}",
            f"retain term {_term(retain) if retain else 'none'}",
            f"{details['steps']} steps at learning rate {config['train']['learning_rate']:g}",
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return "method not recorded: the model came without a record of how it was made"
    return ", ".join(parts) + " (from the model\u2019s own record)"


def reproduction(
    request: AuditRequest, command: str, plain: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """Command, settings, software, machine, time, and how to check that these are the weights.

    Args:
        request: What was asked.
        command: As it was typed.
        plain: The request without what tells of the machine.
        seconds: Wall time of this start.
    """
    made_on = environment()
    return {
        "command": command,
        "request": dict(plain),
        "seeds": [request.seed + k for k in range(request.seeds)],
        "wall time, seconds": seconds,
        "energy": "not measured",
        "hardware": {
            "platform": made_on.platform,
            "processors": made_on.cpu_count,
            "accelerator": made_on.accelerator or "none seen",
        },
        "environment": {
            "unbelief": made_on.unbelief,
            "commit": made_on.git_commit or "not a checkout",
            "python": made_on.python,
            **made_on.packages,
        },
        "verify": (
            'python -c "from unbelief.provenance import weights_sha256; '
            "print(weights_sha256('MODEL'))\" must print the digest of the unlearned model"
        ),
    }


def _term(term: Mapping[str, Any]) -> str:
    options = ", ".join(f"{k}={v}" for k, v in term.items() if k != "name" and _is_plain(v))
    return f"{term['name']}({options})"


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)
