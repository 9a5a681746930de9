from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from tests.report.made import attacks, audit, models, share
from unbelief.errors import RequestError
from unbelief.hashing import weights_sha256
from unbelief.report.card_summary import (
    BEGIN,
    END,
    WITHHELD,
    audit_summary,
    put_into_card,
    with_section,
)


@pytest.fixture
def model(tmp_path):
    """A folder with weights and a card, and an audit of it."""
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"w": torch.ones(2)}, folder / "model.safetensors")
    (folder / "README.md").write_text("---\ntags:\n- x\n---\n\n# A model\n", encoding="utf-8")
    own = models(True)[0].model_copy(update={"weights_sha256": weights_sha256(folder)})
    return folder, audit(5, models=(own, *models(True)[1:]))


def test_summary_has_the_numbers_and_the_limits():
    text = audit_summary(audit(20))
    for part in ("| verdict | fail |", "approximate unlearning, tested as listed", "b4e1" * 16,
                 "12 % (9 to 15), n = 400", "43 % (38 to 48)", "unscored: no holdout records",
                 "not a legal certificate", "hidden states of this architecture"):  # fmt: skip
        assert part in text


def test_summary_names_no_record_person_model_path_or_request():
    document = audit(60)
    text = audit_summary(document).casefold()
    for model in document.models:
        assert model.source.casefold() not in text
    assert document.request_id.casefold() not in text
    for prompt in document.prompts:
        said = [r.text for r in prompt.responses]
        for private in (prompt.id, prompt.group, prompt.prompt, prompt.truth, *prompt.facts, *said):
            assert private.casefold() not in text
        for name in prompt.group.split():
            assert name.casefold() not in text


@pytest.mark.parametrize(
    "leak",
    [
        "cannot read /home/ada/models/out/model.safetensors",
        "cannot read ~/secret/file",
        r"cannot read C:\Users\ada\x",
        "no module in ../private/attack.py",
        "see file:///etc/x",
        "the model did not stop at Ilvara Quellmark",
        "asked about Quellmark only",
        "forget-0000 has no answer",
        "said The Salt Ledger",
    ],
)
def test_a_reason_that_names_something_is_withheld(leak):
    missed = attacks(True)[3].model_copy(update={"because": leak})
    document = audit(8, attacks=(missed,))
    text = audit_summary(document)
    assert "Linear probe of layer 12" in text
    row = next(ln for ln in text.splitlines() if "Linear probe" in ln)
    assert WITHHELD.strip("()") in row and leak not in text


def test_common_words_and_numbers_of_records_withhold_nothing():
    row = audit(1).prompts[0].model_copy(update={"facts": ("recall", "400", "of"), "group": "12"})
    assert WITHHELD not in audit_summary(audit(1, prompts=(row,)))


def test_a_model_with_a_plain_name_withholds_nothing():
    named = tuple(m.model_copy(update={"source": m.role}) for m in models(True))
    assert WITHHELD not in audit_summary(audit(3, models=named))


def test_options_of_attacks_are_numbers_only():
    text = audit_summary(audit(3))
    assert r"steps = 50, learning\_rate = 1e-05" in text and "forget, 5 %" not in text


def test_reasons_of_scores_are_checked_too():
    row = audit(1).measures[0]
    reasons = {"Ilvara Quellmark has no paraphrase": 3}
    number = share(None, n_unscored=3, reasons=reasons)
    document = audit(8, measures=(row.model_copy(update={"models": {"unlearned": number}}),))
    assert "Quellmark" not in audit_summary(document)


def test_a_section_is_added_once_and_then_replaced():
    card = "# A model\n\nWords.\n"
    once = with_section(card, "one")
    assert once == f"# A model\n\nWords.\n\n{BEGIN}\n\none\n\n{END}\n"
    after = once + "\nMore words.\n"
    assert with_section(after, "two") == after.replace("one", "two")
    assert with_section("", "one") == f"{BEGIN}\n\none\n\n{END}\n"


@pytest.mark.parametrize("card", [BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}{END}" * 2])
def test_marks_that_are_not_one_pair_are_refused(card):
    with pytest.raises(RequestError, match="not one pair"):
        with_section(card, "x")


def test_card_gets_the_summary_and_keeps_its_own_words(model):
    folder, document = model
    card = put_into_card(document, folder)
    text = card.read_text(encoding="utf-8")
    assert (
        text.startswith("---\ntags:\n- x\n---\n\n# A model\n") and audit_summary(document) in text
    )
    put_into_card(document, folder)
    assert card.read_text(encoding="utf-8") == text
    assert [p.name for p in folder.iterdir() if "partial" in p.name] == []


def test_an_audit_of_other_weights_is_refused_and_nothing_is_written(model):
    folder, document = model
    before = (folder / "README.md").read_bytes()
    save_file({"w": torch.zeros(2)}, folder / "model.safetensors")
    with pytest.raises(RequestError, match="the audit is of other weights"):
        put_into_card(document, folder)
    assert (folder / "README.md").read_bytes() == before


def test_a_folder_without_card_and_a_card_that_is_no_text_are_refused(model, tmp_path):
    folder, document = model
    with pytest.raises(RequestError, match="no model card"):
        put_into_card(document, tmp_path)
    (folder / "README.md").write_bytes(b"\xff\xfe")
    with pytest.raises(RequestError, match="not UTF-8"):
        put_into_card(document, folder)


def test_the_document_survives_a_round_trip():
    document = audit(3)
    assert type(document).model_validate(json.loads(document.model_dump_json())) == document
