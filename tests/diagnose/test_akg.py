"""A K G: the operators against finite differences and explicit matrices; the error's order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.diagnose.common import RECORDS, encoder
from tests.helpers import FAMILIES, tiny_model
from tests.train.common import loaded
from unbelief.diagnose import AkgRequest, run_akg
from unbelief.diagnose.akg import actual, error_order, predict, token_pairs
from unbelief.diagnose.exact import ExactModel
from unbelief.diagnose.update import Update
from unbelief.errors import RequestError
from unbelief.objectives import BSS, BST, GA, NPO, UNDIAL, Objective
from unbelief.tokens.batch import Row

BELIEFS = ((40, 41, 2), (50, 51, 52, 53))


def row(record: int = 0, answer: str | None = None) -> Row:
    encoded = encoder().encode(RECORDS[record], answer=answer)
    return Row(encoded.record_id, "target", encoded.prompt_ids, encoded.answer_ids)


def made(exact: ExactModel, objective: Objective) -> Update:
    beliefs = BELIEFS if isinstance(objective.forget, BSS) else ()
    return Update.of(exact, objective, encoder().encode(RECORDS[0]), beliefs)


@pytest.fixture(scope="module")
def exact() -> ExactModel:
    return ExactModel(tiny_model())


@pytest.mark.parametrize("family", FAMILIES)
def test_derivatives_in_double_precision_in_every_family(family: str) -> None:
    exact = ExactModel(tiny_model(family))
    batch = exact.batch([row(), row(1)])
    generator = torch.Generator().manual_seed(0)
    tangent = {
        n: torch.randn(p.shape, generator=generator, dtype=p.dtype)
        for n, p in exact.parameters.items()
    }
    forward = exact.jvp(batch, tangent)
    step = 1e-6
    with torch.no_grad():
        ahead = exact.logits(batch, exact.moved(tangent, -step))
        behind = exact.logits(batch, exact.moved(tangent, step))
    difference = (ahead - behind) / (2 * step)
    torch.testing.assert_close(forward, difference, atol=1e-6 * float(forward.abs().max()), rtol=0)
    # ⟨u, J v⟩ = ⟨Jᵀ u, v⟩
    cotangent = torch.randn(forward.shape, generator=generator, dtype=forward.dtype)
    backward = exact.vjp(batch, cotangent)
    left = float((cotangent * forward).sum())
    right = sum(float((backward[n] * tangent[n]).sum()) for n in tangent)
    assert left == pytest.approx(right, rel=1e-11)


@pytest.mark.parametrize(
    "objective",
    [Objective(GA()), Objective(BST(top_k=5)), Objective(BSS(inner=BST(top_k=5), samples=2))],
    ids=lambda o: o.forget.name,
)
def test_the_error_of_the_prediction_is_of_second_order(
    exact: ExactModel, objective: Objective
) -> None:
    update = made(exact, objective)
    observed = [row(), row(0, "In Lima."), row(1), row(3)]
    prediction = predict(update, observed)
    rates = [3e-4, 1e-4, 3e-5, 1e-5]
    changes = actual(update, observed, rates)
    errors = changes - np.outer(rates, prediction.slope)
    size = np.sqrt((errors**2).mean(axis=1))
    assert error_order(rates, size.tolist()) == pytest.approx(2, abs=0.02)
    for i in range(len(observed)):
        assert error_order(rates, np.abs(errors[:, i]).tolist()) == pytest.approx(2, abs=0.1)
    # and small beside what is predicted
    assert np.abs(errors[-1]).max() < 0.01 * np.abs(changes[-1]).max()
    np.testing.assert_allclose(prediction.contributions.sum(axis=1), prediction.slope)
    assert prediction.contributions.shape == (4, len(update.rows))
    assert prediction.slope[0] < 0  # the step forgets its own target


def test_contributions_are_those_of_separate_steps(exact: ExactModel) -> None:
    """Theorem 5.3: BS-S is 1−λ times a step on the target plus λ/N times one on each belief."""
    observed = [row(), row(1)]
    objective = Objective(BSS(inner=GA(), weight=0.6, samples=2), reduction="sum")
    whole = predict(made(exact, objective), observed).contributions
    single = Objective(GA(), reduction="sum")
    encoded = encoder().encode(RECORDS[0])
    for j, (answer, weight) in enumerate(zip((encoded.answer_ids, *BELIEFS), (0.4, 0.3, 0.3),
                                             strict=True)):  # fmt: skip
        one = Update.of(exact, single, replace(encoded, answer_ids=answer))
        np.testing.assert_allclose(whole[:, j], weight * predict(one, observed).slope, rtol=1e-9)


def test_factors_against_explicit_matrices(exact: ExactModel) -> None:
    encoded = replace(encoder().encode(RECORDS[0]), answer_ids=(40, 41, 2))
    update = Update.of(exact, Objective(BST(top_k=3)), encoded)
    observed = row(0, "In")
    pairs = token_pairs(update, observed, probes=8)
    residuals, own, batch = update.residuals(), update.batch(), exact.batch([observed])
    with torch.no_grad():
        pi = exact.logits(batch).softmax(dim=-1)
    size = pi.shape[1]

    def jacobian(batch: Any, token: int) -> torch.Tensor:
        """J of one token's logits, (V, parameters)."""
        rows = []
        for v in range(size):
            unit = torch.zeros(len(batch.target), size, dtype=torch.float64)
            unit[token, v] = 1.0
            rows.append(torch.cat([g.flatten() for g in exact.vjp(batch, unit).values()]))
        return torch.stack(rows)

    i, j = 1, 2
    kernel = jacobian(batch, i) @ jacobian(own, j).T
    softmax = torch.eye(size, dtype=torch.float64) - pi[i].expand(size, size)
    y = int(batch.target[i])
    assert pairs.a[i] == pytest.approx(float(softmax.norm()))
    assert pairs.row[i] == pytest.approx(float(softmax[y].norm()))
    assert pairs.g[j] == pytest.approx(float(residuals[j].norm()))
    product = -float(softmax[y] @ kernel @ residuals[j])
    assert pairs.slope[i, j] == pytest.approx(product)
    assert pairs.kernel[i, j] == pytest.approx(
        abs(product) / float(softmax[y].norm() * residuals[j].norm())
    )
    assert pairs.kernel[i, j] <= float(torch.linalg.matrix_norm(kernel, 2))
    assert pairs.frobenius is not None
    assert pairs.frobenius[i, j] == pytest.approx(float(kernel.norm()), rel=0.4)
    # Summed over all pairs it is the prediction for the answer.
    assert pairs.slope.sum() == pytest.approx(float(predict(update, [observed]).slope[0]))


