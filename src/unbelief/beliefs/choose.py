"""One decoding step: logits to tokens, with noise that depends on nothing but each row's own key.

A token is drawn by an exponential race: with independent E_v ~ Exp(1),

    argmax_v p_v / E_v  ~  p          (equivalently argmax_v log p_v + Gumbel noise)

in two heats, first among blocks of about sqrt(V) tokens by their mass, then among the tokens of
the winning block: the same distribution with 2 sqrt(V) instead of V random numbers. E is not taken
from a generator, whose state would depend on which rows share a batch, but hashed from (row key,
step, heat, runner) with SplitMix64. So the answers are the same for any batch size, order and
device (up to float rounding of the logits themselves).

Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014
(the constants); Gumbel, "Statistical theory of extreme values", 1954 (the race).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unbelief.beliefs.decoding import Decoding


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)
_BITS = 40  # of the hash that become a uniform number: float32 keeps 24 of them, at any exponent


def choose(
    logits: Tensor, keys: Tensor, step: int | Tensor, decoding: Decoding
) -> tuple[Tensor, Tensor]:
    """Choose the next token of every row.

    Args:
        logits: (R, V) the model's own logits.
        keys: (R,) int64, `Decoding.row_key` of each row.
        step: Number of tokens the answers have so far, of all or (R,) of each.
        decoding: Temperature, top_k and top_p.

    Returns:
        (R,) token ids, and (R,) their log-probabilities in nats under the model itself: at
        temperature 1, over the whole vocabulary, whatever was cut off for the choice.
    """
    log_probs = logits.float().log_softmax(-1)
    if decoding.temperature == 0:
        token = log_probs.argmax(-1)
    elif decoding.cuts_nothing:
        token = race(log_probs.exp(), keys, step)
    else:
        scores = truncate(log_probs / decoding.temperature, decoding.top_k, decoding.top_p)
        token = race(scores.softmax(-1), keys, step)
    return token, log_probs.gather(-1, token[:, None])[:, 0]


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


def race(probabilities: Tensor, keys: Tensor, step: int | Tensor) -> Tensor:
    """Draw one token per row with the given probabilities, (R, V) -> (R,)."""
    vocabulary = probabilities.shape[-1]
    size = math.isqrt(vocabulary - 1) + 1
    padded = nn.functional.pad(probabilities, (0, -vocabulary % size))
    blocks = padded.unflatten(-1, (-1, size))  # (R, V / size, size)
    mass = blocks.sum(-1)
    block = mass.div_(exponential(keys, 2 * step, mass.shape[-1])).argmax(-1)
    runners = blocks[torch.arange(len(keys), device=keys.device), block]
    winner = runners.div_(exponential(keys, 2 * step + 1, size)).argmax(-1)
    return block * size + winner


def exponential(keys: Tensor, heat: int | Tensor, runners: int) -> Tensor:
    """Hash (key, heat, runner) to independent Exp(1) numbers, (R, runners) float32, above 0."""
    state = _mix(keys + (torch.as_tensor(heat) + 1) * _GAMMA)  # wraps
    runner = torch.arange(1, runners + 1, device=keys.device) * _GAMMA
    bits = _mix(state[:, None] + runner)
    bits >>= 64 - _BITS
    uniform = bits.bitwise_and_((1 << _BITS) - 1).float()
    uniform.add_(0.5).mul_(2.0**-_BITS).clamp_(max=1 - 2.0**-24)
    return uniform.neg_().log1p_().neg_()


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
