"""Conventions as a table: a changed line changes published comparisons and needs a reason."""

from __future__ import annotations

import pytest

from unbelief.errors import RequestError
from unbelief.scores.conventions import CONVENTIONS, aggregate, label, metric
from unbelief.scores.options import option_values
from unbelief.scores.registry import aggregates, metrics

# The options in which conventions differ. One line per metric; `-` where the convention defines
# nothing of its own and unbelief's options hold.
TABLE = """
metric                  option        unbelief     open-unlearning  tofu        muse   uwc
extraction_strength     floor         zero         one_over_n       -           -      zero
extraction_strength     tokens        without_end  drop_last        -           -      without_end
exact_memorization      tokens        without_end  drop_last        -           -      without_end
probability             tokens        all          all              all         -      -
perplexity              tokens        all          -                -           -      without_end
loss                    tokens        all          all              -           -      -
truth_ratio             mean          geometric    geometric        arithmetic  -      geometric
truth_ratio             epsilon       0.0          1e-10            0.0         -      0.0
truth_ratio             tokens        all          all              all         -      all
truth_ratio_closer_to_1 mean          geometric    geometric        arithmetic  -      -
truth_ratio_closer_to_1 epsilon       0.0          1e-10            0.0         -      -
truth_ratio_true_better mean          geometric    geometric        arithmetic  -      -
truth_ratio_true_better epsilon       0.0          1e-10            0.0         -      -
truth_ratio_prob_mean   mean          geometric    geometric        -           -      -
truth_ratio_prob_mean   epsilon       0.0          1e-10            -           -      -
choice_probability      normalised    True         True             False       -      -
choice_probability      epsilon       0.0          1e-10            0.0         -      -
rougeL_recall           stemmer       True         True             True        False  -
rougeL_recall           max_new_tokens 200         200              200         128    -
rougeL_f1               stemmer       True         True             -           False  -
rougeL_f1               max_new_tokens 200         200              -           128    -
rougeL_recall           unreadable    unscored     zero             unscored    zero   -
rougeL_f1               unreadable    unscored     zero             -           zero   -
rouge1_recall           unreadable    unscored     zero             -           -      -
fluency                 max_tokens    512          32               -           -      -
fluency                 empty         unscored     classified       -           -      -
mia_min_k               k             0.4          0.4              -           0.4    -
mia_min_k               tokens        without_end  drop_last        -           without_end -
mia_min_k_plus_plus     tokens        without_end  drop_last        -           -      -
mia_min_k_plus_plus     least_variance 1e-06       1e-06            -           -      -
mia_loss                tokens        all          all              -           without_end -
mia_zlib                tokens        all          all              -           without_end -
mia_zlib                text          record       tokens           -           record -
mia_reference           tokens        all          all              -           -      -
mia_gradient_norm       order         2.0          2.0              -           -      -
mia_gradient_norm       drop_last     False        True             -           -      -
forget_quality          scale         p            p                p           -      ln
privleak                epsilon       0.0          1e-10            -           0.0    -
relative_difference     epsilon       0.0          1e-10            -           -      -
"""
HEAD, *ROWS = [line.split() for line in TABLE.strip().splitlines()]


def built(name: str, convention: str):
    return (metric if name in metrics() else aggregate)(name, convention)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}.{row[1]}")
def test_the_table(row: list[str]) -> None:
    name, option, *cells = row
    for convention, cell in zip(HEAD[2:], cells, strict=True):
        one = built(name, convention)
        if cell == "-":
            assert name not in CONVENTIONS[convention]
            assert label(one, convention) == "unbelief"
        else:
            assert str(option_values(one)[option]) == cell
            assert label(one, convention) == convention


def test_the_table_names_every_option_in_which_a_convention_differs() -> None:
    pinned = {(row[0], row[1]) for row in ROWS}
    for convention, table in CONVENTIONS.items():
        for name, options in table.items():
            ours = option_values(built(name, "unbelief"))
            assert options, f"{convention}: {name} has an empty entry"
            for option, value in options.items():
                if ours[option] != value:
                    assert (name, option) in pinned, f"{convention}: {name}.{option}"


def test_conventions_name_what_exists() -> None:
    known = metrics().keys() | aggregates().keys()
    for convention, table in CONVENTIONS.items():
        assert table.keys() <= known, convention
    assert list(CONVENTIONS) == HEAD[2:]


def test_labels_say_what_was_changed() -> None:
    one = metric("extraction_strength", "open-unlearning", {"floor": "zero"})
    assert label(one, "open-unlearning") == "open-unlearning, floor=zero"
    assert label(metric("extraction_strength", options={"prompt": "paraphrased"})) == (
        "unbelief, prompt=paraphrased"
    )
    assert label(metric("key_fact_recall", "open-unlearning"), "open-unlearning") == "unbelief"


@pytest.mark.parametrize(
    ("name", "convention", "options", "message"),
    [
        ("probabilty", "unbelief", {}, "did you mean 'probability'"),
        ("probability", "open_unlearning", {}, "did you mean 'open-unlearning'"),
        ("probability", "unbelief", {"token": "all"}, "did you mean 'tokens'"),
        ("probability", "unbelief", {"tokens": "none"}, "choose one of: all"),
        ("mia_min_k", "unbelief", {"k": "many"}, "is not a number"),
        ("mia_min_k", "unbelief", {"k": "inf"}, "is not a number"),
        ("mia_min_k", "unbelief", {"k": 0}, "k must be above 0"),
        ("mia_min_k_plus_plus", "unbelief", {"least_variance": 0}, "above 0"),
        ("mia_gradient_norm", "unbelief", {"order": 0.5}, "1 or more"),
        ("truth_ratio", "unbelief", {"epsilon": -1}, "0 or more"),
        ("choice_probability", "unbelief", {"epsilon": -1}, "0 or more"),
        ("rougeL_f1", "unbelief", {"stemmer": "maybe"}, "is not true or false"),
        ("rougeL_f1", "unbelief", {"max_new_tokens": "1.5"}, "is not a whole number"),
        ("rougeL_f1", "unbelief", {"truth_words": -1}, "0 \\(all\\) or more"),
        ("repetition", "unbelief", {"n": 0}, "n must be 1 or more"),
        ("collapse_rate", "unbelief", {"compression": 0}, "compression must be above 0"),
    ],
)
def test_what_cannot_be_asked_for(name, convention, options, message) -> None:
    with pytest.raises(RequestError, match=message):
        metric(name, convention, options)


def test_aggregates_check_their_options_too() -> None:
    with pytest.raises(RequestError, match="unknown aggregate"):
        aggregate("probability")
    with pytest.raises(RequestError, match="between 0 and 1"):
        aggregate("mia_tpr_at_fpr", options={"fpr": 1})


def test_text_from_a_command_line_is_parsed() -> None:
    one = metric("rougeL_f1", options={"stemmer": "false", "max_new_tokens": "32"})
    assert (one.stemmer, one.max_new_tokens) == (False, 32)
    assert metric("mia_min_k", options={"k": "0.2"}).k == 0.2
