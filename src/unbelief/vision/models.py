"""The classifiers: a small one of our own, and two from libraries."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from unbelief.errors import RequestError

Kind = Literal["small-cnn", "resnet-18", "wide-resnet-50"]
KINDS: tuple[Kind, ...] = ("small-cnn", "resnet-18", "wide-resnet-50")
Norm = Literal["group", "batch"]


class SmallCNN(nn.Module):
    """Two convolutions and two linear layers: 38,000 parameters for one channel and ten labels.

    Args:
        classes: Number of labels.
        channels: Of the images.
        norm: `group` has no running statistics; `batch` is there to study what they do.
    """

    def __init__(self, classes: int, channels: int = 1, norm: Norm = "group"):
        super().__init__()

        def block(inside: int, outside: int) -> list[nn.Module]:
            normed = nn.GroupNorm(4, outside) if norm == "group" else nn.BatchNorm2d(outside)
            return [nn.Conv2d(inside, outside, 3, padding=1), normed, nn.ReLU()]

        self.layers = nn.Sequential(
            *block(channels, 16),
            nn.MaxPool2d(2),
            *block(16, 32),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(32 * 16, 64),
            nn.ReLU(),
            nn.Linear(64, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) images to (N, classes) logits."""
        logits: Tensor = self.layers(images)
        return logits


class _Logits(nn.Module):
    """A model of Transformers that gives its logits alone."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.inner(images).logits
        return logits


class _Plain(nn.Module):
    """A model of an untyped library."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.inner(images)
        return logits


def build_model(kind: Kind, classes: int, channels: int, seed: int) -> nn.Module:
    """An untrained classifier; the same seed gives the same weights.

    Args:
        kind: `small-cnn`; `resnet-18` with the stem for small images (3x3, no pooling);
            `wide-resnet-50`, the same stem.
        classes: Number of labels.
        channels: Of the images.
        seed: Of the weights.

    Raises:
        RequestError: Unknown kind, or the library it needs is not installed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "small-cnn":
            return SmallCNN(classes, channels)
        if kind == "resnet-18":
            return _resnet_18(classes, channels)
        if kind == "wide-resnet-50":
            return _wide_resnet_50(classes, channels)
    raise RequestError(
        f"unknown model {kind!r}", where="model", remedy=f"known: {', '.join(KINDS)}"
    )


def _small_stem(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, 64, 3, padding=1, bias=False)


def _resnet_18(classes: int, channels: int) -> nn.Module:
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        num_channels=channels,
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
    )
    config.num_labels = classes
    model = ResNetForImageClassification(config)
    stem = model.resnet.embedder
    stem.embedder.convolution = _small_stem(channels)
    setattr(stem, "pooler", nn.Identity())  # noqa: B010  # typed as a pooling layer
    return _Logits(model)


def _wide_resnet_50(classes: int, channels: int) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise RequestError(
            "wide-resnet-50 needs timm, which is not installed",
            where="model",
            remedy="pip install 'unbelief[vision]', or choose another model",
        ) from None
    model = timm.create_model("wide_resnet50_2", num_classes=classes, in_chans=channels)
    model.conv1, model.maxpool = _small_stem(channels), nn.Identity()
    return _Plain(model)
