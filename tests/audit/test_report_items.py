"""Everything an honest report must hold is on the page, or named there as missing.

The list is that of what a report must contain to be useful and honest, item by item. Two audits: a
full one, where everything must be present, and a bare one, where what was not given must be named.
"""

from __future__ import annotations

import html
import re

import pytest

from tests.audit.made import save_data, save_model
from tests.judge.made import Rules, by_the_rules
from unbelief.audit.gates import read_rules
from unbelief.audit.request import AuditRequest
from unbelief.audit.run import audit

# (item, what is on the page of the full audit, what is on that of the bare one)
ITEMS = (
    # 1. One-screen verdict
    ("request", r"Request R-7", None),
    ("hashes in and out", r"Weights and method original [0-9a-f]{16}… → unlearned [0-9a-f]{16}…",
     r"Weights and method original [0-9a-f]{16}… → unlearned [0-9a-f]{16}…"),
    ("method", r"method not recorded", r"method not recorded"),
    ("gates", r"Gates, fixed before the audit .*key_fact_recall <= 0\.2", r"No gate was set"),
    ("outcome", r"Verdict: Fail", r"Verdict: No gates"),
    ("worst single result", r"Worst single result", r"Worst single result"),
    ("not covered", r"Not covered", r"Not covered"),
    # 2, 3. Claim and limits
    ("claim class", r"Claim: approximate, tested", r"Claim: approximate, tested"),
    ("limitation sentence", r"Approximate unlearning was run and tested as listed\. These tests "
     r"did not find the facts said, without attack, for more than [\d.]+% of the prompts \(95 % "
     r"upper bound\)\. They cannot show that no influence of the data remains",
     r"They cannot show that no influence of the data remains"),
    ("no certificate", r"not a legal certificate", r"not a legal certificate"),
    # 4. Scope
    ("size", r"forget records 4 of 4 groups", r"forget records 4 of 4 groups"),
    ("origin", r"origin of the forget records forget\.jsonl", r"origin of the forget records"),
    ("paraphrases", r"with a rephrased question 4 of 4", r"with a rephrased question 4 of 4"),
    ("translations", r"translations and aliases none were asked", r"translations and aliases none"),
    ("near-duplicates", r"near-duplicates in the retain data \d of 4 forget records",
     r"near-duplicates in the retain data not looked for"),
    ("out of scope", r"out of scope people and topics", r"out of scope people and topics"),
    # 5. Before, after, reference
    ("reference", r"Distance to retrained", r"No retrained model was given\. .*n/a"),
    # 6. Per item
    ("worst ten", r"The 4 records of which most is left, by id", r"of which most is left, by id"),
    ("item scores", r"Id Flag Attacks that bring it back Key fact recall Leak rate Extraction "
     r"strength Probability ROUGE-L recall Min-K", r"Key fact recall"),
    ("distribution", r"Scores of the unlearned model, record by record .*median", r"median"),
    # 7. Too much
    ("two-sided", r"probability >= 0\.5 \* retrained", r"how much is too much, and how little"),
    # 8. Utility
    ("retain set", r"Probability of retained answers", r"what else was lost is unknown"),
    ("neighbours and general tasks", r"general tasks, and people or topics near", r"general tasks"),
    ("gibberish", r"Answers that are repetition or empty", r"Answers that are repetition or empty"),
    ("over-refusal", r"Refusals of prompts that were to stay", r"no retain records were given"),
    # 9. Attacks
    ("relearning budget", r"Relearn.{0,200}learning_rate = 2e-05", r"not asked for: .*relearn"),
    ("relearning curve", r"Probability of the true answer while relearning", r"relearn"),
    ("quantisation", r"Quantize, bits=4", r"not asked for: .*quantise"),
    ("sampling", r"answers sampled per prompt 2 at temperature 1, with each of 2 seeds",
     r"answers sampled per prompt 1 at temperature 1"),
    ("mass of the secret", r"the probability of the fact over all its wordings",
     r"the probability of the fact over all its wordings"),
    ("adapter removal", r"attacks not run: Adapter off", r"not asked for: adapter-off"),
    ("probe", r"Probe", r"not asked for: .*probe"),
    ("attacks left out", r"attacks not asked for: few-shot", r"attacks not asked for: .*few-shot"),
    # 10. Uncertainty
    ("intervals and counts", r"clustered bootstrap 95 %", r"clustered bootstrap 95 %"),
    ("seeds", r"Attacks with a seed were made 2 times", r"Sampled answers come from one seed"),
    ("several tests", r"Bonferroni", r"one gate or none"),
    ("judge agreement", r"agreement with people was not measured", r"No judge was asked"),
    # 11. Residual copies
    *((place, re.escape(place), re.escape(place)) for place in (
        "raw data", "data-set caches", "earlier checkpoints and optimizer states", "adapters",
        "quantised and converted exports", "retrieval indices", "logs and experiment trackers",
        "sampled files", "judge providers", "backups", "downstream models", "the original model")),
    # 12. Reproduction
    ("command", r"command unbelief audit --made-up", r"command"),
    ("settings", r"request\.temperature 1\.0", r"request\.temperature 1\.0"),
    ("versions", r"environment\.torch 2\.", r"environment\.torch 2\."),
    ("commit", r"environment\.commit", r"environment\.commit"),
    ("hardware", r"hardware\.processors \d", r"hardware\.processors \d"),
    ("accelerator", r"hardware\.accelerator", r"hardware\.accelerator"),
    ("all seeds", r"seeds 0, 1", r"seeds 0"),
    ("wall time", r"wall time, seconds \d", r"wall time, seconds \d"),
    ("energy", r"energy not measured", r"energy not measured"),
    ("verify", r"verify python -c", r"verify python -c"),
    # 13. Sign-off
    ("validity", r"Valid for weights [0-9a-f]{64} in float32\. Void after any fine-tuning, "
     r"merging, quantisation or change", r"Void after any fine-tuning"),
    ("expiry", r"Audit again by 2027-06-30", r"Audit again by \(no day was set\)"),
    ("sign-off", r"Approved by, and date", r"Approved by, and date"),
)  # fmt: skip


