"""What the numbers of an audit mean together: seeds, several gates, judges, intervals."""

from __future__ import annotations

from dataclasses import replace

from unbelief.audit.numbers import Found
from unbelief.audit.request import AuditRequest
from unbelief.scores.metrics.key_facts import LeakRate


def uncertainty(request: AuditRequest, found: Found) -> tuple[str, ...]:
    """In sentences, for the report."""
    return (
        "Intervals are 95 % each. They say how far chance in the choice of records reaches, not "
        "what a different kind of question would find; every number has its number of items.",
        _samples(request, found),
        _attacks(request, found),
        _gates(len(request.gates)),
        _judge(found),
    )


def draws(request: AuditRequest, found: Found) -> tuple[float, ...]:
    """Share of sampled answers that leak, for each seed's own answers; empty without a score."""
    pooled = LeakRate(
        samples=request.samples * request.seeds, temperature=request.temperature, seed=request.seed
    )
    one = LeakRate(samples=request.samples, temperature=request.temperature, seed=request.seed)
    (whole,), (part,) = pooled.needs, one.needs
    shares = []
    for k in range(request.seeds):
        cut = slice(k * request.samples, (k + 1) * request.samples)
        scores = [
            one.score(replace(e, texts={part: tuple(e.texts[whole])[cut]}))  # type: ignore[index,dict-item]
            for e in found.examples["unlearned"]["forget"]
            if whole in e.texts
        ]
        values = [s.value for s in scores if s.value is not None]
        if values:
            shares.append(sum(values) / len(values))
    return tuple(shares)


def _samples(request: AuditRequest, found: Found) -> str:
    if request.seeds == 1:
        return (
            f"Sampled answers come from one seed ({request.seed}), {request.samples} per prompt; "
            "how much another would change was not looked at (--seeds 3 does)."
        )
    shares = ", ".join(f"{share:.1%}" for share in draws(request, found)) or "not scored"
    return (
        f"Sampled answers are {request.seeds} independent draws of {request.samples} per prompt, "
        "pooled: a prompt leaks when any of them does. Share of leaking answers by draw: "
        f"{shares}."
    )


def _attacks(request: AuditRequest, found: Found) -> str:
    drawn = [tried.name for tried in found.attacks if tried.seeds and not tried.because]
    fixed = [t.name for t in found.attacks if not t.seeds and not t.because]
    if not drawn:
        return "No attack that was run draws anything: there is nothing a seed would change."
    names = ", ".join(drawn)
    tail = f" Without a seed: {', '.join(fixed)}." if fixed else ""
    if request.seeds == 1:
        return f"Attacks with a seed were made once ({names}).{tail}"
    return (
        f"Attacks with a seed were made {request.seeds} times ({names}): the highest leak is "
        f"shown, measure by measure, and a gate counts its worst outcome.{tail} Relearning curves "
        "are of the first seed."
    )


def _gates(count: int) -> str:
    if count < 2:
        return "There is one gate or none: nothing to correct for."
    return (
        f"{count} gates: an audit passes only if all do, so that a wrong pass is no likelier than "
        "with one gate and needs no correction (intersection-union). A gate that fails by chance "
        f"alone is likelier, up to {min(1.0, 0.025 * count):.1%} instead of 2.5 %: failures say "
        "whether they survive Bonferroni\u2019s correction. Measures without a gate are described, "
        "not tested, and not corrected."
    )


def _judge(found: Found) -> str:
    judge = found.judge
    if judge is None:
        return "No judge was asked, so there is no agreement of judges to report."
    price = "" if judge.cost is None else f", {judge.cost:.4g} at the given prices"
    tokens = f"{judge.input_tokens} tokens in and {judge.output_tokens} out"
    unsaid = f" ({judge.uncounted} replies do not say how many)" if judge.uncounted else ""
    return (
        f"The judge read the {judge.answers} greedy answers, without attack and under each "
        f"({judge.distinct} different ones, each asked about once), and no sampled ones: "
        f"{judge.questions} questions with controls, {tokens}{unsaid}{price}. It was checked by "
        "control items only; agreement with people was not measured (`unbelief judge agreement` "
        "does it)."
    )
