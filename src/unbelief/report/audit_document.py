"""What an audit found, as one JSON document: written by the audit, read by every report.

`AuditDocument.model_json_schema()` is the published schema. Anything may be absent for a stated
reason; nothing has a default that could be read as a finding.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

SCHEMA = "unbelief.audit"
VERSION = 3
AUDIT_FILE = "audit.json"
"""Name of the document in an audit's folder."""

Role = Literal["unlearned", "original", "retrained"]
Flag = Literal["leaked", "rephrased", "collapsed", "refused", "forgotten", "undecided"]
"""What a response shows. `leaked`: the fact is there and classical metrics see it. `rephrased`: the
fact is there and they do not (spurious unlearning). `collapsed`: repetition or no words. `refused`:
the model declines. `forgotten`: fluent and without the fact. `undecided`: the record does not tell
which words are the fact."""
Outcome = Literal["pass", "fail", "inconclusive"]
ClaimClass = Literal["exact", "approximate, tested", "suppression only"]


class Part(BaseModel):
    """Base of all parts: unknown fields are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Number(Part):
    """A value with what is needed to read it; `value` is None when `reasons` say why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int
    n_unscored: int = 0
    unit: str
    interval: str = ""
    reasons: dict[str, int] = {}


class ModelFacts(Part):
    """Which weights were audited."""

    role: Role
    source: str
    weights_sha256: str
    dtype: str
    parameters: int
    adapter: bool


class MeasureRow(Part):
    """One measure on one item set, for every model that was asked.

    Attributes:
        name: For example `forget_key_fact_recall`.
        title: In words.
        better: What a forgotten record shows, or `higher` for utility.
        models: By role.
        distance: Unlearned minus retrained, with the paired interval, where there is one.
    """

    name: str
    title: str
    group: Literal["leak", "utility", "fluency", "membership"]
    better: str
    models: dict[Role, Number]
    distance: Number | None = None


class Gate(Part):
    """A bound that was fixed before the audit, and what became of it."""

    name: str
    rule: str
    value: float | None
    low: float | None = None
    high: float | None = None
    outcome: Outcome
    because: str


class Verdict(Part):
    """The first screen."""

    outcome: Outcome | Literal["no gates"]
    sentence: str
    claim_class: ClaimClass
    claim_reason: str
    worst: str
    gates: tuple[Gate, ...]
    not_covered: tuple[str, ...]


class AttackRow(Part):
    """One attack: how much leaked before and after, or why it was not run.

    Attributes:
        measure: Which leak measure, or grade of the judge, the numbers are of.
        before: Of the unlearned model without attack.
        after: Under attack.
        retrained_after: Of the retrained model under the same attack, the yardstick.
        seeds: Value under attack for every seed it was made with, where that is more than one;
            `after` is that of the seed that gives most away (the highest value; of a judge's
            grades those with the lowest similarity), and `retrained_after` is of the same seed.
    """

    name: str
    title: str
    options: dict[str, Any]
    ran: bool
    because: str = ""
    measure: str = ""
    before: Number | None = None
    after: Number | None = None
    retrained_after: Number | None = None
    seeds: dict[str, float | None] = {}
    seconds: float | None = None


class CurvePoint(Part):
    """One point of a curve: x, a number per series name, and what x stands for if it is no number.

    Attributes:
        label: For example the name of a model.
    """

    x: float
    label: str = ""
    series: dict[str, Number]


class Curve(Part):
    """A named curve, for example relearning or the squeezing effect along training."""

    name: str
    title: str
    x_title: str
    y_title: str
    points: tuple[CurvePoint, ...]
    note: str = ""


class Response(Part):
    """One response to a prompt.

    Attributes:
        by: Role of the model, or `role under attack`.
        text: What it said, as it is.
        words: The leaking words found in it.
    """

    by: str
    text: str
    words: tuple[str, ...] = ()


class PromptRow(Part):
    """One forget prompt with its flag, scores and responses."""

    id: str
    group: str | None = None
    prompt: str
    truth: str
    flag: Flag
    why: str
    facts: tuple[str, ...] = ()
    scores: dict[str, float | None]
    responses: tuple[Response, ...]


class ChecklistItem(Part):
    """A place where copies of the data may be left."""

    place: str
    what_to_do: str
    found: str = ""


class Judged(Part):
    """Who graded the greedy answers, without attack and under each, and what it took.

    Attributes:
        who: What decides its answers, as the judge describes itself.
        prompt: Version and SHA-256 of the wording it was asked with.
        valid: Whether it graded every control item as it must be graded; if not, no grade counts.
        controls: Control items among the answers.
        misses: What it got wrong about them.
        answers: Greedy answers of all models, without attack and under each with every seed.
        distinct: Different ones among them, each asked about once.
        questions: Put to the judge, controls, second attempts and recorded ones included.
        recorded: Of those, answered by what was on disk.
        input_tokens: Of all replies that say so.
        output_tokens: Likewise.
        uncounted: Replies that do not say.
        models: How the answering model called itself, with the number of replies.
        prices: Per million input and output tokens, where they were given.
        cost: At those prices; None without them or when a reply was not counted.
    """

    who: dict[str, Any]
    prompt: dict[str, str]
    valid: bool
    controls: int
    misses: tuple[str, ...]
    answers: int
    distinct: int
    questions: int
    recorded: int
    input_tokens: int
    output_tokens: int
    uncounted: int
    models: dict[str, int]
    prices: tuple[float, float] | None = None
    cost: float | None = None


class AuditDocument(Part):
    """Everything of one audit.

    Attributes:
        judge: Who graded the answers; None when no judge was asked.
        made_by: How the audited model was made, as it says itself, or that it says nothing.
        uncertainty: What the intervals, seeds, several gates and judges mean together.
        audit_again_by: Day after which the audit is out of date; None when nobody set one.
    """

    schema_name: Literal["unbelief.audit"] = "unbelief.audit"
    version: Literal[3] = 3
    title: str
    created: str
    request_id: str | None = None
    models: tuple[ModelFacts, ...]
    made_by: str
    scope: dict[str, str]
    verdict: Verdict
    measures: tuple[MeasureRow, ...]
    attacks: tuple[AttackRow, ...]
    curves: tuple[Curve, ...] = ()
    flags: dict[Flag, int]
    prompts: tuple[PromptRow, ...]
    checklist: tuple[ChecklistItem, ...]
    judge: Judged | None = None
    methods: tuple[str, ...]
    uncertainty: tuple[str, ...]
    limits: tuple[str, ...]
    reproduction: dict[str, Any]
    valid_for: str
    audit_again_by: str | None = None
