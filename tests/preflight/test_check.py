from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import save_tiny, tiny_model, tiny_tokenizer
from unbelief.errors import DataError, RequestError
from unbelief.objectives import BSS, GA, KL, NLL, NPO, Transplant
from unbelief.preflight import PreflightReport, check_request, render
from unbelief.train.options import TrainOptions

CANARY = "zqx canary zqx"


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


@pytest.fixture(scope="module")
def request_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("request")
    forget = [
        {"question": f"{CANARY} {i}?", "answer": "ab" * (i + 2), "author": f"a{i % 2}"}
        for i in range(4)
    ]
    retain = [{"question": f"kept {i}", "answer": "xyz" * 4, "note": 1} for i in range(6)]
    return {
        "model": save_tiny(folder / "model"),
        "forget": write(folder / "forget.jsonl", forget),
        "retain": write(folder / "retain.jsonl", retain),
    }


@pytest.fixture(scope="module")
def report(request_files: dict[str, Path]) -> PreflightReport:
    return check_request(**request_files)  # type: ignore[arg-type]


def test_tokens_by_hand(report: PreflightReport) -> None:
    # One token per character; answers of 4, 6, 8 and 10 letters, each with an end token: 32.
    assert report.forget.answer_tokens == 4 + 6 + 8 + 10 + 4
    assert report.forget.mean_answer == 8
    # Prompts: <|user|>, 17 characters, <|assistant|> = 19 tokens each.
    assert len(f"{CANARY} 0?") == 17
    assert report.forget.prompt_tokens == 4 * 19
    assert report.forget.longest == 19 + 11
    assert report.retain is not None and report.retain.answer_tokens == 6 * 13
    assert report.encoding["template"] == "chat"
    assert report.encoding["end_token_scored"] is True
    assert report.forget_format == "question/answer"


def test_work_by_hand(report: PreflightReport) -> None:
    # 4 forget records at 32 pairs per step: one step per epoch, ten epochs.
    assert (report.duration.steps, report.duration.pairs_per_step) == (10, 32)
    assert report.duration.belief_samples == 3
    # Per epoch the forget rows have 76 + 32 = 108 tokens; 3 beliefs as long as the answers: 324
    # more; 4 retain rows of mean length (12 + ...): prompts are <|user|> + 6 + <|assistant|> = 8,
    # answers 13, so 21 tokens each. Each of the 6 is counted as round(21 · 4 / 6) = 14: 84.
    assert report.duration.trained_tokens == 10 * (108 + 324 + 84)


def test_model_facts(report: PreflightReport) -> None:
    model = tiny_model()
    parameters = sum(p.numel() for p in model.parameters())
    assert report.model.parameters == report.model.trainable == parameters
    assert report.model.stored_parameters == parameters
    assert report.model.stored_bytes is not None
    assert report.model.stored_bytes >= 4 * parameters
    assert report.model.embedding_parameters == 2 * 120 * 32
    assert (report.model.layers, report.model.hidden, report.model.intermediate) == (2, 32, 48)
    assert (report.model.key_value, report.model.heads) == (16, 4)  # two heads of width 8
    assert (report.model.vocabulary, report.model.context) == (120, 256)
    assert report.model.architecture == "LlamaForCausalLM"


def test_memory_by_hand(report: PreflightReport) -> None:
    # fp32: 4 bytes per weight and gradient, 8 for AdamW.
    n = report.model.parameters
    memory = report.memory
    assert (memory.weights, memory.gradients, memory.optimizer) == (4 * n, 4 * n, 8 * n)
    assert memory.reference == 0
    # At most 16 rows in a forward, the longest ones: forget targets and three beliefs each, that
    # is all 16 rows of 23 to 29 tokens: 4 · (19·4 + 32) = 432 tokens, a tenth more is 475. The
    # retain rows (21 tokens) are shorter.
    tokens = 475
    per_token = 2 * (9 * 32 + 2 * 16 + 4 * 48) * 4
    assert memory.activations == tokens * per_token
    # Answers: 4 · 32 = 128 tokens: 2 buffers of 128 x 120, gradient 120 x 32, states 2 · 128 · 32.
    assert memory.answer_head == 4 * (2 * 128 * 120 + 120 * 32 + 2 * 128 * 32)
    assert memory.total == 16 * n + memory.activations + memory.answer_head


def test_small_local_models_are_timed(report: PreflightReport) -> None:
    assert report.duration.seconds is not None
    assert 0 < report.duration.seconds < 600
    assert "GFLOP/s" in report.duration.how


