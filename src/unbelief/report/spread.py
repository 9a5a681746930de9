"""Labels that would overlap, moved apart."""

from __future__ import annotations

from collections.abc import Sequence


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions at least `gap` apart and as near as possible to those wanted, in their order.

    Neighbours that would overlap are merged into blocks around their mean; blocks stay between
    `low` and `high` where there is room.
    """
    blocks: list[tuple[float, int]] = []  # (centre, number of labels)
    for _, value in sorted(enumerate(wanted), key=lambda pair: pair[1]):
        centre, size = value, 1
        while blocks:
            before, count = blocks[-1]
            if centre - before >= gap * (size + count) / 2:
                break
            blocks.pop()
            centre, size = (before * count + centre * size) / (count + size), size + count
        blocks.append((centre, size))
    placed = [c + (i - (n - 1) / 2) * gap for c, n in blocks for i in range(n)]
    over = max(0.0, placed[-1] - high) if placed else 0.0
    placed = [p - over for p in placed]
    for i in range(len(placed) - 2, -1, -1):
        placed[i] = min(placed[i], placed[i + 1] - gap)
    under = max(0.0, low - placed[0]) if placed else 0.0
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    out = [0.0] * len(wanted)
    for place, index in zip(placed, order, strict=True):
        out[index] = place + under
    return out
