"""OpenUnlearning's evaluation, written down plainly: full logits, padded batches, loops.

Independent of the package on purpose (it imports nothing of it), as short as its definitions, and
the peer of `bench/evaluation.py`. Definitions: locuslab/open-unlearning, `src/evals/metrics` and
`src/data`, December 2025. Names in comments are that project's metric names.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

IGNORED = -100


# Rows


@dataclass(frozen=True)
class Template:
    """How questions are wrapped: through the chat template, or by texts where `tags` are given."""

    system: str | None = None
    date: str | None = None
    tags: tuple[str, str, str, str] | None = None  # around question and answer
    tagged_system: str = ""
    max_length: int = 512


@dataclass(frozen=True)
class Item:
    """One question with one answer: n tokens, and the question's own tokens."""

    ids: list[int]
    labels: list[int]
    prompt_ids: list[int]


def question_item(
    tokenizer: Any,
    template: Template,
    question: str,
    answer: str,
    examples: Sequence[tuple[str, str]] = (),
) -> Item:
    turns = [*examples, (question, answer)]
    if template.tags is None:
        chat = [{"role": "system", "content": template.system}] if template.system else []
        for asked, said in turns:
            chat.append({"role": "user", "content": asked})
            chat.append({"role": "assistant", "content": said})
        date = {"date_string": template.date} if template.date else {}
        ids = tokenizer.apply_chat_template(chat, return_dict=False, **date)
        prompt_ids = tokenizer.apply_chat_template(
            chat[:-1], add_generation_prompt=True, return_dict=False, **date
        )
    else:
        before, after, start, end = template.tags
        text = template.tagged_system
        for asked, said in turns[:-1]:
            text += before + asked + after + start + said + end
        text += before + question + after + start
        cut = {"truncation": True, "max_length": template.max_length}
        ids = tokenizer(text + answer, **cut)["input_ids"]
        prompt_ids = tokenizer(text, **cut)["input_ids"]
    ids = list(ids)
    if ids[-1] != tokenizer.eos_token_id:
        ids.append(tokenizer.eos_token_id)
    n = len(prompt_ids)
    return Item(ids, [IGNORED] * n + ids[n:], list(prompt_ids))


def completion_item(
    tokenizer: Any, prefix: str, text: str, *, max_length: int = 2048, insert_space: bool = False
) -> Item:
    prompt_ids = tokenizer(prefix)["input_ids"]
    ids = tokenizer(prefix + " " * insert_space + text)["input_ids"][: len(prompt_ids) + max_length]
    n = max(len(prompt_ids), 1)
    return Item(ids, [IGNORED] * n + ids[n:], prompt_ids)


def pad_id_of(tokenizer: Any) -> int:
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def batches(
    items: Sequence[Item], pad_id: int, device: Any, size: int = 32
) -> Iterator[dict[str, Tensor]]:
    """Right-padded; attention is masked wherever an id is the padding id."""
    for start in range(0, len(items), size):
        part = items[start : start + size]
        width = max(len(item.ids) for item in part)
        ids = torch.full((len(part), width), pad_id)
        labels = torch.full((len(part), width), IGNORED)
        for row, item in enumerate(part):
            ids[row, : len(item.ids)] = torch.tensor(item.ids)
            labels[row, : len(item.labels)] = torch.tensor(item.labels)
        batch = {"input_ids": ids, "labels": labels, "attention_mask": ids != pad_id}
        yield {name: tensor.to(device) for name, tensor in batch.items()}


# Numbers of one item


@torch.no_grad()
def average_losses(
    model: Any, items: Sequence[Item], pad_id: int, *, transposed: bool = False
) -> np.ndarray:
    """(N,) mean NLL of all labelled tokens, nats: `mia_loss`; exp(-.) is `probability`.

    That project copies the logits and hands `cross_entropy` a `transposed` view. In float32 on a
    CPU it then sums over the vocabulary one by one, which is off by 3e-4 nats at 128,256 tokens,
    and takes three times as long; rows are not, and are the truth of the tests.
    """
    found = []
    for batch in batches(items, pad_id, model.device):
        logits = model(**batch).logits[:, :-1]
        labels = batch["labels"][:, 1:]
        views = (
            (logits.contiguous().transpose(1, 2), labels)
            if transposed
            else (logits.flatten(0, 1), labels.flatten())
        )
        losses = torch.nn.functional.cross_entropy(*views, ignore_index=IGNORED, reduction="none")
        sums = losses.view_as(labels).sum(dim=1)
        found += (sums / (batch["labels"] != IGNORED).sum(dim=1)).tolist()
    return np.array(found)


