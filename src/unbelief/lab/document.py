"""A lab result together with what follows from it: the content of `result.json`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from unbelief.lab.analysis import analyse
from unbelief.lab.findings import findings
from unbelief.lab.result import LabResult, rounded


def document(result: LabResult) -> dict[str, Any]:
    """Return the fields of a result and, under `analysis`, all that is derived from them.

    The derived part is there for the report and for whoever has no Python at hand;
    `LabResult.from_dict` reads the measured part alone.
    """
    analysis = analyse(result)
    derived = {**asdict(analysis), "findings": [asdict(f) for f in findings(result, analysis)]}
    plain: dict[str, Any] = json.loads(result.to_json())
    return plain | {"analysis": json.loads(json.dumps(rounded(derived)))}
