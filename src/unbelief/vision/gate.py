"""TARF's gate for records: which rows that were not handed over are meant too, and what follows.

A weight rule of an objective gives one number per side and step; the gate gives one per row. So it
is no rule but a choice of records between two runs: ascend a little on what was handed over, look
whose loss moved, then run any method on what the choice makes of the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unbelief.errors import RequestError
from unbelief.types import Record
from unbelief.vision.identify import by_class, by_sample

By = Literal["row", "group"]
Then = Literal["clean", "ascend"]


@dataclass(frozen=True)
class Gated:
    """What the second run is given.

    Attributes:
        forget: Records to forget.
        retain: Records to keep.
        found: Records of the rest that were taken for meant.
    """

    forget: tuple[Record, ...]
    retain: tuple[Record, ...]
    found: tuple[Record, ...]


def gate(
    forget: Sequence[Record],
    rest: Sequence[Record],
    change: Sequence[float] | np.ndarray,
    beyond: int,
    *,
    by: By = "row",
    then: Then = "clean",
) -> Gated:
    r"""Take the rows of the rest that ascent moved most out of what is to be kept.

    .. math:: \tau_i = \mathbb{1}\big[\,|\ell_i(\theta_{t_1}) - \ell_i(\theta_o)| < \beta\,\big]

    with β such that `beyond` rows, or all rows of `beyond` groups (by their mean rise), get τ = 0.

    Args:
        forget: D_f, handed over.
        rest: D_un, all others.
        change: Per record of the rest, its loss after ascent on D_f minus before, nats per token.
        beyond: How many rows, or groups, are meant too: knowledge of the request, as in
            `Scenario.beyond`. Rows that moved equally far are taken together.
        by: `row`: single rows. `group`: all rows of a person or document.
        then: `clean`: the rows found are left out of the retain set. `ascend`: they are forgotten
            too, after those handed over.

    Raises:
        RequestError: Not one finite number per row, a row without group, or nothing would be left
            to keep.

    Source: TARF, Eqs. 3 and 5.
    """
    moved = np.asarray(change, float)
    if moved.shape != (len(rest),) or not np.isfinite(moved).all():
        raise _wrong(
            f"{moved.size} changes of the loss for {len(rest)} records, or one is not finite",
            "measure the loss of every record of the rest before and after a gentler ascent",
        )
    groups = np.array([record.group for record in rest])
    if by == "group" and None in groups:
        raise _wrong("a record has no group", "give every record its group, or choose by rows")
    units = len(rest) if by == "row" else len(np.unique(groups))
    if not 0 <= beyond < units:
        raise _wrong(f"{beyond} of {units} {by}s are to be taken", "leave something to keep")
    taken = _taken(groups, moved, beyond, by)
    found = tuple(record for record, own in zip(rest, taken, strict=True) if own)
    return Gated(
        forget=(*forget, *found) if then == "ascend" else tuple(forget),
        retain=tuple(record for record, own in zip(rest, taken, strict=True) if not own),
        found=found,
    )


def _taken(groups: np.ndarray, moved: np.ndarray, beyond: int, by: By) -> np.ndarray:
    if beyond == 0:
        return np.zeros(len(moved), bool)
    if by == "row":
        return by_sample(moved, beyond / len(moved))
    same = np.ones(len(moved), bool)  # no row counts as right or wrong: the loss alone decides
    return by_class(groups, same, same, moved, beyond)


def _wrong(message: str, remedy: str) -> RequestError:
    return RequestError(message, where="gate", remedy=remedy)