def words(page: str) -> str:
    """What a reader sees, in one line."""
    body = re.sub(r"<(style|script)\b.*?</\1>", " ", page, flags=re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]+>", " ", body))
    return re.sub(r" ([.,;:])", r"\1", " ".join(text.split()))


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("items")
    for kind in ("original", "retrained", "rephrasing"):
        save_model(folder / kind, kind)
    forget, retain = save_data(folder)
    both = {
        "model": str(folder / "rephrasing"),
        "original": str(folder / "original"),
        "forget": str(forget),
        "device": "cpu",
    }
    full = AuditRequest(
        **both,
        retrained=str(folder / "retrained"),
        retain=str(retain),
        holdout=str(retain),
        attacks=("relearn:max_steps=1", "quantize:bits=4", "probe", "adapter-off"),
        gates=read_rules("key_fact_recall <= 0.2; probability >= 0.5 * retrained"),
        samples=2,
        seeds=2,
        request_id="R-7",
        audit_again_by="2027-06-30",
    )
    bare = AuditRequest(**both, attacks=(), samples=1)
    audit(full, folder / "full", judge=Rules(by_the_rules), command="unbelief audit --made-up")
    audit(bare, folder / "bare")
    return {
        name: words((folder / name / "report.html").read_text(encoding="utf-8"))
        for name in ("full", "bare")
    }


@pytest.mark.parametrize(("item", "present", "missing"), ITEMS, ids=[i[0] for i in ITEMS])
def test_every_item_is_on_the_page_or_named_as_missing(pages, item, present, missing):
    assert re.search(present, pages["full"]), f"{item} is not on the page"
    if missing is not None:
        assert re.search(missing, pages["bare"]), f"{item} is neither there nor named as missing"
