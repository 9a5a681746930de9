"""ROUGE between what the model says and the true answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal

from unbelief.measure.tables import Example, Need, PromptKind, TextNeed
from unbelief.scores.base import Metric, Unscorable, texts_of
from unbelief.scores.texts import GREEDY_TOKENS, greedy_need

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

_MUSE_STOPS = ("\n\n", "\nQuestion", "Question:")


@dataclass(frozen=True)
class _Rouge(Metric):
    unit: ClassVar[str] = "share"
    source: ClassVar[str] = "Lin 2004; rouge-score"
    kind: ClassVar[Literal["rouge1", "rougeL"]]
    part: ClassVar[Literal["recall", "fmeasure"]]

    stemmer: bool = True
    max_new_tokens: int = GREEDY_TOKENS
    prompt: PromptKind = "own"
    truth_words: int = 0
    stop: Literal["none", "muse"] = "none"
    unreadable: Literal["unscored", "zero"] = "unscored"

    def __post_init__(self) -> None:
        if self.truth_words < 0:
            raise ValueError(f"truth_words must be 0 (all) or more, not {self.truth_words}")

    @property
    def needs(self) -> tuple[Need, ...]:
        return (self._need,)

    @property
    def _need(self) -> TextNeed:
        return greedy_need(self.max_new_tokens, self.prompt)

    def value(self, example: Example) -> float:
        truth = first_words(example.record.answer, self.truth_words)
        if self.unreadable == "unscored" and not re.search(r"[a-z0-9]", truth.lower()):
            raise Unscorable("the answer has no word ROUGE can read (it reads a-z and digits)")
        scorer = _scorer(self.stemmer)
        found = [
            getattr(scorer.score(truth, self._cut(said.text))[self.kind], self.part)
            for said in texts_of(example, self._need)
        ]
        return float(sum(found) / len(found))

    def _cut(self, text: str) -> str:
        for stop in _MUSE_STOPS if self.stop == "muse" else ():
            text = text.split(stop)[0]
        return text


def first_words(text: str, n: int) -> str:
    """The first n whitespace-separated words of a text; all of it for n = 0."""
    return text if n == 0 else " ".join(text.split()[:n])


@cache
def _scorer(stemmer: bool) -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rougeL"], tokenizer=_Words(stemmer))


class _Words:
    """What `RougeScorer` does by default, with each word's stem found once.

    Finding stems is more than half the time of a ROUGE score, and answers repeat their words.
    """

    def __init__(self, stemmer: bool):
        self._stemmer = _Stemmer() if stemmer else None

    def tokenize(self, text: str) -> list[str]:
        """Words of a text, as `rouge_score` cuts it."""
        from rouge_score.tokenize import tokenize

        words: list[str] = tokenize(text, self._stemmer)
        return words


class _Stemmer:
    """The Porter stemmer of `rouge_score`."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self.stem = lru_cache(maxsize=1 << 16)(PorterStemmer().stem)


@dataclass(frozen=True)
class RougeLRecall(_Rouge):
    """Longest common subsequence of words of the greedy and the true answer, over the true words.

    In [0, 1]. Order counts, gaps do not. High when the words of the question are repeated; low for
    a free rephrasing that states the same fact (see `key_fact_recall`). An empty answer has 0.
    ROUGE reads only a-z and digits: an answer in another script is unscored.

    Attributes:
        stemmer: Compare Porter stems; MUSE does not.
        max_new_tokens: Longest greedy answer.
        prompt: Which question.
        truth_words: Compare with the first words of the truth only; 0 for all of it. MUSE cuts by
            the model's tokens instead, which belongs to the making of its records.
        stop: `muse` ends the model's text where it starts a new question.
        unreadable: What an answer in another script has, `unscored` or, as in other projects, 0.

    Source: Lin 2004, as computed by the rouge-score package.
    """

    name: ClassVar[str] = "rougeL_recall"
    summary: ClassVar[str] = "ROUGE-L recall of the greedy answer"
    kind: ClassVar[Literal["rouge1", "rougeL"]] = "rougeL"
    part: ClassVar[Literal["recall", "fmeasure"]] = "recall"


@dataclass(frozen=True)
class RougeLF1(_Rouge):
    """ROUGE-L F1: harmonic mean of the longest common subsequence over true and over said words.

    In [0, 1]. Range, traps and options as for `rougeL_recall`; long answers lower it.

    Attributes:
        stemmer: Compare Porter stems; MUSE does not.
        max_new_tokens: Longest greedy answer.
        prompt: Which question.
        truth_words: Compare with the first words of the truth only; 0 for all of it.
        stop: `muse` ends the model's text where it starts a new question.
        unreadable: See `rougeL_recall`.
    """

    name: ClassVar[str] = "rougeL_f1"
    summary: ClassVar[str] = "ROUGE-L F1 of the greedy answer"
    kind: ClassVar[Literal["rouge1", "rougeL"]] = "rougeL"
    part: ClassVar[Literal["recall", "fmeasure"]] = "fmeasure"


@dataclass(frozen=True)
class Rouge1Recall(_Rouge):
    """Share of the true answer's words that the greedy answer contains, each as often as it does.

    In [0, 1]. Order does not count. Traps and options as for `rougeL_recall`.

    Attributes:
        stemmer: Compare Porter stems; MUSE does not.
        max_new_tokens: Longest greedy answer.
        prompt: Which question.
        truth_words: Compare with the first words of the truth only; 0 for all of it.
        stop: `muse` ends the model's text where it starts a new question.
        unreadable: See `rougeL_recall`.
    """

    name: ClassVar[str] = "rouge1_recall"
    summary: ClassVar[str] = "ROUGE-1 recall of the greedy answer"
    kind: ClassVar[Literal["rouge1", "rougeL"]] = "rouge1"
    part: ClassVar[Literal["recall", "fmeasure"]] = "recall"


@dataclass(frozen=True)
class Rouge1F1(_Rouge):
    """ROUGE-1 F1: harmonic mean of the shares of true words said and of said words that are true.

    In [0, 1]. Order does not count. Traps and options as for `rougeL_recall`.

    Attributes:
        stemmer: Compare Porter stems; MUSE does not.
        max_new_tokens: Longest greedy answer.
        prompt: Which question.
        truth_words: Compare with the first words of the truth only; 0 for all of it.
        stop: `muse` ends the model's text where it starts a new question.
        unreadable: See `rougeL_recall`.
    """

    name: ClassVar[str] = "rouge1_f1"
    summary: ClassVar[str] = "ROUGE-1 F1 of the greedy answer"
    kind: ClassVar[Literal["rouge1", "rougeL"]] = "rouge1"
    part: ClassVar[Literal["recall", "fmeasure"]] = "fmeasure"
