"""Dry run of a request: data, tokens, memory and time, before anything is trained or written."""

from __future__ import annotations

from unbelief.preflight.check import check_request
from unbelief.preflight.result import PreflightReport
from unbelief.preflight.text import render

__all__ = ["PreflightReport", "check_request", "render"]
