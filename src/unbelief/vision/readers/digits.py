"""Scikit-learn's digits: 1797 images of 8x8 pixels that come with the package."""

from __future__ import annotations

import numpy as np

from unbelief.errors import RequestError
from unbelief.vision.images import ImageData, ImageSet, stratified

TEST_SHARE = 0.2


def read_digits(seed: int = 0) -> ImageData:
    """The digits with a fifth of every class held out for testing.

    Args:
        seed: Of the split.

    Raises:
        RequestError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise RequestError(
            "digits come with scikit-learn, which is not installed",
            where="data",
            remedy="pip install 'unbelief[vision]'",
        ) from None
    raw = load_digits()
    images = (raw.images[:, None] / 16).astype(np.float32)  # grey levels are 0 to 16
    whole = ImageSet(images, raw.target.astype(np.int64))
    train, test = stratified(whole.fine, TEST_SHARE, seed)
    return ImageData("digits", whole.take(train), whole.take(test), tuple("0123456789"))
