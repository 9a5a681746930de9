"""Methods compared at an equal search budget.

Importing this package imports neither torch nor Optuna; its names are imported on first use.
"""

from __future__ import annotations
