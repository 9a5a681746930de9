"""The unlearning methods on a task they can all solve, and their formulas by hand."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from tests.vision.made import CLASSES, PER_CLASS, fresh_model, made_task, trained
from unbelief.errors import RequestError
from unbelief.vision.finding import build_method, methods
from unbelief.vision.learning import (
    Task,
    augmented,
    batches,
    endless,
    logits_of,
    still_normalisation,
)
from unbelief.vision.methods.boundary import nearest
from unbelief.vision.methods.influence import gradient, woodfisher
from unbelief.vision.methods.random_labels import RandomLabels
from unbelief.vision.methods.salun import SalUn, saliency
from unbelief.vision.methods.scrub import Scrub
from unbelief.vision.methods.sparse import Sparse
from unbelief.vision.methods.tarf import Tarf, annealed

QUICK = {"learning_rate": 0.05, "batch_size": 20}
OPTIONS = {
    "retrain": {},
    "ft": {**QUICK, "learning_rate": 0.2},
    "rl": QUICK,
    "salun": QUICK,
    "ga": {**QUICK, "learning_rate": 0.2},
    "bs": {**QUICK, "learning_rate": 0.02, "bound": 1.0},
    "iu": {"alpha": 30.0},
    "l1-sparse": {**QUICK, "alpha": 1e-3, "learning_rate": 0.2},
    "scrub": QUICK,
    "tarf": {**QUICK, "k": 0.15},
}


@cache
def original(norm: str = "group") -> nn.Module:
    return trained(made_task(norm=norm))


def fresh(norm: str = "group") -> nn.Module:
    return copy.deepcopy(original(norm))


def accuracy(model: nn.Module, task: Task, index: torch.Tensor) -> float:
    logits = logits_of(model, task.images[index])
    return float((logits.argmax(1) == task.labels[index]).float().mean())


def weights(model: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def test_every_method_is_tried_here() -> None:
    assert set(methods()) == set(OPTIONS)


@pytest.mark.parametrize("name", list(OPTIONS))
def test_a_method_forgets_or_at_least_keeps(name: str) -> None:
    task = made_task()
    assert accuracy(original(), task, task.forget) == 1.0
    made = build_method(name, OPTIONS[name]).apply(fresh(), task)
    assert torch.isfinite(weights(made.model)).all()
    assert accuracy(made.model, task, task.rest) > 0.6
    if name not in ("ft", "l1-sparse"):  # these leave forgetting to chance
        assert accuracy(made.model, task, task.forget) < 0.5


@pytest.mark.parametrize("name", list(OPTIONS))
def test_a_method_does_the_same_from_the_same_seed(name: str) -> None:
    options = {**OPTIONS[name], **({"epochs": 3} if name not in ("retrain", "iu") else {})}
    method = build_method(name, options)
    first, again = (weights(method.apply(fresh(), made_task(seed=3)).model) for _ in range(2))
    assert torch.equal(first, again)


def test_unknown_methods_and_options() -> None:
    with pytest.raises(RequestError, match=r"unknown method 'scrab'[\s\S]*scrub"):
        build_method("scrab")
    with pytest.raises(RequestError, match=r"unknown option 'tarf.kk'"):
        build_method("tarf", {"kk": 1})
    with pytest.raises(RequestError, match="'many' is not a whole number"):
        build_method("ft", {"epochs": "many"})
    with pytest.raises(RequestError, match="one of: class, sample"):
        build_method("tarf", {"identify": "magic"})
    assert build_method("rl", {"joined": "true"}) == RandomLabels(joined=True)


# TARF ------------------------------------------------------------------------------------------


def test_the_annealed_weight() -> None:
    # k (T - t - t_0) / T with k = 0.5, T = 10, t_0 = 2
    assert annealed(0.5, 0, 10, 2) == pytest.approx(0.40)
    assert annealed(0.5, 7, 10, 2) == pytest.approx(0.05)
    assert annealed(0.5, 8, 10, 2) == 0
    assert annealed(0.5, 9, 10, 2) == 0


def test_tarf_takes_the_class_that_fell_most_in_phase_one() -> None:
    task, options = made_task(beyond=1), OPTIONS["tarf"]
    made = Tarf(**options).apply(fresh(), task)
    # Phase one alone: the same ascent, then nothing. Scale: k(0) = k (10 - 0 - 2) / 10.
    alone = Tarf(**{**options, "k": 0.8 * options["k"]}, epochs=1, head=1, tail=0)
    after = logits_of(alone.apply(fresh(), task).model, task.images)
    before = logits_of(original(), task.images)
    right = [(z.argmax(1) == task.labels).double() for z in (before, after)]
    loss = [nn.functional.cross_entropy(z, task.labels, reduction="none") for z in (before, after)]
    fell = {
        c: tuple(
            float(x[task.labels == c].mean()) for x in (right[0] - right[1], loss[1] - loss[0])
        )
        for c in (1, 2, 3)
    }
    worst = max(fell, key=lambda c: fell[c])
    assert list(made.identified) == list(range(worst * PER_CLASS, (worst + 1) * PER_CLASS))
    assert made.log["phase_one"][str(worst)] == pytest.approx(list(fell[worst]), abs=1e-6)


def test_tarf_drops_nothing_when_the_request_means_what_it_hands_over() -> None:
    made = Tarf(**OPTIONS["tarf"]).apply(fresh(), made_task(beyond=0))
    assert not len(made.identified)


def test_tarf_takes_samples_by_quantile() -> None:
    made = Tarf(**OPTIONS["tarf"], identify="sample", share=0.2).apply(fresh(), made_task(beyond=1))
    # a fifth of the 90 remaining images; ties may add a few
    assert 18 <= len(made.identified) <= 20
    assert set(made.identified) <= set(range(PER_CLASS, CLASSES * PER_CLASS))


def test_tarf_ascends_on_what_it_found_if_asked() -> None:
    task = made_task(beyond=1)
    clean, ascend = (
        Tarf(**OPTIONS["tarf"], false_retain=op).apply(fresh(), task)  # type: ignore[arg-type]
        for op in ("clean", "ascend")
    )
    found = torch.from_numpy(clean.identified)
    assert list(clean.identified) == list(ascend.identified)
    loss = [
        nn.functional.cross_entropy(logits_of(m, task.images[found]), task.labels[found])
        for m in (clean.model, ascend.model)
    ]
    assert loss[1] > loss[0]


def test_phase_one_leaves_batch_normalisation_as_it_was() -> None:
    task = made_task(norm="batch")
    only_ascent = {**OPTIONS["tarf"], "epochs": 2, "head": 2, "tail": 0}

    def moved(still: bool) -> float:
        model = fresh("batch")
        before = [b.clone() for b in model.buffers()]
        Tarf(**only_ascent, still=still).apply(model, task)
        pairs = zip(before, model.buffers(), strict=True)
        return max(float((a - b).abs().max()) for a, b in pairs)

    assert moved(still=True) == 0
    assert moved(still=False) > 0


def test_normalisation_moves_again_afterwards() -> None:
    model = fresh_model(0, "batch").train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    norms[0].eval()  # one that stood still before stays so
    with still_normalisation(model):
        assert not any(m.training for m in norms)
    assert [m.training for m in norms] == [False, True]


def test_phases_must_fit_into_the_run() -> None:
    with pytest.raises(ValueError, match="fit into the epochs"):
        Tarf(epochs=2, head=1, tail=2).apply(fresh(), made_task())


# The baselines' own parts ----------------------------------------------------------------------


def test_salun_moves_nothing_outside_its_mask() -> None:
    task, method = made_task(), SalUn(**QUICK, epochs=2, share=0.25)
    masks = saliency(fresh(), task, 0.25, 20)
    inside = torch.cat([m.flatten() for m in masks])
    assert int(inside.sum()) == round(0.25 * len(inside))
    made = method.apply(fresh(), task)
    difference = weights(made.model) - weights(original())
    assert not difference[~inside].any()  # in spite of weight decay and momentum
    assert difference[inside].any()
    assert made.log["parameters_in_mask"] == int(inside.sum())


def test_the_mask_takes_the_largest_gradients_of_all_parameters_together() -> None:
    task = made_task()
    masks = saliency(fresh(), task, 0.1, 1000)
    sizes = gradient(fresh().eval(), task, task.forget).abs()
    inside = torch.cat([m.flatten() for m in masks])
    assert sizes[inside].min() >= sizes[~inside].max()


def test_woodfisher_by_hand() -> None:
    # v = (1, 0), N = 2, gradients (1, 1), (2, 0):
    # o = (1, 1); a = o.g = 2; k.g = 2; k = (1, 0) - 2/(2 + 2) (1, 1) = (0.5, -0.5)
    # o = (1, 1) - 2/4 (1, 1) = (0.5, 0.5). Third gradient (0, 2): a = 1, k.g = -1,
    # k = (0.5, -0.5) + 1/(2 + 1) (0.5, 0.5) = (2/3, -1/3)
    gradients = [torch.tensor(g) for g in ([1.0, 1.0], [2.0, 0.0], [0.0, 2.0])]
    found = woodfisher(torch.tensor([1.0, 0.0]), gradients, 2)
    assert found.tolist() == pytest.approx([2 / 3, -1 / 3])


def test_boundary_labels_are_of_the_nearest_class() -> None:
    class Line(nn.Module):
        """Logit 0 is the pixel, logits 1 and 2 are fixed: the next class below is 1."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            pixel = images.flatten(1)[:, :1]
            return torch.cat([pixel, torch.full_like(pixel, 0.5), torch.zeros_like(pixel)], 1)

    images, labels = torch.tensor([0.55, 0.9]).view(2, 1, 1, 1), torch.zeros(2, dtype=torch.long)
    # Up the loss of class 0 is down in the pixel: 0.45 falls below 0.5, 0.8 does not.
    assert nearest(Line(), images, labels, 0.1).tolist() == [1, 0]


