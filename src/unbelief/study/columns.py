r"""What the field's tables show of a TOFU run, beside the study's own quantities.

* `mem`, `util`, `agg`: memorization, utility and their harmonic mean as in Li et al. 2026, Table 1,
  but with fluency under the original model instead of a classifier's, and with utility on the sets
  of `utility_on` only: where the original knows nothing of the world, a mean that is 0 as soon
  as one part is would say nothing
* `leak_rate`: share of sampled answers that state half of the key facts or more
* `squeeze_index`: how far the likeliest other answers rose while the target fell, of the tokens in
  which they differ from it, nats per token (`unbelief.diagnose.index`)

They are measured on test cases only: no search sees them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from unbelief.data.tofu import read_tofu
from unbelief.diagnose import ProposeOptions, SqueezeMeter, index_of, propose_candidates, series_of
from unbelief.diagnose.points import Point
from unbelief.diagnose.propose import choose_records
from unbelief.measure import Plan, measure_examples
from unbelief.measure.tables import AnswerNeed, Example, Need
from unbelief.models.load import load_model
from unbelief.models.runner import AnswerModel
from unbelief.scores.base import Aggregate, Metric, Statistic
from unbelief.scores.metrics.fluency import as_said
from unbelief.scores.statistics import of_metric
from unbelief.suites.base import Choices, Line
from unbelief.suites.tofu import lines as tofu_lines
from unbelief.tokens import Encoder
from unbelief.types import Record

if TYPE_CHECKING:
    from unbelief.diagnose.candidates import CandidateSet

_MEM, _LEAKS, _FLUENCY = "memorization", "forget_leak_rate", "forget_original_fluency"
_PARTS = ("probability", "rouge", "truth_ratio")


UTILITY_ON = ("retain", "real_authors", "world_facts")


@dataclass(frozen=True, kw_only=True)
class TofuColumns:
    """How the columns are measured.

    Attributes:
        data: Folder or hub id of TOFU.
        limit: Items of every set, of the forget set those of the test split.
        samples: Sampled answers per forget prompt.
        prompts: Forget prompts whose other answers are followed.
        candidates: Beams per prompt.
        utility_on: Sets whose probability, ROUGE and truth ratio make the utility.
    """

    data: str
    limit: int = 32
    samples: int = 4
    prompts: int = 16
    candidates: int = 5
    utility_on: tuple[str, ...] = UTILITY_ON

    @property
    def utility_lines(self) -> tuple[str, ...]:
        """What the utility is the harmonic mean of."""
        return (*(f"{on}_{part}" for on in self.utility_on for part in _PARTS), _FLUENCY)

    def describe(self) -> dict[str, Any]:
        """Everything that decides the numbers but the data."""
        names = ("limit", "samples", "prompts", "candidates")
        return {**{n: getattr(self, n) for n in names}, "utility_on": list(self.utility_on)}


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """The original model, and what every model of a case is asked.

    Attributes:
        original: The model before unlearning.
        columns: What is measured.
        encoder: Its encoder.
        sets: Records by item set.
        lines: What is computed, inputs first.
        asked: Records whose other answers are followed.
        candidates: These answers.
        meter: Measures them.
        start: Their readings under the original.
    """

    original: AnswerModel
    columns: TofuColumns
    encoder: Encoder
    sets: Mapping[str, Sequence[Record]]
    lines: tuple[Line, ...]
    asked: tuple[Record, ...]
    candidates: CandidateSet
    meter: SqueezeMeter
    start: Point

    def point(self, step: int, model: AnswerModel) -> Point:
        """Where the target and its rivals are at a step."""
        return Point(step=step, label=str(step), readings=self.meter.measure(model))

    def measure(
        self, model: AnswerModel, points: Sequence[Point]
    ) -> tuple[dict[str, float], dict[str, str]]:
        """The columns of a model.

        Args:
            model: In any mode; left in it.
            points: Along its run, the last of this model; the start is added.

        Returns:
            Values by name, and reasons for those without one.
        """
        found = self._statistics(model)
        utility = harmonic_mean([found[name] for name in self.columns.utility_lines])
        columns = {"mem": found[_MEM], "util": utility, "leak_rate": found[_LEAKS]}
        columns["agg"] = harmonic_mean([columns["mem"], utility])
        values = {n: s.value for n, s in columns.items() if s.value is not None}
        unscored = {
            n: "; ".join(s.reasons) or "it was not computed"
            for n, s in columns.items()
            if s.value is None
        }
        groups = {r.id: r.group for r in self.asked}
        series = series_of([self.start, *points], self.candidates, groups)
        index = index_of(series, "own").index
        if index.value is None:
            unscored["squeeze_index"] = "; ".join(index.reasons) or "no prompt has a rival answer"
        else:
            values["squeeze_index"] = index.value
        return values, unscored

    def _statistics(self, model: AnswerModel) -> dict[str, Statistic]:
        needs: dict[str, list[Need]] = {name: [] for name in self.sets}
        for line in self.lines:
            if line.said is not None:
                needs[line.on].append(line.said)
            elif isinstance(line.how, Metric):
                needs[line.on] += line.how.needs
        examples = measure_examples(model, self.encoder, Plan(self.sets, needs))
        found: dict[str, Statistic] = {}
        for line in self.lines:
            if isinstance(line.how, Aggregate):
                inputs = [found[name] for name in line.inputs]
                found[line.name] = line.how.combine(inputs, None)
            elif line.said is not None:
                found[line.name] = of_metric(line.how, self._heard(examples[line.on], line))
            else:
                found[line.name] = of_metric(line.how, examples[line.on], stream=line.on)
        return found

    def _heard(self, examples: Sequence[Example], line: Line) -> Sequence[Example]:
        """The model's own words as the original model sees them; empty ones are left out."""
        assert line.said is not None
        words = [(e.record, e.texts[line.said][0].text) for e in examples]
        said = [as_said(record, text) for record, text in words if text.strip()]
        plan = Plan({"said": said}, {"said": (AnswerNeed("answer"),)})
        return measure_examples(self.original, self.encoder, plan)["said"] if said else ()