def test_order_by_hand() -> None:
    assert error_order([1.0, 0.1, 0.01], [5.0, 0.05, 0.0005]) == pytest.approx(2)
    assert error_order([1.0, 0.5], [2.0, 1.0]) == pytest.approx(1)
    with pytest.raises(ValueError):
        error_order([1.0], [1.0])
    with pytest.raises(ValueError):
        error_order([1.0, 0.1], [1.0, 0.0])


def asked(**changed: Any) -> AkgRequest:
    values: dict[str, Any] = {
        "model": loaded(),
        "forget": RECORDS,
        "candidates": 3,
        "others": 2,
        "device": "cpu",
    }
    return AkgRequest(**{**values, **changed})


def test_a_document_and_its_table(tmp_path: Path) -> None:
    from unbelief.report.akg import akg_table, error_sentence

    responses = tmp_path / "r.jsonl"
    responses.write_text('{"response": "No.", "name": "refusal"}\n')
    document = run_akg(
        asked(
            objective=Objective(BSS(inner=BST(top_k=5), samples=2, max_new_tokens=6)),
            record="f1",
            responses=str(responses),
            pairs=True,
        ),
        tmp_path / "akg.json",
    )
    assert document["error_order"] == pytest.approx(2, abs=0.02)
    assert document["residual_sum"] < 1e-12 and document["closed_form_gap"] < 1e-12
    roles = [o["role"] for o in document["observed"]]
    assert roles[:3] == ["target", "belief", "belief"]
    assert roles[-3:] == ["other record", "other record", "response"]
    assert [o["name"] for o in document["observed"]][-3:] == ["f0", "f2", "refusal"]
    # The largest rate was chosen to move nothing by more than 0.3 nats, to first order.
    first = document["observed"][0]
    largest = max(abs(o["slope"]) for o in document["observed"])
    assert largest * document["learning_rates"][0] == pytest.approx(0.3, rel=1e-4)
    assert len(document["token_pairs"]["slope"]) == first["tokens"]
    assert len(akg_table(document).rows) == len(roles)
    assert "2 for a right first order" in error_sentence(document)
    text = (tmp_path / "akg.json").read_text()
    assert "Paris" not in text and "No." not in text


def test_a_method_without_closed_form_says_so() -> None:
    document = run_akg(asked(objective=Objective(NPO()), candidates=0, others=0))
    assert document["closed_form_gap"] is None
    assert [o["role"] for o in document["observed"]] == ["target"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"record": "f9"}, "no forget record 'f9'"),
        ({"learning_rates": (1e-3,)}, "two different learning rates"),
        ({"learning_rates": (1e-3, 0.0)}, "two different learning rates"),
        ({"others": -1}, "others=-1"),
        ({"objective": Objective(BSS()), "forget": ()}, "no record"),
        ({"objective": Objective(UNDIAL())}, "compares the whole distribution"),
        ({"objective": Objective(BSS(inner=UNDIAL(), max_new_tokens=4))}, "the whole distribution"),
        ({"responses": "none.jsonl"}, "cannot read responses"),
    ],
)
def test_wrong_requests(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        run_akg(asked(**changed), tmp_path / "akg.json")
    assert caught.value.remedy
    assert not (tmp_path / "akg.json").exists()


def test_large_and_frozen_models_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="no parameter"):
        ExactModel(tiny_model().requires_grad_(False))
    monkeypatch.setattr("unbelief.diagnose.exact.MOST_PARAMETERS", 1000)
    with pytest.raises(RequestError, match="for at most 1,000"):
        ExactModel(tiny_model())