def scored(batch: Mapping[str, Tensor], row: int) -> tuple[int, int]:
    """First and last labelled position of a row, the very last label left out as "eos"."""
    positions = (batch["labels"][row] != IGNORED).nonzero()[:-1, 0]
    return (int(positions[0]), int(positions[-1]) + 1) if len(positions) else (1, 1)


def vocabulary_logprobs(
    model: Any, items: Sequence[Item], pad_id: int, size: int = 32
) -> Iterator[tuple[Tensor, Tensor]]:
    """Per item (n - 1, V) log-probabilities and (n - 1,) labels."""
    for batch in batches(items, pad_id, model.device, size):
        logp = model(**batch).logits.log_softmax(dim=-1)[:, :-1]
        for row in range(len(logp)):
            first, end = scored(batch, row)
            yield logp[row, first - 1 : end - 1], batch["labels"][row, first:end]


@torch.no_grad()
def exact_memorization(model: Any, items: Sequence[Item], pad_id: int) -> np.ndarray:
    return np.array(
        [
            float((logp.argmax(dim=-1) == labels).sum() / len(labels)) if len(labels) else np.nan
            for logp, labels in vocabulary_logprobs(model, items, pad_id)
        ]
    )


def extraction_strength_of(predicted: Tensor, labels: Tensor) -> float:
    n = len(labels)
    if n == 0:
        return 0.0
    for k in range(n):
        if torch.equal(predicted[k:], labels[k:]):
            break
    return 1 - k / n  # k is n - 1 where nothing matches, too


@torch.no_grad()
def extraction_strength(model: Any, items: Sequence[Item], pad_id: int) -> np.ndarray:
    return np.array(
        [
            extraction_strength_of(logp.argmax(dim=-1), labels)
            for logp, labels in vocabulary_logprobs(model, items, pad_id)
        ]
    )


@torch.no_grad()
def min_k(model: Any, items: Sequence[Item], pad_id: int, k: float = 0.4) -> np.ndarray:
    found = []
    for logp, labels in vocabulary_logprobs(model, items, pad_id):
        each = logp.gather(1, labels[:, None])[:, 0].cpu().numpy()
        lowest = np.sort(each)[: max(1, int(len(each) * k))]
        found.append(-np.mean(lowest) if len(each) else 0.0)
    return np.array(found, dtype=np.float64)


@torch.no_grad()
def min_k_plus_plus(model: Any, items: Sequence[Item], pad_id: int, k: float = 0.4) -> np.ndarray:
    found = []
    for logp, labels in vocabulary_logprobs(model, items, pad_id):
        each, p = logp.gather(1, labels[:, None])[:, 0], logp.exp()
        mean = (p * logp).sum(dim=-1)
        variance = ((p * logp.square()).sum(dim=-1) - mean.square()).clamp(min=1e-6)
        scores = ((each - mean) / variance.sqrt()).cpu().numpy()
        lowest = np.sort(scores)[: max(1, int(len(scores) * k))]
        found.append(-np.mean(lowest) if len(scores) else 0.0)
    return np.array(found, dtype=np.float64)


def zlib_scores(tokenizer: Any, losses: np.ndarray, items: Sequence[Item]) -> np.ndarray:
    found = []
    for loss, item in zip(losses, items, strict=True):
        labelled = [label for label in item.labels if label != IGNORED]
        text = tokenizer.decode(labelled, skip_special_tokens=True)
        found.append(loss / len(zlib.compress(text.encode("utf-8"))))
    return np.array(found)


def gradient_norms(model: Any, items: Sequence[Item], pad_id: int, order: float = 2) -> np.ndarray:
    """(N,) mean over parameters of the p-norm of the gradient of the mean NLL, one row at a time.

    The last label is left out here too, unlike in `average_losses`.
    """
    found = []
    for logp, labels in vocabulary_logprobs(model, items, pad_id, 1):
        model.zero_grad()
        (-logp.gather(1, labels[:, None]).mean()).backward()
        norms = [p.grad.norm(p=order) for p in model.parameters() if p.grad is not None]
        found.append(float(torch.stack(norms).mean()))
    model.zero_grad()
    return np.array(found)