def test_random_labels_are_uniform_over_all_classes_and_only_on_the_forget_data() -> None:
    task, seen = made_task(), []

    class Spy(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(images), CLASSES, requires_grad=True)

    import unbelief.vision.methods.random_labels as module

    real = module.cross_entropy
    try:
        module.cross_entropy = lambda _z, y: seen.append(y) or real(_z, y)  # type: ignore
        RandomLabels(epochs=40, batch_size=30).relabel(Spy(), task, lambda loss: None)
    finally:
        module.cross_entropy = real
    forget = torch.cat(seen[0::4])  # per epoch: one batch of D_f, three of D_un
    counts = torch.bincount(forget, minlength=CLASSES)
    assert len(forget) == 1200 and (counts - 300).abs().max() < 60  # 4 standard deviations
    rest = torch.cat([y for i, y in enumerate(seen) if i % 4])
    assert torch.bincount(rest, minlength=CLASSES).tolist() == [0, 1200, 1200, 1200]


def test_the_l1_penalty_shrinks_the_weights() -> None:
    task = made_task()
    plain, sparse = (
        Sparse(**QUICK, alpha=alpha).apply(fresh(), task).model for alpha in (0.0, 1e-3)
    )
    assert weights(sparse).abs().sum() < 0.9 * weights(plain).abs().sum()
    with pytest.raises(ValueError, match="without"):
        Sparse(epochs=3, without=3).apply(fresh(), task)


