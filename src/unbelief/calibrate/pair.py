"""The original in memory, ready to become the unlearned model and back, and asked on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbelief.calibrate.request import PairRequest
from unbelief.errors import Interrupted, RequestError
from unbelief.measure.plan import Plan
from unbelief.measure.run import context_of, measure_examples
from unbelief.measure.tables import Need
from unbelief.models.algebra import Blend
from unbelief.models.load import LoadedModel, load_model, merged
from unbelief.models.runner import AnswerModel
from unbelief.provenance import Provenance, records_digest
from unbelief.scores.base import Metric, Statistic
from unbelief.scores.statistics import of_metric
from unbelief.tokens.encode import Encoder
from unbelief.types import Record

Sets = Mapping[str, Sequence[Record]]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An original model and the way from it to the unlearned one.

    Attributes:
        original: As it was loaded, adapters merged.
        unlearned: What is known of it; its weights are gone but for what differs.
        blend: Moves the original's weights.
        model: The original, seen through its answers, wherever its weights are.
        encoder: Renders prompts.
        seed: Of the resampling.
    """

    original: LoadedModel
    unlearned: Mapping[str, Any]
    blend: Blend
    model: AnswerModel
    encoder: Encoder
    seed: int

    def statistics(
        self, sets: Sets, metrics: Mapping[str, Metric]
    ) -> dict[str, dict[str, Statistic]]:
        """Metrics of the model as it is now, by set and name.

        Args:
            sets: Records by set name.
            metrics: By the name they are reported under.
        """
        needs: list[Need] = [need for metric in metrics.values() for need in metric.needs]
        plan = Plan(sets, dict.fromkeys(sets, tuple(dict.fromkeys(needs))))
        examples = measure_examples(self.model, self.encoder, plan)
        return {
            name: {
                title: of_metric(metric, examples[name], stream=name, seed=self.seed)
                for title, metric in metrics.items()
            }
            for name in sets
        }

    def inputs(self) -> dict[str, Any]:
        """What is written about the two models."""
        original = {
            "source": Path(self.original.source).name or self.original.source,
            "revision": self.original.revision,
            "weights_sha256": self.original.weights_sha256,
        }
        return {"original": original, "unlearned": dict(self.unlearned)}


def open_pair(request: PairRequest) -> Pair:
    """Load both models; only the original stays.

    Raises:
        RequestError: One cannot be loaded, the two cannot be mixed or are equal.
    """
    options = {
        "dtype": request.dtype,
        "trust_remote_code": request.trust_remote_code,
    }
    original = merged(load_model(request.original, device=request.device, **options))  # type: ignore[arg-type]
    other = load_model(request.model, device="cpu", **options)  # type: ignore[arg-type]
    blend = Blend(original, other)
    if blend.identical:
        raise RequestError(
            "the unlearned model has the original's weights: there is nothing between them",
            where="--model",
            remedy="name the unlearned model as --model, the one before as --original",
        )
    about = {
        "source": Path(other.source).name or other.source,
        "revision": other.revision,
        "weights_sha256": other.weights_sha256,
        "adapter": other.is_adapter,
    }
    model = AnswerModel(original.model, pad_id=original.pad_id)
    encoder = Encoder(
        original.tokenizer,
        template=request.template,
        system_prompt=request.system_prompt,
        end_token=request.end_token,
        max_length=request.max_length or context_of(model),
    )
    return Pair(
        original=original,
        unlearned=about,
        blend=blend,
        model=model,
        encoder=encoder,
        seed=request.seed,
    )


def provenance_of(
    pair: Pair, request: PairRequest, forget: Sequence[Record], retain: Sequence[Record]
) -> dict[str, Any]:
    """Where a mixed model comes from."""
    return Provenance(
        source=Path(pair.original.source).name or pair.original.source,
        revision=pair.original.revision,
        input_weights_sha256=pair.original.weights_sha256,
        forget=records_digest(forget),
        retain=records_digest(retain),
        config={**request.settings(), "tokens": pair.encoder.describe(), "inputs": pair.inputs()},
        seed=request.seed,
    ).to_dict()


def check_output(request: PairRequest, target: Path) -> None:
    """Refuse to put the result where one of the two models is.

    Raises:
        RequestError: It is there, or inside.
    """
    for flag, source in (("--model", request.model), ("--original", request.original)):
        place = Path(source).expanduser()
        if place.is_dir() and target.resolve() in (place.resolve(), *place.resolve().parents):
            raise RequestError(
                f"{target} is, or holds, the folder given as {flag}",
                where="--output",
                remedy="choose a new folder",
            )


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C in the block ends it in plain words: nothing is written before the end."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped; nothing was written", remedy="the same command starts anew"
        ) from None
