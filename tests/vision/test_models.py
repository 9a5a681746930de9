"""The classifiers give one logit per class, and the same weights from the same seed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from unbelief.errors import RequestError
from unbelief.vision.learning import Task, Training, logits_of, train
from unbelief.vision.methods.tarf import Tarf
from unbelief.vision.models import build_model


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_small_cnn() -> None:
    one, two = (build_model("small-cnn", 10, 1, seed) for seed in (3, 3))
    images = torch.rand(2, 1, 8, 8)
    assert one(images).shape == (2, 10)
    assert torch.equal(one(images), two(images))
    assert not torch.equal(one(images), build_model("small-cnn", 10, 1, 4)(images))
    # 9*16 + 16 + 32, 9*16*32 + 32 + 64, 512*64 + 64, 64*10 + 10
    assert count(one) == 192 + 4704 + 32832 + 650


def test_resnet_18_with_the_stem_for_small_images() -> None:
    model = build_model("resnet-18", 100, 3, 0).eval()
    with torch.no_grad():
        assert model(torch.rand(2, 3, 32, 32)).shape == (2, 100)
    assert count(model) == 11_220_132  # as the usual CIFAR ResNet-18 with 100 labels
    stem = model.inner.resnet.embedder
    assert stem.embedder.convolution.stride == (1, 1)
    assert isinstance(stem.pooler, torch.nn.Identity)


@pytest.mark.skipif(find_spec("timm") is None, reason="timm (extra: vision) is not installed")
def test_wide_resnet_50() -> None:
    model = build_model("wide-resnet-50", 10, 3, 0).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.skipif(find_spec("timm") is None, reason="timm (extra: vision) is not installed")
def test_wide_resnet_50_learns_and_forgets() -> None:
    images, labels = torch.rand(4, 1, 8, 8), torch.tensor([0, 0, 1, 1])
    one, two = (build_model("wide-resnet-50", 2, 1, 3).eval() for _ in range(2))
    with torch.no_grad():
        assert torch.equal(one(images), two(images))
    task = Task(
        images=images,
        labels=labels,
        forget=torch.arange(2),
        rest=torch.arange(2, 4),
        classes=2,
        beyond=0,
        fresh=lambda seed: build_model("wide-resnet-50", 2, 1, seed),
        training=Training(epochs=1, milestones=(), batch_size=4, augment=False),
    )
    before = one.inner.conv1.weight.clone()
    moved = train(one, task, torch.arange(4), 0)
    assert not torch.equal(moved.inner.conv1.weight, before)
    outcome = Tarf(epochs=4, batch_size=2).apply(moved, task)
    assert torch.isfinite(logits_of(outcome.model, images)).all()
    assert outcome.identified is not None and not len(outcome.identified)


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is installed")
def test_without_timm_the_error_says_what_to_install() -> None:
    with pytest.raises(RequestError, match=r"unbelief\[vision\]"):
        build_model("wide-resnet-50", 10, 3, 0)


def test_unknown_models() -> None:
    with pytest.raises(RequestError, match="unknown model 'vgg'"):
        build_model("vgg", 10, 3, 0)  # type: ignore[arg-type]
