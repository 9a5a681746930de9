"""Labelled images, and what a data set is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unbelief.errors import DataError


@dataclass(frozen=True)
class ImageSet:
    """Images with fine labels.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1].
        fine: (N,) int64.
        coarse: (N,) int64 where the data bring coarse labels, as CIFAR-100 does.
    """

    images: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or len(self.images) != len(self.fine) or not len(self.fine):
            raise DataError(
                f"{len(self.fine)} labels for images of shape {self.images.shape}",
                remedy="give one label per image, and at least one image",
            )

    def __len__(self) -> int:
        return len(self.fine)

    def take(self, index: np.ndarray) -> ImageSet:
        """Some of the images."""
        coarse = None if self.coarse is None else self.coarse[index]
        return ImageSet(self.images[index], self.fine[index], coarse)


@dataclass(frozen=True)
class ImageData:
    """A data set.

    Attributes:
        name: How the command line calls it.
        train: What models are trained on; forgetting is about these.
        test: Never trained on.
        names: Names of the fine labels.
        coarse_names: Names of the coarse labels, where the data bring them.
    """

    name: str
    train: ImageSet
    test: ImageSet
    names: tuple[str, ...]
    coarse_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for part, images in (("train", self.train), ("test", self.test)):
            top = int(images.fine.max())
            if top >= len(self.names) or int(images.fine.min()) < 0:
                raise DataError(
                    f"a label {top} in the {part} part, but {len(self.names)} names of labels",
                    where=self.name,
                    remedy="the files do not belong together, or are damaged",
                )


def stratified(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split items so that every label gives the same share, rounded, to the second part.

    Args:
        labels: (N,) labels.
        share: Of the second part, in [0, 1).
        seed: Of the choice.

    Returns:
        Sorted indices of the first and of the second part.
    """
    if not 0 <= share < 1:
        raise ValueError(f"a share must lie in [0, 1), not {share}")
    drawn = np.random.default_rng(seed)
    second: list[int] = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        second += drawn.permutation(own)[: round(share * len(own))].tolist()
    held = np.zeros(len(labels), bool)
    held[second] = True
    return np.flatnonzero(~held), np.flatnonzero(held)