def test_scrub_divergence_is_zero_at_the_teacher_and_scaled() -> None:
    task, model = made_task(), fresh().eval()
    images = task.images[:5]
    with torch.no_grad():
        own = float(Scrub()._divergence(model(images), model, images))
    assert own == pytest.approx(0, abs=1e-5)
    student = fresh_model(9).eval()
    p = (model(images) / 4).softmax(1).detach()
    q = (student(images) / 4).softmax(1).detach()  # temperature 4, times its square
    by_hand = 16 * float((p * (p.log() - q.log())).sum(1).mean())
    with torch.no_grad():
        found = float(Scrub()._divergence(student(images), model, images))
    assert found == pytest.approx(by_hand, rel=1e-4)


# Loops -----------------------------------------------------------------------------------------


def test_batches_cover_everything_once_and_leave_no_single_image() -> None:
    index = torch.arange(100, 121)
    parts = list(batches(index, 5, torch.Generator().manual_seed(0)))
    assert [len(p) for p in parts] == [5, 5, 5, 6]
    assert sorted(torch.cat(parts).tolist()) == index.tolist()
    with pytest.raises(ValueError, match="nothing"):
        next(endless(index[:0], 5, torch.Generator()))


def test_augmented_images_are_crops_and_mirrors() -> None:
    image = torch.arange(1.0, 65).view(1, 1, 8, 8).repeat(200, 1, 1, 1)
    out = augmented(image, torch.Generator().manual_seed(0))
    assert out.shape == image.shape
    padded = nn.functional.pad(image[:1], (4,) * 4)[0, 0].numpy()
    crops = {
        padded[i : i + 8, j : j + 8][:, ::s].tobytes()
        for i in range(9)
        for j in range(9)
        for s in (1, -1)
    }
    got = {np.ascontiguousarray(one[0].numpy()).tobytes() for one in out}
    assert got <= {np.frombuffer(c, np.float32).tobytes() for c in crops}
    assert len(got) > 50
