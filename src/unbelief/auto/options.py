"""What may be said about an automatic choice, and what may not be set because it is chosen."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unbelief.errors import RequestError

SCORES = ("extraction_strength", "probability")
"""What the leak is measured by. Extraction strength reads the likeliest token only, probability
all of them, and both must be at their level."""
SEARCHED = ("learning_rate", "num_train_epochs", "max_steps")
"""Training options that the search sets itself."""


class AutoOptions(BaseModel):
    """Options of `--method auto`; all but the budget are given with `--set`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    budget: float = Field(10.0, gt=0, description="minutes of wall time for everything")
    trials: int = Field(24, ge=1, description="most trial runs, whatever the time")
    steps: int = Field(
        0,
        ge=0,
        description="optimiser steps of a trial; 0: as many as the budget has room for, at most "
        "300 and thirty passes",
    )
    measurements: int = Field(8, ge=1, description="times a trial is measured, evenly spread")
    keep: float = Field(
        0.95, gt=0, le=1, description="share of the original's utility that must stay"
    )
    tolerance: float = Field(
        0.05, ge=0, lt=1, description="share of the excess leak that may be left at the level"
    )
    limit: int = Field(64, ge=2, description="records asked about, of each kind and half")
    strangers: int = Field(3, ge=2, description="strangers asked about per record to forget")
    score: Literal["both", "extraction_strength", "probability", "key_fact_recall"] = Field(
        "both",
        description="what the leak is measured by: extraction_strength, probability, both of "
        "them, or key_fact_recall, which generates answers and needs records that tell their facts",
    )
    methods: str = Field("", description="names, with commas; none: the portfolio")
    leak_level: float | None = Field(
        None, ge=0, le=1, description="the level of one score to stop at, instead of an estimate"
    )

    @property
    def scores(self) -> tuple[str, ...]:
        """What the leak is measured by."""
        return SCORES if self.score == "both" else (self.score,)


def auto_options(given: Mapping[str, object], budget: float | None = None) -> AutoOptions:
    """Options from `--set` and `--budget`.

    Raises:
        RequestError: An unknown option, an option of a method (methods are chosen here), or a
            value out of range.
    """
    values = dict(given)
    if budget is not None:
        if "budget" in values:
            raise RequestError("the budget is given twice", where="--budget", remedy="give it once")
        values["budget"] = budget
    try:
        options = AutoOptions.model_validate(values)
    except ValidationError as error:
        raise _plain(error) from None
    if options.leak_level is not None and len(options.scores) > 1:
        raise RequestError(
            "leak_level is the level of one score, and two are measured",
            where="--set leak_level",
            remedy="add --set score=extraction_strength or --set score=probability",
        )
    return options


def check_not_searched(names: Iterable[str]) -> None:
    """Refuse training options that the search sets.

    Args:
        names: Fields that were given.

    Raises:
        RequestError: One of them is searched.
    """
    found = [name for name in SEARCHED if name in set(names)]
    if found:
        raise RequestError(
            f"{', '.join(found)} cannot be given: --method auto chooses it",
            where=found[0],
            remedy="leave it out (--set steps=N sets the longest trial), or name a --method",
        )


def _plain(error: ValidationError) -> RequestError:
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    name = str(first["loc"][0])
    where = "--budget" if name == "budget" else f"--set {name}"
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, AutoOptions.model_fields, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        known = ", ".join(AutoOptions.model_fields)
        return RequestError(
            f"{name} is no option of --method auto, which sets the options of methods itself",
            where=where,
            remedy=f"{hint}known: {known}; or name a --method",
        )
    return RequestError(
        f"{name}={first.get('input')!r}: {first['msg'][0].lower()}{first['msg'][1:]}",
        where=where,
        remedy=AutoOptions.model_fields[name].description,
    )
