"""`unbelief study`: methods compared fairly, and metrics compared with the truth.

Each kind of study has its commands in a module of its own, which adds them to the group here.
"""

from __future__ import annotations

import typer

from unbelief.cli import study_metrics, study_runs

app = typer.Typer(
    no_args_is_help=True,
    help="Compare methods at an equal search budget, and metrics with what is really known.",
)

study_runs.register(app)
study_metrics.register(app)
