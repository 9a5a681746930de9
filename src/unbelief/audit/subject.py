"""One audited model: loaded, asked, and asked again under attack."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from unbelief.audit.request import AuditRequest
from unbelief.evaluate.scoring import ItemScores, item_scores
from unbelief.interventions.base import Context, ModelIntervention, PromptIntervention
from unbelief.measure.plan import Plan
from unbelief.measure.run import measure
from unbelief.measure.store import META, read_measurements
from unbelief.measure.tables import Example, Need
from unbelief.models.load import LoadedModel, load_model
from unbelief.models.runner import AnswerModel
from unbelief.report.audit_document import ModelFacts, Role
from unbelief.scores.base import Metric
from unbelief.suites.base import Line
from unbelief.tokens import Encoder
from unbelief.types import Record

Attack = ModelIntervention | PromptIntervention
Examples = Mapping[str, tuple[Example, ...]]
Sets = Mapping[str, tuple[Record, ...]]


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """What one attack on one model brought.

    Attributes:
        examples: The forget examples under attack, in the records' order.
        scores: Of the lines read under attack.
        how: What was done, where it differs by record: counts by description.
    """

    examples: tuple[Example, ...]
    scores: ItemScores
    how: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model under audit.

    Attributes:
        role: What it is.
        facts: Which weights these are.
        model: Seen through its answers.
        encoder: Renders prompts for it.
        folder: Where what it said is kept.
        progress: Show bars.
    """

    role: Role
    facts: ModelFacts
    model: AnswerModel
    encoder: Encoder
    folder: Path
    progress: bool

    def asked(self, sets: Sets, lines: Sequence[Line]) -> Examples:
        """Measure what the lines need; what was measured before is read again."""
        return self._measured(Plan(sets, needs_of(lines)), self.folder / self.role, {})

    def attacked(
        self, attack: Attack, label: str, context: Context, lines: Sequence[Line]
    ) -> AttackResult:
        """Measure the lines under an attack.

        Args:
            attack: What is done.
            label: The text it was asked for with.
            context: Encoder and records.
            lines: What is read.

        Raises:
            RequestError: The attack cannot be made on this model.
        """
        attack.require(context)
        records = tuple(context.forget)
        folder = self.folder / f"{self.role}@{label.replace(':', ',')}"
        about = {"attack": attack.name, "options": asdict(attack)}
        if isinstance(attack, ModelIntervention):
            plan = Plan({"forget": records}, needs_of(lines))
            examples = self._kept(folder, about)
            if examples is None:
                with attack.applied(self.model, context) as attacked:
                    model = replace(self, model=attacked)
                    examples = model._measured(plan, folder, about)
            found, how = examples["forget"], dict[str, int]()
        else:
            found, how = self._with_prompts(attack, context, folder, about, lines)
        return AttackResult(examples=found, scores=item_scores(lines, {"forget": found}), how=how)

    def at_step(
        self, step: int, attack: ModelIntervention, context: Context, lines: Sequence[Line]
    ) -> ItemScores:
        """Measure the lines at one moment of a relearning run; the model is the attacked one."""
        plan = Plan({"forget": tuple(context.forget)}, needs_of(lines))
        about = {"attack": attack.name, "options": asdict(attack), "step": step}
        folder = self.folder / f"{self.role}@{attack.name}-step{step}"
        return item_scores(lines, self._measured(plan, folder, about))

    def _with_prompts(
        self,
        attack: PromptIntervention,
        context: Context,
        folder: Path,
        about: Mapping[str, Any],
        lines: Sequence[Line],
    ) -> tuple[tuple[Example, ...], dict[str, int]]:
        done = attack.apply(context.forget, context)
        needs = needs_of(lines)
        asked: dict[str, Example] = {}
        if done.records:
            examples = self._measured(Plan({"forget": done.records}, needs), folder, about)
            asked = {example.record.id: example for example in examples["forget"]}
        found = []
        for record in context.forget:
            example = asked.get(record.id)
            if example is None:
                reason = f"not attacked: {done.unattacked[record.id]}"
                found.append(
                    Example(record=record, unmeasured=dict.fromkeys(needs["forget"], reason))
                )
            elif attack.splits_answer:
                found.append(example)
            else:
                # What counts as the fact is decided by the question, not by what an attack adds.
                found.append(replace(example, record=record))
        how: dict[str, int] = {}
        for words in done.how.values():
            how[words] = how.get(words, 0) + 1
        return tuple(found), how

    def _measured(self, plan: Plan, folder: Path, about: Mapping[str, Any]) -> Examples:
        measure(
            self.model,
            self.encoder,
            plan,
            folder,
            fingerprint=self._fingerprint(about),
            progress=self.progress,
        )
        return read_measurements(folder).examples

    def _kept(self, folder: Path, about: Mapping[str, Any]) -> Examples | None:
        """What an earlier start of the same audit measured, before an attack is made again."""
        if not (folder / META).is_file():
            return None
        found = read_measurements(folder)
        same = json.loads(json.dumps(self._fingerprint(about))) == found.fingerprint
        return found.examples if same else None

    def _fingerprint(self, about: Mapping[str, Any]) -> dict[str, Any]:
        return {"weights_sha256": self.facts.weights_sha256, **about}


def needs_of(lines: Sequence[Line]) -> dict[str, tuple[Need, ...]]:
    """Per item set, what its lines need."""
    needs: dict[str, list[Need]] = {}
    for line in lines:
        if isinstance(line.how, Metric):
            needs.setdefault(line.on, []).extend(line.how.needs)
    return {name: tuple(dict.fromkeys(its)) for name, its in needs.items()}


def open_subject(
    request: AuditRequest, role: Role, source: str, folder: Path, *, progress: bool
) -> Subject:
    """Load a model and say which weights it has.

    Raises:
        RequestError: It cannot be loaded, or the encoding options do not fit its tokenizer.
    """
    loaded = load_model(
        source,
        dtype=request.dtype,
        device=request.device,
        trust_remote_code=request.trust_remote_code,
    )
    encoder = Encoder(
        loaded.tokenizer,
        template=request.template,
        system_prompt=request.system_prompt,
        end_token=request.end_token,
        max_length=request.max_length,
    )
    return Subject(
        role=role,
        facts=_facts(role, loaded),
        model=AnswerModel(loaded.model, pad_id=loaded.pad_id),
        encoder=encoder,
        folder=folder,
        progress=progress,
    )


def _facts(role: Role, loaded: LoadedModel) -> ModelFacts:
    return ModelFacts(
        role=role,
        source=Path(loaded.source).name or loaded.source,
        weights_sha256=loaded.weights_sha256,
        dtype=loaded.dtype,
        parameters=sum(p.numel() for p in loaded.model.parameters()),
        adapter=loaded.is_adapter,
    )
