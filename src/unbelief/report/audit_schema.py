"""The published schema of the audit's document: `docs/audit.schema.json`.

python -m unbelief.report.audit_schema docs/audit.schema.json
"""

from __future__ import annotations

import json
import sys

from unbelief.outputs import atomic_write
from unbelief.report.audit_document import VERSION, AuditDocument


def audit_schema() -> str:
    """JSON schema (2020-12) of `AuditDocument`, as text."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"unbelief.audit.v{VERSION}",
        **AuditDocument.model_json_schema(),
    }
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    atomic_write(sys.argv[1], audit_schema())
