"""UA, RA, TA, MIA and Gap: a forgetting classifier against one that was retrained.

All are in percent, on images without augmentation, with labels in the model's own domain. UA is
the accuracy on what was meant to be forgotten: *low* where the class is unknown, and not 100 minus
it as in Unlearn-Sparse and SalUn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from unbelief.vision.scenario import Split

GAP_PARTS = ("UA", "RA", "TA", "MIA")
SVC = {"C": 3, "gamma": "auto", "kernel": "rbf"}
FOLDS = 5


@dataclass(frozen=True)
class Share:
    """A share of items in percent, with its counts; or why there is none.

    Attributes:
        hits: Items that count.
        n: Items.
        unscored: Why there is no value.
    """

    hits: int = 0
    n: int = 0
    unscored: str | None = None

    @property
    def percent(self) -> float | None:
        """100 hits / n; None when unscored."""
        return None if self.unscored or not self.n else 100 * self.hits / self.n


@dataclass(frozen=True)
class Seen:
    """What a model says about images.

    Attributes:
        logits: (N, classes).
        labels: (N,) true labels in the model's domain.
    """

    logits: np.ndarray
    labels: np.ndarray

    def accuracy(self, index: np.ndarray, empty: str) -> Share:
        """Share of some images it has right.

        Args:
            index: Which.
            empty: Why there are none, if there are none.
        """
        if not len(index):
            return Share(unscored=empty)
        if not np.isfinite(self.logits[index]).all():
            return Share(unscored="the model's logits are not finite")
        right = self.logits[index].argmax(1) == self.labels[index]
        return Share(int(right.sum()), len(index))

    def confidence(self, index: np.ndarray) -> np.ndarray:
        """(K,) softmax probability of the true label."""
        z = self.logits[index].astype(np.float64)
        z -= z.max(axis=1, keepdims=True)
        p = np.exp(z)
        return np.asarray(p[np.arange(len(z)), self.labels[index]] / p.sum(axis=1))


@dataclass(frozen=True)
class Attack:
    """The outcome of a membership attack.

    Attributes:
        efficacy: MIA, the share of the target it takes for non-members.
        accuracy: Share of shadow images it gets right when they are held out, in folds; 50 % means
            that the attack cannot tell members at all and MIA says nothing.
    """

    efficacy: Share
    accuracy: Share


def membership(
    member: np.ndarray, non_member: np.ndarray, target: np.ndarray, seed: int = 0
) -> Attack:
    """The confidence attack: a support vector machine on the true label's probability.

    Args:
        member: (M,) confidences of retained training images.
        non_member: (K,) of test images without those of the target.
        target: (T,) of the training images that were to be forgotten.
        seed: Shadow sets are shuffled, and cut to the size of the smaller.

    Returns:
        100 % non-members for a model that never saw the target, little for the original.

    Source: Unlearn-Sparse's SVC attack on `confidence` (C = 3, RBF, gamma = "auto").
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.svm import SVC as Machine

    if not len(target):
        none = Share(unscored="there is nothing to forget")
        return Attack(none, none)
    size = min(len(member), len(non_member))
    if size < FOLDS or not all(np.isfinite(x).all() for x in (member, non_member, target)):
        why = f"fewer than {FOLDS} shadow images" if size < FOLDS else "confidences not finite"
        return Attack(Share(unscored=why), Share(unscored=why))
    drawn = np.random.default_rng(seed)
    shadow = np.concatenate([drawn.permutation(x)[:size] for x in (member, non_member)])[:, None]
    truth = np.repeat([1, 0], size)
    said = Machine(**SVC).fit(shadow, truth).predict(target[:, None])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    held_out = cross_val_predict(Machine(**SVC), shadow, truth, cv=folds)
    return Attack(
        Share(int((said == 0).sum()), len(target)),
        Share(int((held_out == truth).sum()), len(truth)),
    )


def measure(
    train: Seen, test: Seen, train_split: Split, test_split: Split, seed: int = 0
) -> dict[str, Share]:
    """Everything that is said of one model in one scenario.

    Returns:
        UA and MIA on all of the target D_t, and UA's parts (given, not given); RA; TA without test
        images of the target's classes and `TA_full` with them; `MIA_attack`, the attack's own
        accuracy; the target's and the siblings' accuracy on test images, and the siblings' on
        training images.
    """
    nothing = "the scenario has no such images"
    attack = membership(
        train.confidence(train_split.retain),
        test.confidence(test_split.retain),
        train.confidence(train_split.target),
        seed,
    )
    whole = np.arange(len(test.labels))
    return {
        "UA": train.accuracy(train_split.target, nothing),
        "RA": train.accuracy(train_split.retain, nothing),
        "TA": test.accuracy(test_split.retain, nothing),
        "MIA": attack.efficacy,
        "UA_given": train.accuracy(train_split.forget, nothing),
        "UA_not_given": train.accuracy(train_split.false_retain, nothing),
        "siblings": train.accuracy(train_split.affected, nothing),
        "target_test": test.accuracy(test_split.target, nothing),
        "siblings_test": test.accuracy(test_split.affected, nothing),
        "TA_full": test.accuracy(whole, nothing),
        "MIA_attack": attack.accuracy,
    }


@dataclass(frozen=True)
class Gap:
    """Distance to the retrained model.

    Attributes:
        value: Mean of the four absolute differences; None when one is missing.
        deltas: UA, RA, TA and MIA minus the retrained model's, signed. They mean different things,
            so the mean alone says little.
        unscored: Why there is no value.
    """

    value: float | None
    deltas: dict[str, float | None]
    unscored: str | None = None


def gap(model: Mapping[str, float | None], retrained: Mapping[str, float | None]) -> Gap:
    r"""Mean absolute difference of UA, RA, TA and MIA to the retrained model.

    .. math:: Gap = \tfrac14 \big(|\Delta_{UA}| + |\Delta_{RA}| + |\Delta_{TA}|
              + |\Delta_{MIA}|\big)

    Args:
        model: The four numbers in percent.
        retrained: Likewise.

    Source: Jia et al. 2023; the tutorial's table.
    """
    deltas: dict[str, float | None] = {}
    for name in GAP_PARTS:
        one, two = model[name], retrained[name]
        deltas[name] = None if one is None or two is None else one - two
    lost = [name for name, delta in deltas.items() if delta is None]
    if lost:
        return Gap(None, deltas, f"{', '.join(lost)} could not be computed")
    known = [abs(d) for d in deltas.values() if d is not None]
    return Gap(math.fsum(known) / len(known), deltas)