@lru_cache(maxsize=8)
def yardstick(
    columns: TofuColumns, split: str, original: str, device: str, forget: tuple[str, ...]
) -> Yardstick:
    """Load the original model and let it propose other answers, once for all runs of a case.

    Args:
        columns: How to measure.
        split: TOFU's forget split.
        original: Model folder or hub id.
        device: Where to compute.
        forget: Ids of the forget records that may be asked about.
    """
    sets = dict(read_tofu(columns.data, split).sets)
    sets["forget"] = tuple(r for r in sets["forget"] if r.id in set(forget))
    lines = _lines(columns)
    used = {line.on for line in lines if line.on}
    limited = {name: sets[name][: columns.limit] for name in sets if name in used}
    loaded = load_model(original, device=device)
    loaded.model.eval()
    encoder = Encoder(loaded.tokenizer)
    model = AnswerModel(loaded.model, pad_id=encoder.pad_id)
    asked = choose_records(limited["forget"], columns.prompts)
    options = ProposeOptions(candidates=columns.candidates)
    candidates = propose_candidates(
        loaded.model, encoder, asked, options, model_sha256=loaded.weights_sha256
    )
    meter = SqueezeMeter(encoder, asked, candidates)
    start = Point(step=0, label="0", readings=meter.measure(model))
    return Yardstick(
        original=model,
        columns=columns,
        encoder=encoder,
        sets=limited,
        lines=lines,
        asked=tuple(asked),
        candidates=candidates,
        meter=meter,
        start=start,
    )


def harmonic_mean(parts: Sequence[Statistic]) -> Statistic:
    """Harmonic mean of numbers of 0 or more; 0 as soon as one is, without a value if one is."""
    lost = [s for s in parts if s.value is None]
    reasons = {reason: count for s in lost for reason, count in s.reasons.items()}
    known = [s.value for s in parts if s.value is not None]
    if lost:
        return Statistic(value=None, n_unscored=len(lost), reasons=reasons, unit="share")
    value = 0.0 if min(known) <= 0 else len(known) / sum(1 / v for v in known)
    return Statistic(value=value, n=len(known), unit="share")


def _lines(columns: TofuColumns) -> tuple[Line, ...]:
    """The wanted lines of the suite and all they are made of, inputs first."""
    every = {line.name: line for line in tofu_lines(Choices(samples=columns.samples))}
    wanted, todo = set[str](), [_MEM, _LEAKS, *columns.utility_lines]
    while todo:
        name = todo.pop()
        wanted.add(name)
        todo += every[name].inputs
    return tuple(line for name, line in every.items() if name in wanted)
