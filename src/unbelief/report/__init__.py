"""Self-contained HTML, Markdown, LaTeX and CSV from results; never sees a model."""

from unbelief.report.audit_page import build_audit_report
from unbelief.report.card_summary import audit_summary
from unbelief.report.exports import audit_csv, audit_latex, audit_markdown, prompts_csv
from unbelief.report.lab import build_lab_report
from unbelief.report.reading import read_audit
from unbelief.report.tables import Table, distance_table, tables, to_csv, to_markdown

__all__ = [
    "Table",
    "audit_csv",
    "audit_latex",
    "audit_markdown",
    "audit_summary",
    "build_audit_report",
    "build_lab_report",
    "distance_table",
    "prompts_csv",
    "read_audit",
    "tables",
    "to_csv",
    "to_markdown",
]