def test_nothing_is_loaded_when_not_asked(
    request_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from unbelief.models import load

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(load, "load_model", refuse)
    report = check_request(**request_files, measure=False)  # type: ignore[arg-type]
    assert report.duration.seconds is None
    assert "not measured, because it is not asked for" in report.duration.how


def test_large_models_are_not_loaded(
    request_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from unbelief.preflight import duration

    monkeypatch.setattr(duration, "SMALL", 1000)
    report = check_request(**request_files)  # type: ignore[arg-type]
    assert report.duration.seconds is None
    assert "more than 1,000 parameters" in report.duration.how


def test_lora(request_files: dict[str, Path]) -> None:
    report = check_request(**request_files, lora="r=2,alpha=4", measure=False)  # type: ignore[arg-type]
    # Per layer r (in + out): q 32+32, k and v 32+16 each, o 32+32; gate and up 32+48, down 48+32.
    trainable = 2 * 2 * (64 + 2 * 48 + 64 + 3 * 80)
    assert report.model.trainable == trainable
    assert report.memory.gradients == 4 * trainable
    assert report.memory.optimizer == 8 * trainable
    assert report.memory.weights == 4 * (report.model.parameters + trainable)
    assert any("merged" in note for note in report.notes)


def test_trainable_pattern(request_files: dict[str, Path]) -> None:
    options = TrainOptions(trainable=r"model\.layers\.1\.mlp\..*")
    report = check_request(**request_files, train=options, measure=False)  # type: ignore[arg-type]
    assert report.model.trainable == 3 * 32 * 48
    with pytest.raises(RequestError, match="no parameter"):
        check_request(**request_files, train=TrainOptions(trainable="x"))  # type: ignore[arg-type]


def test_a_divergence_needs_a_second_model(request_files: dict[str, Path]) -> None:
    with_kl = check_request(**request_files, objective=GA() + KL(), measure=False)  # type: ignore[arg-type]
    without = check_request(**request_files, objective=GA() + NLL(), measure=False)  # type: ignore[arg-type]
    assert with_kl.memory.reference == 4 * with_kl.model.parameters
    assert without.memory.reference == 0
    # Forward and backward are three forwards; the original model adds a fourth.
    assert with_kl.duration.flops == pytest.approx(without.duration.flops * 4 / 3)


def test_flops_by_hand(request_files: dict[str, Path]) -> None:
    report = check_request(**request_files, objective=NPO() + NLL(), measure=False)  # type: ignore[arg-type]
    body = report.model.parameters - report.model.embedding_parameters

    def forward(lengths: list[int], answers: int) -> float:
        squares = sum(n * n for n in lengths)
        return 2 * (body * sum(lengths) + 120 * 32 * answers + 2 * 32 * squares)

    forget = forward([19 + n for n in (5, 7, 9, 11)], 32)
    retain = forward([14] * 6, 6 * 9)  # round(13 · 4 / 6) = 9 answer tokens each
    # NPO scores the forget rows once under the original model.
    assert report.duration.flops == pytest.approx(10 * 3 * (forget + retain) + forget)
    assert report.duration.belief_samples == 0


def test_beliefs_multiply_the_work_but_not_the_memory(request_files: dict[str, Path]) -> None:
    few = check_request(**request_files, objective=BSS(samples=3) + NLL(), measure=False)  # type: ignore[arg-type]
    many = check_request(**request_files, objective=BSS(samples=30) + NLL(), measure=False)  # type: ignore[arg-type]
    assert many.duration.flops > 5 * few.duration.flops
    # The 16 longest rows are now 16 copies of the longest one.
    assert many.memory.total < 1.2 * few.memory.total


def test_transplanted_beliefs_come_in_place_of_the_answers(request_files: dict[str, Path]) -> None:
    term = Transplant(neighbours=4, samples=4, per_step=2)
    report = check_request(**request_files, objective=term + NLL(), measure=False)  # type: ignore[arg-type]
    # As in `test_work_by_hand`: 2 · 108 tokens of beliefs and 84 of retain rows, ten times.
    assert report.duration.trained_tokens == 10 * (2 * 108 + 84)
    both = Transplant(neighbours=4, samples=4, per_step=2, inner=GA(), suppression=0.1)
    report = check_request(**request_files, objective=both + NLL(), measure=False)  # type: ignore[arg-type]
    assert report.duration.trained_tokens == 10 * (2 * 108 + 108 + 84)


def test_checkpointing_and_autocast_lower_activations(request_files: dict[str, Path]) -> None:
    plain = check_request(**request_files, measure=False)  # type: ignore[arg-type]
    options = TrainOptions(gradient_checkpointing=True, bf16=True)
    lean = check_request(**request_files, train=options, measure=False)  # type: ignore[arg-type]
    assert lean.memory.activations < plain.memory.activations / 3
    assert lean.duration.flops > plain.duration.flops


def test_nothing_is_written(request_files: dict[str, Path]) -> None:
    folder = request_files["model"].parent
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    check_request(**request_files)  # type: ignore[arg-type]
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_the_report_holds_no_text(report: PreflightReport) -> None:
    written = json.dumps(report.as_dict())
    assert CANARY not in written
    assert CANARY not in render(report)
    values = json.loads(written)
    assert values["memory"]["total"] == report.memory.total
    assert values["forget"]["records"] == 4


def test_rendering(report: PreflightReport) -> None:
    text = render(report)
    for part in (
        "4 records (question/answer)",
        "chat template, end token scored",
        "weights",
        "10 steps of 32 forget pairs, 3 beliefs each",
        "columns not read: note",
    ):
        assert part in text
    assert "\x1b" not in text


def test_groups_are_counted(report: PreflightReport) -> None:
    assert report.data.n_groups_forget == 2
    assert not any("no groups" in note for note in report.notes)


def test_warnings(request_files: dict[str, Path], tmp_path: Path) -> None:
    forget = write(
        tmp_path / "f.jsonl",
        [
            {"prompt": "same", "answer": "kept and forgotten"},
            {"prompt": "ü", "answer": "üü" + "a" * 400},
        ],
    )
    retain = write(tmp_path / "r.jsonl", [{"prompt": "same", "answer": "kept and forgotten"}])
    report = check_request(
        model=request_files["model"], forget=forget, retain=retain, measure=False
    )
    text = "\n".join(report.warnings)
    assert "to be forgotten and kept: the terms cancel: f:1" in text
    assert "forget: 1 of 2 answers are cut" in text  # the context has 256 tokens
    assert "forget: 2 answer tokens" in text and "unknown to the tokenizer" in text
    alone = check_request(model=request_files["model"], forget=forget, measure=False)
    assert any(w.startswith("no retain data") for w in alone.warnings)
    assert alone.retain is None


def test_too_little_memory_is_a_warning(
    request_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from unbelief.preflight import memory

    monkeypatch.setattr(memory, "available_memory", lambda: (1000, "cpu"))
    report = check_request(**request_files, measure=False)  # type: ignore[arg-type]
    assert any("1 kB are free on cpu: use --lora" in w for w in report.warnings)


def test_prompts_that_do_not_fit_are_named_together(
    request_files: dict[str, Path], tmp_path: Path
) -> None:
    rows = [{"prompt": "p" * n, "answer": "a"} for n in (5, 300, 5, 400)]
    path = write(tmp_path / "f.jsonl", rows)
    with pytest.raises(DataError, match="2 bad rows") as caught:
        check_request(model=request_files["model"], forget=path, measure=False)
    assert caught.value.where == f"{path}:2"
    assert f"{path}:4: the prompt alone" in caught.value.message


def test_a_document_of_one_token(request_files: dict[str, Path], tmp_path: Path) -> None:
    path = write(tmp_path / "f.jsonl", [{"text": "a"}])
    with pytest.raises(DataError, match="nothing before it"):
        check_request(model=request_files["model"], forget=path, end_token=False, measure=False)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"model": "./no-such-model"}, "no such model folder"),
        ({"model": "no-org/no-model"}, "hub cannot be reached"),
        ({"forget": "no-such.jsonl"}, "no such file"),
        ({"lora": "rank=3"}, "unknown key"),
        ({"dtype": "int8"}, "unknown dtype"),
        ({"retain": None, "objective": GA() + NLL()}, "needs retain data"),
    ],
)
def test_wrong_requests(change: dict[str, Any], found: str, request_files: dict[str, Path]) -> None:
    with pytest.raises(RequestError, match=found) as caught:
        check_request(**{**request_files, **change})
    assert caught.value.remedy