# Numbers of a set


def truth_ratios(correct: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """(N,) from mean losses (N,) or (N, C) of true and (N, W) of false answers."""
    correct = correct.reshape(len(correct), -1).mean(axis=1)
    return np.exp(-wrong.mean(axis=1)) / (np.exp(-correct) + 1e-10)


def closer_to_1_better(ratios: np.ndarray) -> float:
    return float(np.mean(np.minimum(ratios, 1 / (ratios + 1e-10))))


def true_better(ratios: np.ndarray) -> float:
    return float(np.mean(np.maximum(0, 1 - ratios)))


def prob_mean(correct: np.ndarray, wrong: np.ndarray) -> float:
    """From mean losses, like `truth_ratios`."""
    right, false = np.exp(-correct), np.exp(-wrong.mean(axis=1))
    return float(np.mean(right / (right + false + 1e-10)))


def probability_w_options(correct: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """(N,) from mean losses (N,) and (N, W)."""
    right = np.exp(-correct)
    return right / (right + np.exp(-wrong).sum(axis=1) + 1e-10)


def auc(forget: np.ndarray, holdout: np.ndarray) -> float:
    """Chance that a held-out item has the higher score; ties count half.

    What `roc_auc_score` gives for label 0 on forget and 1 on holdout: 1 when forget items are the
    more likely ones throughout.
    """
    higher = (holdout[:, None] > forget[None, :]).mean()
    return float(higher + (holdout[:, None] == forget[None, :]).mean() / 2)


def privleak(value: float, reference: float) -> float:
    return ((1 - value) - (1 - reference)) / ((1 - reference) + 1e-10) * 100


def rel_diff(value: float, reference: float) -> float:
    return (value - reference) / (reference + 1e-10) * 100


def forget_quality(ratios: np.ndarray, retrained: np.ndarray) -> float:
    return float(stats.ks_2samp(ratios, retrained).pvalue)


def model_utility(nine: Sequence[float]) -> float:
    return float(stats.hmean(nine))


# Texts


def stripped(tokenizer: Any, text: str) -> str:
    return text.split(tokenizer.decode([tokenizer.eos_token_id]))[0].strip()


@torch.no_grad()
def generations(
    tokenizer: Any, model: Any, items: Sequence[Item], max_new_tokens: int = 200
) -> list[str]:
    """Greedy answers of left-padded batches in the order of the items."""
    found: list[str] = []
    pad_id = pad_id_of(tokenizer)
    for start in range(0, len(items), 32):
        part = items[start : start + 32]
        width = max(len(item.prompt_ids) for item in part)
        ids = torch.tensor([[pad_id] * (width - len(i.prompt_ids)) + i.prompt_ids for i in part])
        ids = ids.to(model.device)
        output = model.generate(
            ids,
            attention_mask=(ids != pad_id).long(),
            do_sample=False,
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.eos_token_id,
        )
        texts = tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
        found += [stripped(tokenizer, text) for text in texts]
    return found


def true_texts(tokenizer: Any, items: Sequence[Item]) -> list[str]:
    """The answers as ROUGE sees them: the decoded conversation without the decoded prompt."""
    found = []
    for item in items:
        whole = tokenizer.decode(item.ids, skip_special_tokens=True)
        prompt = tokenizer.decode(item.prompt_ids, skip_special_tokens=True)
        found.append(whole.replace(prompt, "").strip())
    return found


def rouge(said: Sequence[str], true: Sequence[str]) -> dict[str, np.ndarray]:
    from rouge_score import rouge_scorer

    scorer = rouge_scorer.RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    scores = [scorer.score(t, s) for s, t in zip(said, true, strict=True)]
    return {
        "rouge1_recall": np.array([s["rouge1"].recall for s in scores]),
        "rougeL_recall": np.array([s["rougeL"].recall for s in scores]),
        "rougeL_f1": np.array([s["rougeL"].fmeasure for s in scores]),
    }
