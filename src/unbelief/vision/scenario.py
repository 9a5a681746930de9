"""Who calls what by which name: label domains of the data, of the model and of the request.

Three label domains take part in forgetting a class (Zhu et al., TARF): L_D, the labels of the data
that are handed over; L_M, the labels the model gives; L_T, the concept that is meant. Over a
hierarchy of two levels, fine ≺ coarse, they agree or disagree in four ways:

===============  =====================  ==========  ============  ===================
relation         label domains          model says  handed over   meant
===============  =====================  ==========  ============  ===================
all-matched      L_D = L_M = L_T        fine        fine F        F
target-mismatch  L_D = L_M ≺ L_T        fine        fine F in C   all of C
model-mismatch   L_D = L_T ≺ L_M        coarse      fine F in C   F, siblings stay
data-mismatch    L_D ≺ L_T = L_M        coarse      fine F in C   all of C
===============  =====================  ==========  ============  ===================

The last two start from the same data, model and request data: nothing but the request's meaning
tells them apart, so no method can find out by itself (`Scenario.beyond` says it).

Nothing here knows of images: items are numbers, labels are names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unbelief.errors import RequestError

Relation = Literal["all-matched", "target-mismatch", "model-mismatch", "data-mismatch"]
Level = Literal["fine", "coarse"]
RELATIONS: tuple[Relation, ...] = (
    "all-matched",
    "model-mismatch",
    "target-mismatch",
    "data-mismatch",
)
"""In the order of the published table."""


@dataclass(frozen=True)
class Hierarchy:
    """Two levels of labels; every fine label belongs to exactly one coarse label.

    Attributes:
        fine: Names of the fine labels.
        coarse: Names of the coarse labels.
        parent: Per fine label, the index of its coarse label.

    Raises:
        RequestError: A fine label without a coarse one, a coarse one without fine ones, or a name
            that is there twice.
    """

    fine: tuple[str, ...]
    coarse: tuple[str, ...]
    parent: tuple[int, ...]

    def __post_init__(self) -> None:
        for level, names in (("fine", self.fine), ("coarse", self.coarse)):
            if twice := sorted({n for n, times in Counter(names).items() if times > 1}):
                raise _wrong(f"the {level} label {twice[0]!r} is there twice", "name each once")
        if len(self.parent) != len(self.fine):
            raise _wrong(
                f"{len(self.fine)} fine labels, but {len(self.parent)} coarse labels for them",
                "give one coarse label per fine label",
            )
        if set(self.parent) != set(range(len(self.coarse))):
            raise _wrong(
                "a coarse label has no fine labels, or a fine label has no coarse label",
                "give every fine label one coarse label, and leave out empty ones",
            )

    def of_groups(self, coarse: Sequence[int]) -> tuple[int, ...]:
        """Fine labels of some coarse labels, in order."""
        wanted = set(coarse)
        return tuple(i for i, p in enumerate(self.parent) if p in wanted)


def hierarchy(groups: dict[str, Sequence[str]], fine: Sequence[str] | None = None) -> Hierarchy:
    """A hierarchy from coarse names with their fine names.

    Args:
        groups: Coarse name to fine names.
        fine: Order of the fine labels; by default as they come.

    Raises:
        RequestError: See `Hierarchy`; or a fine name of `fine` is in no group, or in two.
    """
    listed = [name for names in groups.values() for name in names]
    order = tuple(fine or listed)
    if sorted(listed) != sorted(order):
        odd = sorted({n for n in {*listed, *order} if listed.count(n) != 1 or n not in order})
        raise _wrong(
            f"the fine label {odd[0]!r} is in no superclass, in two, or unknown",
            "put every fine label into exactly one superclass",
        )
    where = {name: i for i, names in enumerate(groups.values()) for name in names}
    return Hierarchy(order, tuple(groups), tuple(where[name] for name in order))


def from_items(fine: Sequence[str], coarse: Sequence[str]) -> tuple[Hierarchy, np.ndarray]:
    """The hierarchy that items show, each with its fine and its coarse label.

    Returns:
        The hierarchy, labels in order of first appearance, and (N,) the items' fine labels.

    Raises:
        RequestError: A fine label comes with two coarse ones, or the two lists differ in length.
    """
    if len(fine) != len(coarse):
        raise _wrong(
            f"{len(fine)} fine labels for {len(coarse)} coarse ones", "give both for every item"
        )
    parents: dict[str, str] = {}
    for one, above in zip(fine, coarse, strict=True):
        if parents.setdefault(one, above) != above:
            raise _wrong(
                f"the fine label {one!r} comes with {parents[one]!r} and with {above!r}",
                "a fine label belongs to one coarse label",
            )
    fine_names, coarse_names = tuple(parents), tuple(dict.fromkeys(coarse))
    place = {name: i for i, name in enumerate(coarse_names)}
    made = Hierarchy(fine_names, coarse_names, tuple(place[parents[n]] for n in fine_names))
    index = {name: i for i, name in enumerate(fine_names)}
    return made, np.array([index[name] for name in fine], dtype=np.int64)


@dataclass(frozen=True)
class Split:
    r"""The sets of a scenario, as sorted indices of items.

    Attributes:
        forget: D_f, handed over.
        rest: D_un, everything else.
        target: D_t, all that is meant.
        false_retain: D_fr = D_t \ D_f, meant but not handed over.
        retain: D_r = D \ D_t.
        affected: D_ar, siblings of the target that must stay.
    """

    forget: np.ndarray
    rest: np.ndarray
    target: np.ndarray
    false_retain: np.ndarray
    retain: np.ndarray
    affected: np.ndarray


@dataclass(frozen=True)
class Scenario:
    """A relation of label domains with the fine labels that are handed over.

    Attributes:
        relation: See the module.
        hierarchy: Fine and coarse labels.
        given: Fine labels F of the data that are handed over.

    Raises:
        RequestError: F is empty or unknown; or under a mismatch a coarse label has nothing but F
            below it, so that there is no mismatch.
    """

    relation: Relation
    hierarchy: Hierarchy
    given: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.relation not in RELATIONS:
            raise _wrong(f"unknown relation {self.relation!r}", f"known: {', '.join(RELATIONS)}")
        known = range(len(self.hierarchy.fine))
        if not self.given or len(set(self.given)) != len(self.given):
            raise _wrong(f"labels to forget: {list(self.given)}", "name one or more, each once")
        if unknown := [i for i in self.given if i not in known]:
            raise _wrong(
                f"there is no fine label {unknown[0]}",
                f"known: 0 to {len(self.hierarchy.fine) - 1}",
            )
        if set(self.given) == set(known):
            raise _wrong("all labels are to be forgotten", "leave something to keep")
        if self.relation == "all-matched":
            return
        for group in self.groups:
            if set(self.hierarchy.of_groups([group])) <= set(self.given):
                raise _wrong(
                    f"everything below {self.hierarchy.coarse[group]!r} is handed over",
                    f"that is no {self.relation}: hand over a part, or choose all-matched",
                )
        if len(self.groups) == len(self.hierarchy.coarse):
            raise _wrong("every coarse label is touched", "leave a coarse label to keep")

    @property
    def groups(self) -> tuple[int, ...]:
        """Coarse labels C above the labels that are handed over."""
        return tuple(sorted({self.hierarchy.parent[i] for i in self.given}))

    @property
    def target(self) -> tuple[int, ...]:
        """Fine labels that are meant."""
        if self.relation in ("target-mismatch", "data-mismatch"):
            return self.hierarchy.of_groups(self.groups)
        return tuple(sorted(self.given))

    @property
    def siblings(self) -> tuple[int, ...]:
        """Fine labels below C that are not handed over."""
        given = set(self.given)
        return tuple(i for i in self.hierarchy.of_groups(self.groups) if i not in given)

    @property
    def model_level(self) -> Level:
        """The labels the model gives."""
        return "coarse" if self.relation in ("model-mismatch", "data-mismatch") else "fine"

    @property
    def classes(self) -> int:
        """Number of labels the model gives."""
        names = self.hierarchy.fine if self.model_level == "fine" else self.hierarchy.coarse
        return len(names)

    @property
    def beyond(self) -> int:
        """Labels of the model, among the data not handed over, that are meant too.

        This is knowledge of the request: no method can get it from data or model.
        """
        if self.relation == "target-mismatch":
            return len(self.siblings)
        return len(self.groups) if self.relation == "data-mismatch" else 0

    def model_labels(self, fine: np.ndarray) -> np.ndarray:
        """(N,) fine labels as the model's labels."""
        return fine if self.model_level == "fine" else np.array(self.hierarchy.parent)[fine]

    def split(self, fine: np.ndarray) -> Split:
        """The sets of items with these (N,) fine labels."""
        given, target = np.isin(fine, self.given), np.isin(fine, self.target)
        siblings = np.isin(fine, self.siblings) & (self.relation != "all-matched")
        return Split(
            forget=np.flatnonzero(given),
            rest=np.flatnonzero(~given),
            target=np.flatnonzero(target),
            false_retain=np.flatnonzero(target & ~given),
            retain=np.flatnonzero(~target),
            affected=np.flatnonzero(siblings & ~target),
        )


def _wrong(message: str, remedy: str) -> RequestError:
    return RequestError(message, where="scenario", remedy=remedy)