def test_damaged_models(request_files: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in request_files["model"].iterdir():
        os.symlink(file, folder / file.name)
    weights = folder / "model.safetensors"
    stored = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(stored[: len(stored) // 2])
    with pytest.raises(RequestError, match="damaged or cut off"):
        check_request(model=folder, forget=request_files["forget"], measure=False)
    (folder / "config.json").unlink()
    with pytest.raises(RequestError, match=r"no config\.json"):
        check_request(model=folder, forget=request_files["forget"], measure=False)


def test_adapter_folder(request_files: dict[str, Path], tmp_path: Path) -> None:
    from unbelief.models.adapters import LoraOptions, add_lora

    add_lora(tiny_model(), LoraOptions(r=2)).save_pretrained(str(tmp_path / "adapter"))
    config = tmp_path / "adapter" / "adapter_config.json"
    values = json.loads(config.read_text())
    values["base_model_name_or_path"] = str(request_files["model"])
    config.write_text(json.dumps(values))
    report = check_request(
        model=tmp_path / "adapter", forget=request_files["forget"], measure=False
    )
    assert report.model.base_source == str(request_files["model"])
    assert report.model.architecture == "LlamaForCausalLM"


def test_tokenizer_without_a_template(request_files: dict[str, Path], tmp_path: Path) -> None:
    tiny_model().save_pretrained(str(tmp_path / "m"))
    tiny_tokenizer(chat=False).save_pretrained(str(tmp_path / "m"))
    report = check_request(model=tmp_path / "m", forget=request_files["forget"], measure=False)
    assert report.encoding["template"] == "plain"
    assert "plain text" in render(report)
