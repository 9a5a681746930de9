"""How much memory training takes, by arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unbelief.models.head import chunk_rows
from unbelief.preflight.result import Memory, ModelFacts

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
PADDING = 1.1
"""Forwards are cut into groups of similar length with at most a tenth of padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What of a request decides about memory.

    Attributes:
        dtype: Of the weights.
        autocast: Whether matrix products run in bfloat16 over these weights.
        lora: Whether an adapter trains.
        optim: Name of the optimiser, as in Transformers.
        checkpointing: Whether activations are computed again in backward.
        second_model: Whether the original or an averaged model is needed in every step.
        rows_per_forward: Most rows in one forward.
    """

    dtype: str
    autocast: bool
    lora: bool
    optim: str
    checkpointing: bool
    second_model: bool
    rows_per_forward: int


def estimate_memory(facts: ModelFacts, setup: Setup, lengths: Sequence[tuple[int, int]]) -> Memory:
    """Estimate the peak of a training step.

    With P parameters of s bytes, P_t of them trainable (s_t bytes: s, or 4 for an adapter), T the
    tokens of the R longest rows plus a tenth of padding, A their answer tokens, d the width, f the
    feed-forward width, k the width of the keys, L layers and V the vocabulary:

        weights      P s (+ 4 P_t for an adapter)
        gradients    P_t s_t
        optimizer    2 P_t s_t for AdamW, 2 P_t for 8-bit AdamW, 0 for SGD without momentum
        reference    P s when a term needs the original's distribution in every step, else 0 (fixed
                     answers are scored once; an adapter is switched off instead)
        activations  L T a (9 d + 2 k + 4 f), a = bytes of an activation: per layer two norms
                     (three tensors each), queries, attention output and its projection's input,
                     keys and values, and four tensors of the gated feed-forward layer; with
                     checkpointing (L d + one layer) T a. Where attention stores its probabilities
                     (eager), 2 per head and pair of tokens of the longest row come on top.
        answer head  2 buffers of min(A, `chunk_rows(V)`) x V fp32 + V d fp32 for the gradient of
                     the output embedding (where it trains) + 2 A d a. Independent of V x T.

    Args:
        facts: The model.
        setup: The request.
        lengths: (tokens, answer tokens) of every row that may be in a step.

    Against what autograd saves, the activations are within 5 % for Llama, Qwen2, Mistral, Phi and
    GPT-2 and up to 25 % low for models with further norms (Qwen3, Gemma). Rows longer than a
    sliding window need a mask of T x T per layer, which is not counted.

    Returns:
        The parts in bytes; the framework's own memory (about 0.5 GB, more with CUDA) comes on top.
    """
    size = BYTES[setup.dtype]
    size_trained = 4 if setup.lora else size
    active = 2 if setup.autocast else size
    worst = sorted(lengths, reverse=True)[: setup.rows_per_forward]
    tokens = int(PADDING * sum(n for n, _ in worst))
    answers = sum(a for _, a in worst)
    layer = 9 * facts.hidden + 2 * facts.key_value + 4 * facts.intermediate
    if facts.stores_attention:
        layer += 2 * facts.heads * max((n for n, _ in worst), default=0)
    per_token = facts.layers * facts.hidden + layer if setup.checkpointing else facts.layers * layer
    chunk = min(chunk_rows(facts.vocabulary), answers)
    buffers = 2 * chunk * facts.vocabulary * 4
    gradient = 4 * facts.vocabulary * facts.hidden if facts.output_trains else 0
    available, device = available_memory()
    return Memory(
        weights=facts.parameters * size + (4 * facts.trainable if setup.lora else 0),
        gradients=facts.trainable * size_trained,
        optimizer=facts.trainable * _optimizer_bytes(setup.optim, size_trained),
        reference=facts.parameters * size if setup.second_model and not setup.lora else 0,
        activations=tokens * active * per_token,
        answer_head=buffers + gradient + 2 * answers * facts.hidden * active,
        available=available,
        device=device,
        formula=f"activations = {'(L d + one layer)' if setup.checkpointing else 'L'} x {tokens} "
        f"tokens x {active} bytes x (9 d + 2 k + 4 f); answer head = 2 x {chunk} x V fp32 + "
        "gradient of the output embedding",
    )


def _optimizer_bytes(optim: str, size: int) -> int:
    if "8bit" in optim:
        return 2
    return 0 if optim == "sgd" else 2 * size


def available_memory() -> tuple[int | None, str]:
    """Free memory of the device a run would take by default, and its name."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0]), torch.cuda.get_device_name()
    try:
        import psutil
    except ImportError:
        return None, "cpu"
    return int(psutil.virtual_memory().available), "cpu"
