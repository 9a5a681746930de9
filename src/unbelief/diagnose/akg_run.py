"""`unbelief diagnose akg`: one step on one record, and what it does to other answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unbelief.beliefs.sampler import sample_answers
from unbelief.data import read_records
from unbelief.diagnose.akg import Prediction, actual, error_order, predict, token_pairs
from unbelief.diagnose.akg_request import AkgRequest
from unbelief.diagnose.candidates import ProposeOptions
from unbelief.diagnose.document import plain
from unbelief.diagnose.exact import ExactModel
from unbelief.diagnose.propose import propose_candidates
from unbelief.diagnose.responses import read_responses
from unbelief.diagnose.update import Update, closed_form
from unbelief.errors import RequestError
from unbelief.models.load import LoadedModel, load_model
from unbelief.objectives import BSS, BST, GA, Objective
from unbelief.objectives.base import describe
from unbelief.outputs import atomic_write, check_destination
from unbelief.provenance import utc_now
from unbelief.tokens.batch import Row
from unbelief.tokens.encode import Encoder
from unbelief.train.preparation import context_length
from unbelief.train.supply import decoding_of
from unbelief.types import Record

SCHEMA = "unbelief.akg"
VERSION = 1
_RATES = 5
_LARGEST_CHANGE = 0.3  # nats by which the largest rate should change what changes most
_STEP = 10**-0.5


@dataclass(frozen=True, slots=True)
class _Watched:
    """One observed answer."""

    role: str
    name: str
    row: Row


def run_akg(
    request: AkgRequest, output: str | Path | None = None, *, overwrite: bool = False
) -> dict[str, Any]:
    """Predict one step's effect by A K G, take the step, and compare.

    Args:
        request: What.
        output: JSON file that is to appear; None writes nothing.
        overwrite: Replace an existing file.

    Returns:
        The document: factors, predictions, true changes, and the order of the error.

    Raises:
        RequestError: The request is wrong; nothing was written.
    """
    destination = None if output is None else check_destination(output, overwrite)
    records = [r for r in read_records(request.forget, columns=request.columns) if r.prompt]
    record = _record(records, request.record)
    responses = [] if request.responses is None else read_responses(request.responses, records)
    loaded = request.model if isinstance(request.model, LoadedModel) else _load(request)
    if loaded.is_adapter:
        raise RequestError(
            "exact derivatives are of a model's own weights, and this is an adapter",
            where="model",
            remedy="merge it into its base model first",
        )
    encoder = Encoder(
        loaded.tokenizer, template=request.template, max_length=context_length(loaded.model)
    )
    exact = ExactModel(loaded.model, loaded.pad_id)
    update = _update(request, loaded, encoder, exact, record)
    watched = _watched(request, loaded, encoder, update, record, records)
    for response in responses:
        if response.record_id in (None, record.id):
            answer = encoder.encode(record, answer=response.text)
            row = Row(record.id, "target", answer.prompt_ids, answer.answer_ids)
            watched.append(_Watched("response", response.name, row))
    document = _document(request, loaded, update, watched, record)
    if destination is not None:
        atomic_write(destination, json.dumps(document, allow_nan=False) + "\n")
    return document


def _load(request: AkgRequest) -> LoadedModel:
    assert isinstance(request.model, str)
    return load_model(
        request.model, device=request.device, trust_remote_code=request.trust_remote_code
    )


def _record(records: Sequence[Record], name: str | None) -> Record:
    if not records:
        raise RequestError(
            "no record has a prompt", where="forget", remedy="name data with prompt and answer"
        )
    if name is None:
        return records[0]
    for record in records:
        if record.id == name:
            return record
    raise RequestError(
        f"there is no forget record {name!r}",
        where="record",
        remedy=f"ids look like {records[0].id!r}",
    )


def _update(
    request: AkgRequest, loaded: LoadedModel, encoder: Encoder, exact: ExactModel, record: Record
) -> Update:
    encoded, forget = encoder.encode(record), request.objective.forget
    beliefs: list[tuple[int, ...]] = []
    if isinstance(forget, BSS):
        (answers,) = sample_answers(
            loaded.model,
            encoder,
            [encoded.prompt_ids],
            decoding=decoding_of(forget, request.seed),
            samples=forget.samples,
            keys=[record.id],
        )
        beliefs = [a.token_ids for a in answers]
    return Update.of(exact, request.objective, encoded, beliefs)


def _watched(
    request: AkgRequest,
    loaded: LoadedModel,
    encoder: Encoder,
    update: Update,
    record: Record,
    records: Sequence[Record],
) -> list[_Watched]:
    """The target, the step's own beliefs, the bands, and targets of other records."""
    out = [_Watched("target", record.id, update.rows[0])]
    for j, row in enumerate(update.rows[1:]):
        out.append(_Watched("belief", f"belief {j + 1}", row))
    if request.candidates:
        found = propose_candidates(
            loaded.model,
            encoder,
            [record],
            ProposeOptions(candidates=request.candidates, seed=request.seed),
            model_sha256=loaded.weights_sha256,
        ).thinned(request.per_band)
        for c in found.candidates:
            row = Row(record.id, "target", update.rows[0].prompt_ids, c.token_ids)
            out.append(_Watched(c.band, f"rank {c.rank + 1}", row))
    for other in [r for r in records if r.id != record.id][: request.others]:
        encoded = encoder.encode(other)
        row = Row(other.id, "target", encoded.prompt_ids, encoded.answer_ids)
        out.append(_Watched("other record", other.id, row))
    return out


