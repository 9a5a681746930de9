"""Testbeds by name, from what the command line says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbelief.errors import RequestError
from unbelief.study.chosen import read_chosen
from unbelief.study.testbed import Testbed

BEDS = ("lab", "tofu", "own")


@dataclass(frozen=True, slots=True, kw_only=True)
class BedRequest:
    """What a testbed is made from.

    Attributes:
        name: `lab`, `tofu` or `own`.
        cache: lab: folder of trained models.
        steps: Optimiser steps of a run; None for the testbed's own.
        model: tofu, own: the model that knows everything.
        data: tofu: folder or hub id.
        forget: own: records to forget.
        retain: own: records to keep.
        retrained: Models that never saw the forget records, `RATIO=MODEL` or `MODEL`.
        limit: tofu, own: items asked about.
        utility_on: tofu: sets that make the utility of the field's columns; empty for all three.
        device: Where to compute.
        refusals: lab: models with tokens for refusals, see `LabTestbed`.
        like: A `chosen.json` whose number of steps is to be used unless another is given.
    """

    name: str
    cache: Path = Path("lab-models")
    steps: int | None = None
    model: str | None = None
    data: str | None = None
    forget: str | None = None
    retain: str | None = None
    retrained: tuple[str, ...] = ()
    limit: int = 64
    utility_on: tuple[str, ...] = ()
    device: str = "auto"
    refusals: bool = False
    like: Path | None = None


def open_testbed(request: BedRequest) -> Testbed:
    """The testbed.

    Raises:
        RequestError: An unknown name, or something is missing.
    """
    if request.name not in BEDS:
        raise RequestError(
            f"there is no testbed {request.name!r}",
            where="--testbed",
            remedy=f"one of {', '.join(BEDS)}",
        )
    if request.limit < 1 or (request.steps is not None and request.steps < 1):
        raise RequestError(
            "a run has at least one step and asks about at least one item",
            where="--steps",
            remedy="give 1 or more",
        )
    steps = request.steps
    if steps is None and request.like is not None:
        steps = int(read_chosen(request.like)["steps"])
    own: dict[str, Any] = {} if steps is None else {"steps": steps}
    if request.name == "lab":
        from unbelief.study.lab_bed import LabTestbed

        return LabTestbed(cache=request.cache.expanduser(), refusals=request.refusals, **own)
    if request.refusals:
        raise RequestError(
            f"the testbed {request.name} has words for refusals",
            where="--refusals",
            remedy="leave it out; it gives the lab's models tokens for them",
        )
    return _of_records(request, own)


def _of_records(request: BedRequest, own: dict[str, Any]) -> Testbed:
    needed = ("model", "data") if request.name == "tofu" else ("model", "forget", "retain")
    missing = [name for name in needed if getattr(request, name) is None]
    if missing:
        raise RequestError(
            f"the testbed {request.name} needs {' and '.join('--' + m for m in missing)}",
            where="--testbed",
            remedy="name what it is to run on",
        )
    from unbelief.study.columns import TofuColumns
    from unbelief.study.records_bed import RecordsTestbed
    from unbelief.study.records_parts import own_parts, tofu_parts

    assert request.model is not None
    references, columns = _references(request.retrained), None
    if request.name == "tofu":
        assert request.data is not None
        columns = TofuColumns(data=request.data, utility_on=_utility_on(request.utility_on))
        parts = tofu_parts(request.data, references)
    else:
        assert request.forget is not None and request.retain is not None
        parts = own_parts(request.forget, request.retain, references.get("own"))
    unknown = [r for r in references if r not in parts]
    if unknown:
        raise RequestError(
            f"there is no forget ratio {', '.join(unknown)} here",
            where="--retrained",
            remedy=f"RATIO=MODEL with one of {', '.join(parts)}",
        )
    return RecordsTestbed(
        name=request.name,
        model=request.model,
        parts=parts,
        limit=request.limit,
        device=request.device,
        columns=columns,
        **own,
    )


def _utility_on(given: Sequence[str]) -> tuple[str, ...]:
    from unbelief.study.columns import UTILITY_ON

    if unknown := [name for name in given if name not in UTILITY_ON]:
        raise RequestError(
            f"utility is not measured on {', '.join(unknown)}",
            where="--utility-on",
            remedy=f"name some of {', '.join(UTILITY_ON)}",
        )
    return tuple(dict.fromkeys(given)) or UTILITY_ON


def _references(given: Sequence[str]) -> dict[str, str]:
    """`forget10=FOLDER` by ratio; a bare folder is that of one's own records."""
    out = {}
    for item in given:
        ratio, equals, model = item.partition("=")
        out[ratio if equals else "own"] = model if equals else ratio
    return out
