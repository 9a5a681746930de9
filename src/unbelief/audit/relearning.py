"""How much relearning brings the knowledge back, in words under its curve."""

from __future__ import annotations

from unbelief.audit.numbers import Found, Numbers
from unbelief.report.audit_document import Role

_SHARE = 0.5
"""Of the original model's number: what counts as back."""


def relearning_note(measure: str, found: Found, numbers: Numbers) -> str:
    """After how many steps, and answers shown, half of what the original knew is there.

    Args:
        measure: What the curve is of.
        found: Has the options of the attack.
        numbers: Statistics of every point.
    """
    original = numbers.look(measure, "", "original")
    parts = ["The yardstick is how fast a model that never saw the records learns them."]
    if original is not None and original.value is not None:
        own = _reached("unlearned", measure, _SHARE * original.value, found, numbers)
        parts.append(f"Half of the original model\u2019s number: {own}.")
        if "retrained" in numbers.curve:
            yardstick = _reached("retrained", measure, _SHARE * original.value, found, numbers)
            parts.append(f"The retrained model: {yardstick}.")
    if "retrained" not in numbers.curve:
        parts.append("There is no retrained model here.")
    return " ".join(parts)


def _reached(role: Role, measure: str, bound: float, found: Found, numbers: Numbers) -> str:
    points = numbers.curve[role]
    for step in sorted(points):
        value = points[step][measure].value
        if value is not None and value >= bound:
            if step == 0:
                return "there before the first step"
            shown = step * int(found.curve_options["batch_size"])
            one = "1 step" if step == 1 else f"{step} steps"
            return f"reached by {one}, at most {shown} answers shown"
    return f"not reached within {max(points)} steps"
