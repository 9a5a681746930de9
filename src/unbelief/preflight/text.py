"""The dry run for people: plain text, no colours, one screen."""

from __future__ import annotations

from unbelief.preflight.check import gigabytes
from unbelief.preflight.result import Duration, Memory, PreflightReport, TokenCounts


def render(report: PreflightReport) -> str:
    """Return the report as text; findings first, then size, memory and time."""
    model = report.model
    lines = [
        f"model    {model.source}: {model.architecture}, {_count(model.parameters)} parameters, "
        f"{model.trained} ({_count(model.trainable)}) would train",
        *_set("forget", report.forget_format, report.forget),
    ]
    if report.retain is not None:
        lines += _set("retain", str(report.retain_format), report.retain)
    template = "chat template" if report.encoding["template"] == "chat" else "plain text"
    end = "scored" if report.encoding["end_token_scored"] else "not scored"
    lines.append(f"tokens   {template}, end token {end}")
    lines += _memory(report.memory)
    lines += _duration(report.duration)
    lines += _section("warnings", report.warnings) + _section("notes", report.notes)
    if not report.warnings:
        lines += ["", "no warnings"]
    return "\n".join(lines)


def _set(name: str, format_: str, counts: TokenCounts) -> list[str]:
    return [
        f"{name:<8} {counts.records} records ({format_}), {_count(counts.prompt_tokens)} prompt + "
        f"{_count(counts.answer_tokens)} answer tokens, {counts.mean_answer:.0f} per answer, "
        f"longest record {counts.longest}"
    ]


def _memory(memory: Memory) -> list[str]:
    parts = {
        "weights": memory.weights,
        "gradients": memory.gradients,
        "optimiser": memory.optimizer,
        "reference model": memory.reference,
        "activations": memory.activations,
        "answer head": memory.answer_head,
    }
    shown = " + ".join(f"{name} {gigabytes(n)}" for name, n in parts.items() if n)
    free = "" if memory.available is None else f", {gigabytes(memory.available)} free"
    return [f"memory   about {gigabytes(memory.total)} on {memory.device}{free}: {shown}"]


def _duration(duration: Duration) -> list[str]:
    beliefs = f", {duration.belief_samples} beliefs each" if duration.belief_samples else ""
    time = "not measured" if duration.seconds is None else f"about {_clock(duration.seconds)}"
    return [
        f"work     {duration.steps} steps of {duration.pairs_per_step} forget pairs{beliefs}, "
        f"{_count(duration.trained_tokens)} tokens, {duration.flops:.2g} operations",
        f"time     {time}: {duration.how}",
    ]


def _section(title: str, items: tuple[str, ...]) -> list[str]:
    return ["", f"{title}:", *(f"  - {item}" for item in items)] if items else []


def _count(n: int) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e4)):
        if n >= size:
            return f"{n / (1e3 if unit == 'k' else size):.3g} {unit}"
    return str(n)


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
