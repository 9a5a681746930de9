"""`unbelief check`: everything that can be known about a request without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unbelief.data import DataReport, LoadedRecords, load_records, validate_records
from unbelief.errors import RequestError
from unbelief.models.adapters import LoraOptions
from unbelief.models.load import load_tokenizer
from unbelief.objectives import Objective, build_objective
from unbelief.preflight.duration import Work, estimate_duration, plan_work
from unbelief.preflight.memory import Setup, estimate_memory
from unbelief.preflight.result import Duration, Memory, ModelFacts, PreflightReport
from unbelief.preflight.shape import model_facts
from unbelief.preflight.tokens import count_tokens, encode_all, token_warnings
from unbelief.tokens import Encoded, Encoder
from unbelief.tokens.encode import Template
from unbelief.train.options import TrainOptions
from unbelief.types import Record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT_METHOD = "bs-s"

_REPETITION = frozenset({"two-answers", "short-answer"})
"""Findings that are common in sound data: notes, not warnings."""


def check_request(
    *,
    model: str | Path,
    forget: str | Path | Sequence[Record],
    retain: str | Path | Sequence[Record] | None = None,
    objective: Objective | None = None,
    train: TrainOptions | None = None,
    lora: str | LoraOptions | None = None,
    columns: Mapping[str, str] | None = None,
    template: Template = "auto",
    system_prompt: str | None = None,
    end_token: bool = True,
    max_length: int | None = None,
    dtype: str = "float32",
    device: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    measure: bool = True,
) -> PreflightReport:
    """Check a request to unlearn without training and without writing anything.

    Reads the data (schema), looks for duplicates and overlaps, counts tokens with the model's
    tokenizer, estimates memory from the model's config and file headers, and time from a count of
    operations; a small local model is timed on a few rows. The arguments mean what they mean for
    `Unlearner`.

    Args:
        model: Model folder, adapter folder or hub id.
        forget: Records to forget.
        retain: Records to keep.
        objective: What would be minimised; by default the method `bs-s`.
        train: Training options.
        lora: Train an adapter (`LoraOptions` or a text such as `r=16,alpha=32`).
        columns: Field to data column.
        template: Chat template or plain text.
        system_prompt: System message of chat prompts.
        end_token: Whether the end token is scored.
        max_length: Longest prompt plus answer, in tokens; by default the model's limit.
        dtype: Dtype of the weights.
        device: Where to measure.
        revision: Commit of a hub model.
        trust_remote_code: Run code that comes with the model.
        measure: False never loads weights.

    Raises:
        RequestError: For everything that a run would refuse (`DataError` for rows).
    """
    options = train or TrainOptions()
    adapter = LoraOptions.parse(lora) if isinstance(lora, str) else lora
    forget_loaded = load_records(forget, columns=columns)
    retain_loaded = None if retain is None else load_records(retain, columns=columns)
    chosen = _objective(objective, has_retain=retain is not None)
    facts = model_facts(
        model,
        lora=adapter,
        trainable=options.trainable,
        dtype=dtype,
        revision=revision,
        trust_remote_code=trust_remote_code,
    )
    encoder = Encoder(
        _tokenizer(facts, revision, trust_remote_code),
        template=template,
        system_prompt=system_prompt,
        end_token=end_token,
        max_length=max_length or facts.context,
    )
    encoded = [
        [] if loaded is None else encode_all(encoder, loaded.records)
        for loaded in (forget_loaded, retain_loaded)
    ]
    work = plan_work(chosen, options, *encoded)
    memory = estimate_memory(facts, _setup(options, adapter, work, dtype), _lengths(work, encoded))
    duration = estimate_duration(
        facts,
        work,
        options,
        lora=adapter is not None,
        dtype=dtype,
        device=device,
        measure=measure,
    )
    return _report(forget_loaded, retain_loaded, encoder, encoded, facts, memory, duration)


def _objective(given: Objective | None, *, has_retain: bool) -> Objective:
    objective = given or build_objective(DEFAULT_METHOD, has_retain=has_retain)
    if objective.retain is not None and not has_retain:
        raise RequestError(
            f"the retain term {objective.retain.name} needs retain data",
            where="retain",
            remedy="give retain records, or use an objective without a retain term",
        )
    return objective


def _report(
    forget: LoadedRecords,
    retain: LoadedRecords | None,
    encoder: Encoder,
    encoded: Sequence[Sequence[Encoded]],
    facts: ModelFacts,
    memory: Memory,
    duration: Duration,
) -> PreflightReport:
    data = validate_records(forget.records, None if retain is None else retain.records)
    warnings, notes = _remarks(forget, retain, data, facts, memory)
    forget_tokens = count_tokens(encoder, encoded[0])
    retain_tokens = count_tokens(encoder, encoded[1]) if encoded[1] else None
    for name, found in (("forget", forget_tokens), ("retain", retain_tokens)):
        warnings += [] if found is None else token_warnings(name, found)
    return PreflightReport(
        model=facts,
        forget_format=forget.format,
        retain_format=None if retain is None else retain.format,
        encoding=encoder.describe(),
        forget=forget_tokens,
        retain=retain_tokens,
        data=data,
        memory=memory,
        duration=duration,
        warnings=tuple(warnings),
        notes=tuple(notes),
    )


def _tokenizer(
    facts: ModelFacts, revision: str | None, trust_remote_code: bool
) -> PreTrainedTokenizerBase:
    own = Path(facts.source).expanduser()
    if facts.base_source is not None and not (own / "tokenizer_config.json").is_file():
        return load_tokenizer(facts.base_source, None, trust_remote_code)
    return load_tokenizer(own if own.is_dir() else facts.source, revision, trust_remote_code)


def _setup(train: TrainOptions, lora: LoraOptions | None, work: Work, dtype: str) -> Setup:
    return Setup(
        dtype=dtype,
        autocast=train.bf16,
        lora=lora is not None,
        optim=train.optim,
        checkpointing=train.gradient_checkpointing,
        second_model=work.second_model,
        rows_per_forward=work.plan.rows_per_forward,
    )


def _lengths(work: Work, encoded: Sequence[Sequence[Encoded]]) -> list[tuple[int, int]]:
    retain = [(len(e.prompt_ids) + len(e.answer_ids), len(e.answer_ids)) for e in encoded[1]]
    return work.forget_rows() + (retain if work.plan.retain else [])


def _remarks(
    forget: LoadedRecords,
    retain: LoadedRecords | None,
    data: DataReport,
    facts: ModelFacts,
    memory: Memory,
) -> tuple[list[str], list[str]]:
    """Warnings and notes about everything but tokens."""
    warnings = [f.message for f in data.findings if f.kind not in _REPETITION]
    notes = [f.message for f in data.findings if f.kind in _REPETITION]
    if retain is None:
        warnings.append(
            "no retain data: nothing holds the model's other knowledge in place (give --retain)"
        )
    for name, loaded in (("forget", forget), ("retain", retain)):
        if loaded is not None and loaded.ignored_columns:
            notes.append(f"{name}: columns not read: {', '.join(loaded.ignored_columns)}")
    if data.n_groups_forget == 0:
        notes.append(
            "no groups (author, document): intervals will treat every record as independent"
        )
    if facts.experts:
        notes.append("a mixture of experts: operations are counted as if all weights took part")
    if facts.trained.startswith("LoRA"):
        notes.append("only merged weights are an unlearned model; an adapter leaves the base as is")
    if memory.available is not None and memory.total > memory.available:
        warnings.append(
            f"about {gigabytes(memory.total)} are needed, {gigabytes(memory.available)} are free "
            f"on {memory.device}: use --lora, gradient_checkpointing or a smaller "
            "per_device_train_batch_size"
        )
    return warnings, notes


def gigabytes(n: float) -> str:
    """Write a number of bytes for people, in units of 1000."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(n) >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.0f} B"
