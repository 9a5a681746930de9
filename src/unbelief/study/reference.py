"""Whether the models a study measures by can bear it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unbelief.errors import RequestError
from unbelief.study.testbed import Measured

# A retrained model learned the retain records as the original did. What it keeps less of them than
# this is a fault of its training, and the distance would pay methods for the same fault.
MOST_LOST = 0.1


def check_aims_can_be_measured(references: Mapping[str, Measured], aims: Sequence[str]) -> None:
    """Refuse a search for what the testbed cannot measure, or by a reference that cannot bear it.

    Args:
        references: `original`, and `retrained` where there is one.
        aims: What is searched for.

    Raises:
        RequestError: An aim has no value; or the distance is aimed at and the retrained model lost
            what was to stay.
    """
    original = references["original"]
    for aim in aims:
        if aim not in original.values:
            why = original.unscored.get(aim, "it is not measured here")
            raise RequestError(
                f"{aim} cannot be aimed at: {why}",
                where="--aim",
                remedy="aim at other quantities, or give what is missing",
            )
    lost = lost_by_reference(
        original.values.get("utility"),
        references["retrained"].values.get("utility") if "retrained" in references else None,
    )
    if lost is not None and "distance" in aims:
        raise RequestError(
            f"{lost}: a search for the least distance would reward losing it",
            where="--retrained",
            remedy="train the reference until it knows the retain records as the original does, or "
            "give --aim forgetting,naturalness,utility",
        )


def lost_by_reference(original: float | None, retrained: float | None) -> str | None:
    """In words, that a retrained model keeps less utility than `MOST_LOST` allows; else None."""
    if original is None or retrained is None or retrained >= original - MOST_LOST:
        return None
    return (
        f"the retrained model has a utility of {retrained:.2f} and the original {original:.2f} on "
        "records that both were trained on"
    )
