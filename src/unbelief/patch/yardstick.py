"""The retrained model, read before the others: two models and a third may not fit into memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbelief.calibrate.scoring import numbers
from unbelief.errors import RequestError
from unbelief.measure.plan import Plan
from unbelief.measure.run import context_of, measure_examples
from unbelief.models.load import load_model, load_tokenizer
from unbelief.models.runner import AnswerModel
from unbelief.patch.attacking import Assaulted, assault
from unbelief.patch.criterion import Forgetting
from unbelief.patch.request import PatchRequest
from unbelief.scores.base import Metric, Statistic
from unbelief.scores.statistics import of_metric
from unbelief.tokens.encode import Encoder
from unbelief.types import Record


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """What the retrained model says.

    Attributes:
        inputs: Which weights.
        forgetting: The criterion's metric on the forget validation records.
        report: Its row of the final table.
        assaulted: Under the attacks; None when there are none.
    """

    inputs: Mapping[str, Any]
    forgetting: Statistic
    report: Mapping[str, Any]
    assaulted: Assaulted | None


def read_yardstick(
    request: PatchRequest,
    forgetting: Forgetting,
    validation: Sequence[Record],
    tests: Mapping[str, Sequence[Record]],
    metrics: Mapping[str, Metric],
) -> Yardstick | None:
    """Ask the retrained model everything that will be compared; None where none was given.

    Raises:
        RequestError: It cannot be loaded or has another vocabulary.
    """
    if request.retrained is None:
        return None
    loaded = load_model(
        request.retrained,
        dtype=request.dtype,
        device=request.device,
        trust_remote_code=request.trust_remote_code,
    )
    original = load_tokenizer(request.original, None, request.trust_remote_code)
    if original.get_vocab() != loaded.tokenizer.get_vocab():
        raise RequestError(
            "the retrained model has another vocabulary than the original",
            where="--retrained",
            remedy="name a model of the same family, trained without the forget records",
        )
    model = AnswerModel(loaded.model, pad_id=loaded.pad_id)
    encoder = Encoder(
        loaded.tokenizer,
        template=request.template,
        system_prompt=request.system_prompt,
        end_token=request.end_token,
        max_length=request.max_length or context_of(model),
    )

    def asked(its: Mapping[str, Sequence[Record]], wanted: Mapping[str, Metric]) -> dict[str, Any]:
        needs = tuple(dict.fromkeys(need for one in wanted.values() for need in one.needs))
        examples = measure_examples(model, encoder, Plan(its, dict.fromkeys(its, needs)))
        return {
            on: {
                name: of_metric(one, examples[on], stream=on, seed=request.seed)
                for name, one in wanted.items()
            }
            for on in its
        }

    on_validation = asked({"forget_validation": validation}, {forgetting.name: forgetting.metric})
    report = {
        on: numbers(statistics, metrics, request.convention)
        for on, statistics in asked(tests, metrics).items()
    }
    assaulted = None
    if request.attacks:
        assaulted = assault(
            model,
            encoder,
            tests["forget_test"],
            tests["retain_test"],
            request.attacks,
            name="retrained",
            seed=request.seed,
        )
    return Yardstick(
        inputs={
            "source": Path(loaded.source).name or loaded.source,
            "revision": loaded.revision,
            "weights_sha256": loaded.weights_sha256,
        },
        forgetting=on_validation["forget_validation"][forgetting.name],
        report=report,
        assaulted=assaulted,
    )
