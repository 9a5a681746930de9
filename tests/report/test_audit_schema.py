from __future__ import annotations

import json
from pathlib import Path

from tests.report.made import audit
from unbelief.report.audit_schema import audit_schema

FILE = Path(__file__).resolve().parents[2] / "docs" / "audit.schema.json"


def test_published_schema_is_up_to_date():
    remedy = "make it again: python -m unbelief.report.audit_schema docs/audit.schema.json"
    assert FILE.read_text(encoding="utf-8") == audit_schema(), remedy


def test_schema_describes_what_is_written():
    schema, written = json.loads(audit_schema()), json.loads(audit(1).model_dump_json())
    assert set(written) == set(schema["properties"])
    assert set(schema["required"]) <= set(written)
    assert schema["additionalProperties"] is False
    part = schema["$defs"]["PromptRow"]
    assert set(written["prompts"][0]) == set(part["properties"])
