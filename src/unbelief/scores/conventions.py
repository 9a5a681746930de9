"""Conventions: the options under which a project of the field computes a metric.

A convention never changes a definition silently: it is a table of options, the results name it,
and what it says nothing about is `unbelief`'s own and is named so. Two definitions that no option
turns into one another have two names.

`unbelief`
    The definitions as in the papers, exact: explicit answer spans instead of "drop the last
    token", no floor, no ε. The end token counts in probabilities, losses and truth ratios (saying
    the answer and then going on is another answer, and every published number has it), and does
    not count in extraction strength, exact memorization and Min-K (it is no content).
`open-unlearning`
    What locuslab/open-unlearning computes: extraction strength has a floor of 1/n, the last token
    is dropped whatever it is, 1e-10 is added to denominators.
`tofu`
    The text of the TOFU paper: arithmetic means over the false answers, multiple choice by plain
    probabilities. Its code differs from the text in both (geometric means for forget quality,
    length-normalised choices); ask for those by option.
`muse`
    ROUGE without stemming on 128 new tokens (its knowledge questions: `max_new_tokens=32` and
    `stop=muse`), Min-40 %. Membership scores are of the text's own tokens: that code adds no end
    token.
`uwc`
    The control and G-effect papers (Wang et al. 2025): no floor, no end token, ln p. Their own
    extraction strength generates from word prefixes of 40 or 50 items and counts template tokens;
    that is not reproduced.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from unbelief.scores.base import Aggregate, Metric
from unbelief.scores.options import build, option_values, unknown
from unbelief.scores.registry import aggregates, metrics

Options = Mapping[str, object]
DEFAULT = "unbelief"

_OU_RATIO: Options = {"mean": "geometric", "tokens": "all", "epsilon": 1e-10}
_OU_ROUGE: Options = {
    "stemmer": True,
    "max_new_tokens": 200,
    "stop": "none",
    "unreadable": "zero",
}
_OU: dict[str, Options] = {
    "probability": {"tokens": "all"},
    "loss": {"tokens": "all"},
    "choice_probability": {"normalised": True, "tokens": "all", "epsilon": 1e-10},
    "truth_ratio": _OU_RATIO,
    "truth_ratio_closer_to_1": _OU_RATIO,
    "truth_ratio_true_better": _OU_RATIO,
    "truth_ratio_prob_mean": _OU_RATIO,
    "extraction_strength": {"floor": "one_over_n", "tokens": "drop_last"},
    "exact_memorization": {"tokens": "drop_last"},
    "rouge1_recall": _OU_ROUGE,
    "rougeL_recall": _OU_ROUGE,
    "rougeL_f1": _OU_ROUGE,
    "mia_loss": {"tokens": "all"},
    "mia_zlib": {"tokens": "all", "text": "tokens"},
    "mia_reference": {"tokens": "all"},
    "mia_min_k": {"k": 0.4, "tokens": "drop_last"},
    "mia_min_k_plus_plus": {"k": 0.4, "tokens": "drop_last", "least_variance": 1e-6},
    "mia_gradient_norm": {"order": 2.0, "drop_last": True},
    "fluency": {"max_tokens": 32, "max_new_tokens": 200, "empty": "classified"},
    "forget_quality": {"scale": "p"},
    "privleak": {"epsilon": 1e-10},
    "relative_difference": {"epsilon": 1e-10},
}
_TOFU_RATIO: Options = {"mean": "arithmetic", "tokens": "all", "epsilon": 0.0}
_TOFU: dict[str, Options] = {
    "probability": {"tokens": "all"},
    "choice_probability": {"normalised": False, "tokens": "all", "epsilon": 0.0},
    "truth_ratio": _TOFU_RATIO,
    "truth_ratio_closer_to_1": _TOFU_RATIO,
    "truth_ratio_true_better": _TOFU_RATIO,
    "rougeL_recall": {"stemmer": True, "max_new_tokens": 200, "stop": "none"},
    "forget_quality": {"scale": "p"},
}
_MUSE_ROUGE: Options = {"stemmer": False, "max_new_tokens": 128, "unreadable": "zero"}
_MUSE: dict[str, Options] = {
    "rougeL_f1": _MUSE_ROUGE,
    "rougeL_recall": _MUSE_ROUGE,
    "mia_loss": {"tokens": "without_end"},
    "mia_zlib": {"tokens": "without_end"},
    "mia_min_k": {"k": 0.4, "tokens": "without_end"},
    "privleak": {"epsilon": 0.0},
}
_UWC: dict[str, Options] = {
    "perplexity": {"tokens": "without_end"},
    "extraction_strength": {"floor": "zero", "tokens": "without_end"},
    "exact_memorization": {"tokens": "without_end"},
    "truth_ratio": {"mean": "geometric", "epsilon": 0.0},
    "forget_quality": {"scale": "ln"},
}

CONVENTIONS: Mapping[str, Mapping[str, Options]] = MappingProxyType(
    {DEFAULT: {}, "open-unlearning": _OU, "tofu": _TOFU, "muse": _MUSE, "uwc": _UWC}
)
"""Per convention and name of a metric or aggregate, its options."""


def metric(name: str, convention: str = DEFAULT, options: Options | None = None) -> Metric:
    """A metric under a convention, with options of one's own on top.

    Raises:
        RequestError: Unknown name, convention or option, or a value that cannot be.
    """
    return build(_lookup(name, metrics(), "metric"), _options(name, convention, options))


def aggregate(name: str, convention: str = DEFAULT, options: Options | None = None) -> Aggregate:
    """An aggregate under a convention, with options of one's own on top.

    Raises:
        RequestError: As for `metric`.
    """
    return build(_lookup(name, aggregates(), "aggregate"), _options(name, convention, options))


def label(one: Metric | Aggregate, convention: str = DEFAULT) -> str:
    """What results say about the options: the convention in force and what differs from it.

    `open-unlearning` for a metric the convention defines, `unbelief` for one it does not, and
    `open-unlearning, floor=zero` where an option was changed.
    """
    _lookup(convention, CONVENTIONS, "convention")
    in_force = convention if one.name in CONVENTIONS[convention] else DEFAULT
    expected = option_values(build(type(one), CONVENTIONS[in_force].get(one.name, {})))
    changed = {k: v for k, v in option_values(one).items() if v != expected[k]}
    return ", ".join([in_force, *(f"{k}={v}" for k, v in changed.items())])


def _options(name: str, convention: str, options: Options | None) -> dict[str, object]:
    table = _lookup(convention, CONVENTIONS, "convention")
    return {**table.get(name, {}), **(options or {})}


def _lookup(name: str, known: Mapping[str, Any], what: str) -> Any:
    if name not in known:
        raise unknown(name, known, what)
    return known[name]
