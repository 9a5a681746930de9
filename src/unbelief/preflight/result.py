"""What a dry run found, as plain frozen values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from unbelief.data import DataReport


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What config and file headers say about a model; no weight was loaded.

    Attributes:
        source: Folder or hub id as given.
        base_source: For an adapter, the model it belongs to.
        architecture: Class name.
        parameters: Number of parameters, tied ones once.
        embedding_parameters: Those of input and output embeddings, tied ones once.
        trainable: Number of parameters that would train.
        trained: `all weights`, `LoRA r=16` or the pattern of names.
        output_trains: Whether the output embedding is among them.
        layers: Decoder layers.
        hidden: Width of the hidden states.
        intermediate: Width of the feed-forward layers.
        key_value: Width of the keys of one token.
        heads: Attention heads.
        stores_attention: Whether attention keeps its T x T probabilities (`eager`, as where logits
            of attention are capped).
        vocabulary: Rows of the output embedding.
        context: Longest input in tokens, or None when the config does not say.
        experts: Whether only some of the weights act on a token (mixture of experts).
        stored_bytes: Size of the weight files of a folder; None for a hub id.
        stored_parameters: Number of stored values; None for a hub id.
    """

    source: str
    base_source: str | None
    architecture: str
    parameters: int
    embedding_parameters: int
    trainable: int
    trained: str
    output_trains: bool
    layers: int
    hidden: int
    intermediate: int
    key_value: int
    heads: int
    stores_attention: bool
    vocabulary: int
    context: int | None
    experts: bool
    stored_bytes: int | None
    stored_parameters: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """Tokens of a set of records.

    Attributes:
        records: Number of records.
        prompt_tokens: All prompt tokens, which are read but not scored.
        answer_tokens: All answer tokens, the end token included where it is scored.
        longest: Tokens of the longest record.
        mean_answer: Answer tokens per record.
        truncated: Records whose answer was cut to fit the context.
        unknown: Answer tokens that the tokenizer does not know.
    """

    records: int
    prompt_tokens: int
    answer_tokens: int
    longest: int
    mean_answer: float
    truncated: int
    unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Estimated peak memory of training, in bytes per process.

    Attributes:
        weights: The model, and the adapter if there is one.
        gradients: One value per trainable parameter.
        optimizer: What the optimiser keeps per trainable parameter.
        reference: A second model, where a term compares whole distributions in every step.
        activations: Saved for backward by the decoder layers, for the worst forward.
        answer_head: Buffers of the output embedding.
        available: Free memory of the device now; None when it cannot be told.
        device: The device that was looked at.
        formula: How the numbers came about.
    """

    weights: int
    gradients: int
    optimizer: int
    reference: int
    activations: int
    answer_head: int
    available: int | None
    device: str
    formula: str

    @property
    def total(self) -> int:
        """Sum of the parts, in bytes."""
        return (
            self.weights
            + self.gradients
            + self.optimizer
            + self.reference
            + self.activations
            + self.answer_head
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """How much there is to compute, and how long that takes where it was measured.

    Attributes:
        steps: Optimiser steps.
        pairs_per_step: Forget pairs per step over all processes.
        belief_samples: Belief sequences per forget record.
        trained_tokens: Tokens that go forward and backward in the whole run, padding excluded.
        flops: Floating-point operations of the run.
        seconds: Estimated time; None when nothing was measured.
        how: What was measured, or why nothing was, and the formula.
    """

    steps: int
    pairs_per_step: int
    belief_samples: int
    trained_tokens: int
    flops: float
    seconds: float | None
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightReport:
    """The whole dry run. Nothing was trained and nothing was written.

    Attributes:
        model: The model's facts.
        forget_format: Format the forget data was read as.
        retain_format: The same for the retain data.
        encoding: Template, end token and longest input, as a run would record them.
        forget: Tokens to forget.
        retain: Tokens to keep; None without retain data.
        data: Repeats, overlaps and hollow answers.
        memory: Estimated memory.
        duration: Amount of work and estimated time.
        warnings: What should be looked at before the run, in sentences.
        notes: What is good to know.
    """

    model: ModelFacts
    forget_format: str
    retain_format: str | None
    encoding: dict[str, str | bool | int | float | None]
    forget: TokenCounts
    retain: TokenCounts | None
    data: DataReport
    memory: Memory
    duration: Duration
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = asdict(self)
        values["memory"]["total"] = self.memory.total
        return values
