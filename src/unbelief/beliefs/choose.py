"""One decoding step: logits to tokens, with noise that depends on nothing but each row's own key.

A token is drawn by an exponential race: with independent E_v ~ Exp(1),

    argmax_v p_v / E_v  ~  p          (equivalently argmax_v log p_v + Gumbel noise)

E is not taken from a generator, whose state would depend on which rows share a batch, but hashed
from (row key, step, token) with SplitMix64. So the answers are the same for any batch size, order
and device (up to float rounding of the logits themselves).

Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014
(the constants); Gumbel, "Statistical theory of extreme values", 1954 (the race).
"""

from __future__ import annotations

import torch
from torch import Tensor

from unbelief.beliefs.decoding import Decoding


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)
_BITS = 40  # of the hash that become a uniform number: float32 keeps 24 of them, at any exponent
_AT_ONCE = {"cpu": 1 << 16}  # numbers hashed at a time: the int64 temporaries stay in the cache
_AT_ONCE_DEVICE = 1 << 24


def choose(logits: Tensor, keys: Tensor, step: int, decoding: Decoding) -> tuple[Tensor, Tensor]:
    """Choose the next token of every row.

    Args:
        logits: (R, V) the model's own logits.
        keys: (R,) int64, `Decoding.row_key` of each row.
        step: Number of tokens the answers have so far.
        decoding: Temperature, top_k and top_p.

    Returns:
        (R,) token ids, and (R,) their log-probabilities in nats under the model itself: at
        temperature 1, over the whole vocabulary, whatever was cut off for the choice.
    """
    logits = logits.float()
    if decoding.temperature == 0:
        token = logits.argmax(-1)
    else:
        scores = truncate(logits / decoding.temperature, decoding.top_k, decoding.top_p)
        token = race(scores, keys, step)
    log_prob = logits.gather(-1, token[:, None])[:, 0] - logits.logsumexp(-1)
    return token, log_prob


def truncate(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Set the logits (R, V) of tokens outside top_k and then outside top_p to minus infinity."""
    if 0 < top_k < logits.shape[-1]:
        kth = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    if top_p < 1:
        ordered, index = logits.sort(dim=-1, descending=True)
        mass = ordered.softmax(-1)
        # A token stays while the mass of those before it is below top_p: the first always stays.
        outside = (mass.cumsum(-1) - mass) >= top_p
        outside[:, 0] = False
        logits = logits.masked_fill(
            torch.zeros_like(outside).scatter(-1, index, outside), -torch.inf
        )
    return logits


def race(logits: Tensor, keys: Tensor, step: int) -> Tensor:
    """Draw one token per row from softmax(logits), (R, V) -> (R,)."""
    at_once = _AT_ONCE.get(logits.device.type, _AT_ONCE_DEVICE)
    rows = max(1, at_once // logits.shape[-1])
    drawn = []
    for part, part_keys in zip(logits.split(rows), keys.split(rows), strict=True):
        noise = exponential(part_keys, step, part.shape[-1])
        drawn.append(part.softmax(-1).div_(noise).argmax(-1))
    return torch.cat(drawn)


def exponential(keys: Tensor, step: int, vocabulary: int) -> Tensor:
    """Hash (key, step, token) to independent Exp(1) numbers, (R, V) float32, all above 0."""
    state = _mix(keys + _wrap((step + 1) * _GAMMA))
    token = torch.arange(1, vocabulary + 1, device=keys.device) * _GAMMA
    bits = _mix(state[:, None] + token)
    bits >>= 64 - _BITS
    uniform = bits.bitwise_and_((1 << _BITS) - 1).float()
    uniform.add_(0.5).mul_(2.0**-_BITS).clamp_(max=1 - 2.0**-24)
    return uniform.neg_().log1p_().neg_()


def _wrap(value: int) -> int:
    return _signed(value & ((1 << 64) - 1))


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64, wrapping; `x` is overwritten."""
    shifted = torch.empty_like(x)
    for shift, factor in ((30, _MIX_1), (27, _MIX_2), (31, 1)):
        # The shift must bring in zeros; on signed numbers it copies the sign, so that is cut off.
        torch.bitwise_right_shift(x, shift, out=shifted)
        x ^= shifted.bitwise_and_((1 << (64 - shift)) - 1)
        if factor != 1:
            x *= factor
    return x
