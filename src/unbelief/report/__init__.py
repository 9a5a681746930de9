"""Self-contained HTML, Markdown and CSV from results; never sees a model."""

from unbelief.report.lab import build_lab_report
from unbelief.report.tables import Table, distance_table, tables, to_csv, to_markdown

__all__ = ["Table", "build_lab_report", "distance_table", "tables", "to_csv", "to_markdown"]
