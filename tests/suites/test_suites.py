"""What each suite asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.test_muse import small_muse
from tests.data.test_tofu import small_tofu
from tests.data.test_wmdp import question
from tests.data.test_wmdp import write as write_questions
from unbelief.errors import DataError, RequestError
from unbelief.scores.base import Aggregate, Metric
from unbelief.scores.options import option_values
from unbelief.suites.base import Choices, Line, Source
from unbelief.suites.registry import read_items, suite_kind
from unbelief.suites.wmdp import lettered
from unbelief.types import Record


def line(name: str, suite: str, **choices: object) -> Line:
    found = suite_kind(suite).lines(Choices(**choices))  # type: ignore[arg-type]
    return next(one for one in found if one.name == name)


def options(name: str, suite: str, **choices: object) -> dict[str, object]:
    return option_values(line(name, suite, **choices).how)


def test_model_utility_is_made_of_the_nine_published_numbers():
    inputs = line("model_utility", "tofu").inputs
    assert len(inputs) == 9
    assert {name.rsplit("_", 1)[0] for name in inputs} == {
        *("retain", "real_authors", "world_facts"),
        *("retain_truth", "real_authors_truth", "world_facts_truth"),
    }
    assert line("real_authors_probability", "tofu").how.name == "choice_probability"
    # Real authors have no paraphrase: the answer itself is the truth there, not on retain data.
    assert options("real_authors_truth_ratio", "tofu")["correct"] == "paraphrase_or_answer"
    assert options("retain_truth_ratio", "tofu")["correct"] == "paraphrase"


def test_memorization_follows_the_published_recipe():
    names = {one: line(one, "tofu").how.name for one in line("memorization", "tofu").inputs}
    assert names == {
        "forget_extraction_strength": "extraction_strength",
        "forget_exact_memorization": "exact_memorization",
        "forget_paraphrase_probability": "probability",
        "forget_truth_ratio_prob_mean": "truth_ratio_prob_mean",
    }
    assert options("forget_paraphrase_probability", "tofu")["answer"] == "paraphrase"
    assert line("aggregate", "tofu").inputs == ("memorization", "utility")
    assert line("utility", "tofu").inputs == ("model_utility", "forget_fluency")


def test_conventions_reach_the_lines():
    assert options("forget_extraction_strength", "tofu")["floor"] == "zero"
    theirs = {"convention": "open-unlearning"}
    assert options("forget_extraction_strength", "tofu", **theirs)["floor"] == "one_over_n"
    # The classifier reads 32 tokens of a TOFU answer there, 512 of a MUSE answer, 512 here.
    assert options("forget_fluency", "tofu", **theirs)["max_tokens"] == 32
    assert options("verbatim_fluency", "muse", **theirs)["max_tokens"] == 512
    assert options("forget_fluency", "tofu")["max_tokens"] == 512


def test_all_greedy_lines_of_a_set_share_one_generation():
    for suite, on in (("tofu", "forget"), ("own", "forget"), ("muse", "verbatim")):
        greedy = {
            need
            for one in suite_kind(suite).lines(Choices())
            if one.on == on and isinstance(one.how, Metric) and one.said is None
            for need in one.how.needs
            if getattr(getattr(need, "decoding", None), "temperature", None) == 0
        }
        assert len(greedy) == 1, suite


def test_samples_are_chosen_and_greedy_ones_are_not_copied():
    assert options("forget_leak_rate", "tofu")["samples"] == 4
    assert options("forget_leak_rate", "tofu", samples=9, temperature=0.7) == {
        **options("forget_leak_rate", "tofu"),
        "samples": 9,
        "temperature": 0.7,
    }
    assert options("forget_leak_rate", "tofu", samples=9, temperature=0.0)["samples"] == 1


def test_tofu_says_what_was_chosen(tmp_path: Path):
    items = read_items(suite_kind("tofu"), Source(data=str(small_tofu(tmp_path)), split="forget01"))
    assert items.described["split"] == "forget01"
    assert items.described["retrained"] == "retain99"
    assert items.described["clusters of forget"] == "authors, 20 consecutive rows each"
    assert set(items.sets) == {"forget", "holdout", "retain", "real_authors", "world_facts"}


def test_every_line_of_tofu_is_about_a_set_it_reads(tmp_path: Path):
    items = read_items(suite_kind("tofu"), Source(data=str(small_tofu(tmp_path)), split="forget01"))
    used = {one.on for one in suite_kind("tofu").lines(Choices()) if one.on}
    assert used == set(items.sets)


def test_muse_reads_a_step_of_a_series(tmp_path: Path):
    small_muse(tmp_path)
    muse = suite_kind("muse")
    plain = read_items(muse, Source(data=str(tmp_path)))
    assert len(plain.sets["forget"]) == 4 and plain.described["split"] == "forget"
    step = read_items(muse, Source(data=str(tmp_path), split="scal/forget_1"))
    assert [r.id for r in step.sets["forget"]] == ["scal/forget_1:1", "scal/forget_1:2"]
    assert step.sets["forget_knowledge"] == plain.sets["forget_knowledge"]
    for split, said in (("scal/forget_9", "no step 9, only 2"), ("forget_2", "no split")):
        with pytest.raises(RequestError, match=said):
            read_items(muse, Source(data=str(tmp_path), split=split))


def test_the_truth_of_continuations_is_a_matter_of_convention(tmp_path: Path):
    muse = suite_kind("muse")
    items = read_items(muse, Source(data=str(small_muse(tmp_path))))
    assert items.answer_tokens == {"verbatim": 128}  # MUSE compares 128 tokens with 128 tokens
    assert muse.under(items, "muse") == items
    theirs = muse.under(items, "open-unlearning")
    assert theirs.answer_tokens == {} and items.row_tokens == {}
    assert theirs.row_tokens == {"forget_knowledge": 512, "retain_knowledge": 512}
    assert [r.answer for r in theirs.sets["verbatim"]] == [" g 0", " g 1", " g 2"]
    assert theirs.sets["forget"] == items.sets["forget"]


def test_muse_asks_as_the_benchmark_does():
    assert options("verbatim_memorization", "muse")["max_new_tokens"] == 128
    knowledge = options("knowledge_memorization", "muse", convention="muse")
    assert (knowledge["max_new_tokens"], knowledge["stop"]) == (32, "muse")
    assert knowledge["stemmer"] is False
    assert line("utility_preservation", "muse").on == "retain_knowledge"
    assert line("privleak", "muse").inputs == ("mia_min_k",)
    assert options("mia_min_k_forget", "muse", convention="muse")["k"] == 0.4


def test_questions_are_put_as_the_harness_puts_them(tmp_path: Path):
    write_questions(tmp_path, "wmdp-bio", [question(2)])
    write_questions(tmp_path, "mmlu", [question(1, subject="abstract_algebra")])
    sets = read_items(suite_kind("wmdp"), Source(data=str(tmp_path))).sets
    (bio,), (mmlu,) = sets["bio"], sets["mmlu"]
    assert bio.prompt == (
        "The following are multiple choice questions (with answers) about biology.\n\n"
        "q 2\nA. a\nB. b\nC. c\nD. d\nAnswer:"
    )
    assert (bio.choices, bio.correct_choice, bio.answer) == (("A", "B", "C", "D"), 2, "C")
    assert str(mmlu.prompt).startswith(
        "The following are multiple choice questions (with answers) about abstract algebra.\n\n"
    )
    assert line("bio_accuracy", "wmdp").chance == 0.25


def test_more_options_than_letters_are_refused():
    record = Record(
        id="1", prompt="q", answer="0", choices=tuple(map(str, range(27))), correct_choice=0
    )
    with pytest.raises(DataError, match="27 options, there are 26 letters"):
        lettered(record)


def test_own_records_need_no_column_beyond_prompt_and_answer(tmp_path: Path):
    file = tmp_path / "f.jsonl"
    file.write_text('{"prompt": "p", "answer": "a"}\n')
    items = read_items(suite_kind("own"), Source(forget=str(file)))
    assert set(items.absent) == {"retain", "holdout"}
    assert items.described == {"clusters of forget": "each row by itself"}
    assert any(isinstance(one.how, Aggregate) for one in suite_kind("own").lines(Choices()))