def _document(
    request: AkgRequest,
    loaded: LoadedModel,
    update: Update,
    watched: Sequence[_Watched],
    record: Record,
) -> dict[str, Any]:
    rows = [w.row for w in watched]
    prediction = predict(update, rows)
    rates = request.learning_rates or _rates(float(np.abs(prediction.slope).max()))
    changes = actual(update, rows, rates)
    errors = changes - np.outer(rates, prediction.slope)
    size = np.sqrt((errors**2).mean(axis=1)).tolist()
    residuals, batch = update.residuals(), update.batch()
    norms = [float(residuals[batch.row == r].norm()) for r in range(len(update.rows))]
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "version": VERSION,
        "created": utc_now(),
        "model": loaded.source,
        "weights_sha256": loaded.weights_sha256,
        "parameters": update.model.size,
        "objective": {
            "forget": describe(request.objective.forget),
            "forget_weight": request.objective.forget_weight,
            "reduction": request.objective.reduction,
        },
        "record": record.id,
        "update": [
            {"kind": r.kind, "weight": r.weight, "tokens": r.n_scored, "residual_norm": norm}
            for r, norm in zip(update.rows, norms, strict=True)
        ],
        "residual_sum": float(residuals.sum(dim=1).abs().max()),
        "closed_form_gap": _gap(request.objective, update),
        "learning_rates": list(rates),
        "error": size,
        "error_order": error_order(rates, size) if min(size) > 0 else None,
        "observed": _observed(watched, prediction, changes),
        "token_pairs": None,
    }
    if request.pairs:
        found = token_pairs(update, rows[0], probes=request.probes, seed=request.seed)
        names = ("a", "row", "g", "slope", "kernel", "frobenius")
        arrays = {name: getattr(found, name) for name in names}
        document["token_pairs"] = {
            name: None if value is None else value.tolist() for name, value in arrays.items()
        }
    rounded: dict[str, Any] = plain(document)
    return rounded


def _observed(
    watched: Sequence[_Watched], prediction: Prediction, changes: np.ndarray
) -> list[dict[str, Any]]:
    return [
        {
            "role": w.role,
            "name": w.name,
            "tokens": w.row.n_scored,
            "log_prob": float(prediction.log_prob[i]),
            "slope": float(prediction.slope[i]),
            "contributions": prediction.contributions[i].tolist(),
            "actual": changes[:, i].tolist(),
        }
        for i, w in enumerate(watched)
    ]


def _rates(slope: float) -> tuple[float, ...]:
    """Rates for which second-order terms are small, but far above rounding."""
    largest = _LARGEST_CHANGE / max(slope, 1e-12)
    return tuple(largest * _STEP**k for k in range(_RATES))


def _gap(objective: Objective, update: Update) -> float | None:
    """Largest |G − ω (t − π)| where a closed form is known: GA and BS-T, also inside BS-S."""
    forget = objective.forget
    term = forget.inner if isinstance(forget, BSS) else forget
    known = isinstance(term, GA) or (
        isinstance(term, BST) and term.beliefs_from == "policy" and term.detach
    )
    if not known or objective.temperature != 1 or objective.keep_fraction != 1:
        return None
    assert isinstance(term, GA | BST)
    batch = update.batch()
    logits = update.model.logits(batch).detach()
    formula = closed_form(term, logits, batch.target)
    scale = update.scale_of_rows()[batch.row]
    return float((update.residuals() - scale[:, None] * formula).abs().max())
