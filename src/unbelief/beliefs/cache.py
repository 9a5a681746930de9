"""Key-value caches whose rows can be repeated and dropped, and which grow without copying.

The library's dynamic layer concatenates at every token: it copies all it holds to add one column,
which is a third of the time of sampling short answers on a CPU. A buffered layer writes into spare
columns and copies once per `_SPARE` tokens.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_SPARE = 16  # columns added when a buffer is full
_REINDEXABLE = {"DynamicLayer", "DynamicSlidingWindowLayer", "DynamicIndexedLayer"}


class BufferedLayer(DynamicLayer):
    """A dynamic layer; `keys` and `values` (R, heads, T, head_dim) are views of longer buffers."""

    # The base class enters subclasses that name a layer type into a table; this one names none.

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append columns; return all keys and values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._buffers = (_empty(key_states), _empty(value_states))
        start = self.get_seq_length()
        stop = start + key_states.shape[-2]
        if stop > self._buffers[0].shape[-2]:
            self._buffers = (
                _longer(self._buffers[0], start, stop),
                _longer(self._buffers[1], start, stop),
            )
        keys, values = self._buffers
        keys[:, :, start:stop] = key_states
        values[:, :, start:stop] = value_states
        return self._show(stop)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the rows `indices`, in that order; one may be kept several times."""
        if (length := self.get_seq_length()) > 0:
            # One buffer after the other, so that only one old copy lives beside the new ones.
            self._buffers = (self._buffers[0].index_select(0, indices), self._buffers[1])
            self._buffers = (self._buffers[0], self._buffers[1].index_select(0, indices))
            self._show(length)

    def cut_columns(self, length: int) -> None:
        """Forget the columns from `length` on."""
        self._show(length)

    def append_rows(self, other: BufferedLayer, unseen: tuple[int, int]) -> None:
        """Put the rows of another layer below these, without columns that nobody sees.

        Args:
            other: The other layer; the narrower one gets columns of 0 at the left.
            unseen: Columns to leave out at the left, here and there.
        """
        keys, values = self._seen(unseen[0])
        more_keys, more_values = other._seen(unseen[1])
        width = max(keys.shape[-2], more_keys.shape[-2])
        self._buffers = (_below(keys, more_keys, width), _below(values, more_values, width))
        self._show(width)

    def _seen(self, start: int) -> tuple[Tensor, Tensor]:
        stop = self.get_seq_length()
        return self._buffers[0][:, :, start:stop], self._buffers[1][:, :, start:stop]

    def _show(self, length: int) -> tuple[Tensor, Tensor]:
        keys, values = self._buffers[0][:, :, :length], self._buffers[1][:, :, :length]
        self.keys, self.values = keys, values
        return keys, values


def _empty(states: Tensor) -> Tensor:
    rows, heads, _, size = states.shape
    return states.new_empty((rows, heads, 0, size))


def _below(first: Tensor, second: Tensor, width: int) -> Tensor:
    rows, heads, _, size = first.shape
    both = first.new_empty((rows + len(second), heads, width + _SPARE, size))
    for part, states in ((both[:rows], first), (both[rows:], second)):
        columns = states.shape[-2]
        part[:, :, : width - columns] = 0
        part[:, :, width - columns : width] = states
    return both


def _longer(buffer: Tensor, used: int, needed: int) -> Tensor:
    rows, heads, _, size = buffer.shape
    longer = buffer.new_empty((rows, heads, needed + _SPARE, size))
    longer[:, :, :used] = buffer[:, :, :used]
    return longer


def reindexable_cache(model: nn.Module) -> DynamicCache | None:
    """Return an empty cache whose rows can be repeated and dropped, None if the model has none.

    Recurrent states (Mamba and the hybrids) are not rows of keys and values: selecting rows of
    such a cache would leave them behind without a word, so only known layers are accepted.
    """
    config: Any = model.config
    supported = getattr(type(model), "_supports_default_dynamic_cache", None)
    if (
        getattr(config, "is_encoder_decoder", False)
        or (supported is not None and not supported())
        or "past_key_values" not in inspect.signature(model.forward).parameters
    ):
        return None
    cache = DynamicCache(config=config)
    kinds = {type(layer).__name__ for layer in cache.layers}
    if not kinds or not kinds <= _REINDEXABLE:
        return None
    cache.layers = [
        BufferedLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


def can_join(model: nn.Module, cache: DynamicCache | None) -> bool:
    """Whether caches of rows with different columns may be put together.

    Their columns are moved, and hidden ones lie between others: what a column is must follow from
    the positions given, and no layer may count columns by itself (a sliding window does).
    """
    return (
        cache is not None
        and all(type(layer) is BufferedLayer for layer in cache.layers)
        and "position_ids" in inspect.signature(model.forward).parameters
    )


def cut_columns(cache: DynamicCache, length: int) -> None:
    """Forget the columns from `length` on; the library's own method differs by version."""
    for layer in cache.layers:
        assert isinstance(layer, BufferedLayer)
        layer.cut_columns(length)


def joined_cache(
    first: DynamicCache, second: DynamicCache, unseen: tuple[int, int]
) -> DynamicCache:
    """The rows of two caches, the newest columns at the right; `first` is changed and returned.

    Args:
        first: Rows.
        second: Rows to come below them.
        unseen: Columns at the left of each that no row sees, which are left out.
    """
    for own, other in zip(first.layers, second.layers, strict=True):
        assert isinstance(own, BufferedLayer) and isinstance(other, BufferedLayer)
        own.append_rows(other, unseen)
    return first
