"""Time and memory of one training step: answer head against plain Transformers and full logits.

    python bench/answer_head.py            # prints a table, writes bench/results/answer_head.json

Every contender runs in a process of its own (peak memory is the process's own), on the same batch
of 8 forget and 8 retain rows of TOFU-like lengths, at vocabulary 128,256, hidden 512, 8 layers.
Those whose times are compared take turns, so that a machine that slows down slows all of them, and
ratios of time are taken within rounds.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROWS, K, WEIGHT = 8, 20, 0.2
CONTENDERS = (
    "floor",
    "bs-t",
    "hf-finetune",
    "bs-t-full-logits",
    "ga",
    "npo",
    "tnpo",
    "kl-lora",
    "bs-s-1",
    "bs-s-16",
)
TIMED = ("floor", "bs-t", "hf-finetune", "bs-t-full-logits")
RATIOS = (
    ("bs-t", "hf-finetune", "time"),
    ("bs-t-full-logits", "bs-t", "time"),
    ("bs-t", "floor", "time"),
    ("bs-t", "bs-t-full-logits", "memory"),
    ("npo", "ga", "memory"),
    ("tnpo", "ga", "memory"),
    ("kl-lora", "ga", "memory"),
    ("bs-s-16", "bs-s-1", "memory"),
)


def make_model(args: argparse.Namespace) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=args.vocabulary,
        hidden_size=args.hidden,
        intermediate_size=args.intermediate,
        num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 64,
        num_key_value_heads=max(1, args.hidden // 256),
        tie_word_embeddings=True,
        use_cache=False,
    )
    return LlamaForCausalLM(config).to(dtype=getattr(torch, args.dtype), device=args.device)


def make_rows(vocabulary: int) -> list[Any]:
    """Rows with TOFU's lengths under Llama-3's tokenizer and chat template, half of them forget.

    Prompts have about 65 tokens (system prompt and template included), answers about 45.
    """
    import numpy as np

    from unbelief.tokens import Row

    random = np.random.default_rng(0)
    rows = []
    for i in range(2 * ROWS):
        prompt = tuple(random.integers(0, vocabulary, random.integers(55, 76)).tolist())
        length = int(np.clip(random.normal(45, 18), 12, 90))
        answer = tuple(random.integers(0, vocabulary, length).tolist())
        rows.append(Row(f"{i}", "target" if i < ROWS else "retain", prompt, answer))
    return rows


def padded(rows: list[Any], device: str) -> tuple[Any, Any, Any]:
    """What an ordinary collator makes: ids, attention mask, labels with -100."""
    import torch

    from unbelief.tokens import collate

    batch = collate(rows, 0).to(device)
    labels = torch.full_like(batch.input_ids, -100)
    labels[batch.row, batch.position] = batch.target
    return batch.input_ids, batch.attention_mask, labels


def ours(model: Any, rows: list[Any], objective: Any, original: Any = None) -> Callable[[], Any]:
    from unbelief.models.runner import AnswerModel
    from unbelief.objectives.base import Counts
    from unbelief.train.reference import ReferenceCache
    from unbelief.train.step import StepLoss, Tally

    answer_model = AnswerModel(model, head_path="head")
    cache = ReferenceCache(objective.forget.needs)
    cache.fill(answer_model, [r for r in rows if r.kind == "target"])
    counts = {k: Counts(ROWS, float(ROWS), 1.0) for k in ("target", "retain")}
    wrapped = None if original is None else original(answer_model)
    loss = StepLoss(answer_model, objective, cache, wrapped, Tally())
    return as_trained(answer_model, loss, [rows], counts)


def as_trained(answer_model: Any, loss: Any, micro_batches: Any, counts: Any) -> Callable[[], Any]:
    """Forward and backward of one optimiser step, as `UnlearnTrainer.training_step` does it."""

    def step() -> None:
        with answer_model.direct(True):
            for part in (p for m in micro_batches for p in answer_model.parts(m)):
                call = functools.partial(loss, part, counts)
                answer_model.within(answer_model.model, call).backward()

    return step


def streamed(model: Any, rows: list[Any], samples: int) -> Callable[[], Any]:
    """A BS-S step: targets, `samples` beliefs each and retain rows, in forwards of 16 rows."""
    import numpy as np

    from unbelief.models.runner import AnswerModel
    from unbelief.objectives import BSS, NLL
    from unbelief.tokens import Encoded
    from unbelief.train.plan import Plan
    from unbelief.train.reference import ReferenceCache
    from unbelief.train.step import StepLoss, Tally

    random = np.random.default_rng(1)
    forget, retain = (
        [Encoded(r.key, r.prompt_ids, r.answer_ids) for r in part]
        for part in (rows[:ROWS], rows[ROWS:])
    )
    # Beliefs are shuffled answers: as long as the targets, so that only their number matters.
    beliefs = {
        e.record_id: [tuple(random.permutation(e.answer_ids).tolist()) for _ in range(samples)]
        for e in forget
    }
    plan = Plan(
        forget=forget,
        retain=retain,
        pairs_per_step=ROWS,
        epochs=1,
        belief_weight=0.5,
        rows_per_forward=2 * ROWS,
    )
    step = plan.step(0, beliefs)
    objective = BSS(samples=samples) + NLL()
    answer_model = AnswerModel(model, head_path="head")
    loss = StepLoss(answer_model, objective, ReferenceCache(objective.forget.needs), None, Tally())

    return as_trained(answer_model, loss, step.micro_batches, step.counts)


def hf_finetune(model: Any, rows: list[Any], device: str) -> Callable[[], Any]:
    ids, mask, labels = padded(rows, device)
    return lambda: model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()


def full_logits(model: Any, rows: list[Any], device: str) -> Callable[[], Any]:
    """BS-T plus retain loss the obvious way: full-vocabulary soft targets."""
    import torch
    import torch.nn.functional as F

    ids, mask, labels = padded(rows, device)

    def step() -> None:
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        target, scored = labels[:, 1:].clamp_min(0), (labels[:, 1:] != -100).float()
        f_logits, r_logits = logits[:ROWS], logits[ROWS:]
        kept = torch.full_like(f_logits, -float("inf"))
        top = f_logits.topk(K, dim=-1)
        belief = kept.scatter(-1, top.indices, top.values).softmax(-1).detach()
        one_hot = F.one_hot(target[:ROWS], f_logits.shape[-1]).float()
        soft = (1 - WEIGHT) * one_hot + WEIGHT * belief
        per_token = (soft * f_logits.log_softmax(-1)).sum(-1)
        forget = ((per_token * scored[:ROWS]).sum(-1) / scored[:ROWS].sum(-1)).mean()
        nll = F.cross_entropy(r_logits.transpose(1, 2), target[ROWS:], reduction="none")
        retain = ((nll * scored[ROWS:]).sum(-1) / scored[ROWS:].sum(-1)).mean()
        (forget + retain).backward()

    return step


def floor(model: Any, rows: list[Any], device: str) -> Callable[[], Any]:
    """The least a step can cost.

    Backbone forward and backward on as many tokens as are real, without any padding, plus the
    three matrix products of the output embedding on the scored tokens.
    """
    import torch

    total, scored = sum(r.length for r in rows), sum(r.n_scored for r in rows)
    width = round(total / len(rows))
    ids = torch.randint(0, model.config.vocab_size, (len(rows), width), device=device)
    weight = model.lm_head.weight

    def step() -> None:
        out = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        out.backward(torch.full_like(out, 1e-3))
        hidden = out.detach().reshape(-1, out.shape[-1])[:scored]
        with torch.no_grad():
            grad = torch.zeros_like(weight)
            for part in hidden.split(256):
                z = torch.empty(len(part), len(weight), dtype=weight.dtype, device=device)
                for start in range(0, len(weight), 1024):  # in pieces a CPU's cache holds
                    block = slice(start, start + 1024)
                    torch.mm(part, weight[block].t(), out=z[:, block])
                z @ weight
                grad.addmm_(z.t(), part)
            weight.grad.add_(grad)

    return step


def make_step(name: str, args: argparse.Namespace) -> tuple[Callable[[], Any], Any]:
    from unbelief.objectives import BST, GA, KL, NLL, NPO, TNPO

    model = make_model(args)
    rows = make_rows(args.vocabulary)
    plain = {
        "hf-finetune": lambda: hf_finetune(model, rows, args.device),
        "bs-t-full-logits": lambda: full_logits(model, rows, args.device),
        "floor": lambda: floor(model, rows, args.device),
    }
    if name in plain:
        return plain[name](), model
    if name.startswith("bs-s-"):
        return streamed(model, rows, int(name.rpartition("-")[2])), model
    if name in ("kl-lora", "ga-lora"):
        from unbelief.models.adapters import LoraOptions, add_lora
        from unbelief.train.reference import AdapterOff

        model = add_lora(model, LoraOptions(r=16))
        retain = KL() if name == "kl-lora" else NLL()
        return ours(model, rows, GA() + retain, AdapterOff), model
    forget = {"bs-t": BST(weight=WEIGHT, top_k=K), "ga": GA(), "npo": NPO(), "tnpo": TNPO()}[name]
    return ours(model, rows, forget + NLL()), model


def resident() -> int:
    """Bytes of this process in memory right now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class PeakWatch:
    """Peak resident memory while a block runs.

    Linux forgets the peak it has recorded when it is asked to; where it may not be asked, a thread
    looks every 2 ms, which slows what it watches by some per cent.
    """

    def __enter__(self) -> PeakWatch:
        self.peak, self._stop, self._thread = resident(), False, None
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop:
            self.peak = max(self.peak, resident())
            time.sleep(0.002)

    def __exit__(self, *_: object) -> None:
        self._stop = True
        if self._thread is None:
            lines = Path("/proc/self/status").read_text().splitlines()
            peak = next(line for line in lines if line.startswith("VmHWM:"))
            self.peak = 1024 * int(peak.split()[1])
        else:
            self._thread.join()


def worker(name: str, args: argparse.Namespace) -> None:
    """Prepare one contender, then do a step for every line on stdin."""
    import torch

    torch.set_num_threads(args.threads)
    cuda = args.device.startswith("cuda")
    step, model = make_step(name, args)
    base = torch.cuda.memory_allocated() if cuda else resident()
    if name == "floor":
        model.lm_head.weight.grad = torch.zeros_like(model.lm_head.weight)
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "stop":
            break
        if name != "floor":
            model.zero_grad(set_to_none=True)
        if cuda:
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        with PeakWatch() as watch:
            start = time.perf_counter()
            step()
            if cuda:
                torch.cuda.synchronize()
            seconds = time.perf_counter() - start
        peak = torch.cuda.max_memory_allocated() if cuda else watch.peak
        print(json.dumps({"seconds": seconds, "above": peak - base}), flush=True)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Contenders whose times are compared take turns; the others go one after the other."""
    timed = [name for name in args.contenders if name in TIMED]
    alone = [[name] for name in args.contenders if name not in TIMED]
    found: dict[str, Any] = {}
    for together in [timed, *alone] if timed else alone:
        found |= take_turns(together, args)
    return {name: found[name] for name in args.contenders}


def take_turns(names: list[str], args: argparse.Namespace) -> dict[str, Any]:
    """Rounds of one step of each, so that neighbours in time are compared.

    The processes are alive at once and wait for their turn; memory is each one's own.
    """
    settings = ("vocabulary", "hidden", "intermediate", "layers", "dtype", "device", "threads")
    flags = [f"--{k}={getattr(args, k)}" for k in settings]
    processes = {name: _start(name, flags) for name in names}
    found: dict[str, dict[str, list[float]]] = {n: {"seconds": [], "above": []} for n in names}
    for turn in range(args.rounds + 1):
        for name, process in processes.items():
            result = _step(process)
            if turn:  # the first step warms up
                for key, value in result.items():
                    found[name][key].append(value)
        print(f"{', '.join(names)}: round {turn} of {args.rounds}", file=sys.stderr, flush=True)
    for process in processes.values():
        process.communicate("stop\n")
    return {
        name: {
            "seconds": statistics.median(v["seconds"]),
            "seconds_of_rounds": v["seconds"],
            "peak_bytes_above_model": max(v["above"]),
        }
        for name, v in found.items()
    }


def _start(name: str, flags: list[str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__, "--worker", name, *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    _read(process)
    return process


def _step(process: subprocess.Popen[str]) -> dict[str, float]:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    found: dict[str, float] = json.loads(_read(process))
    return found


def _read(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"a contender died: {process.args}")
    return line


def ratios(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Ratios of times (median over rounds of the ratio within a round) and of peak memory."""
    return {
        f"{a} / {b}, {key}": _paired(found[a], found[b])
        if key == "time"
        else _peaks(found[a], found[b])
        for a, b, key in RATIOS
        if a in found and b in found
    }


def _paired(a: dict[str, Any], b: dict[str, Any]) -> dict[str, float]:
    pairs = zip(a["seconds_of_rounds"], b["seconds_of_rounds"], strict=True)
    of_rounds = [x / y for x, y in pairs]
    return {
        "ratio": statistics.median(of_rounds),
        "lowest": min(of_rounds),
        "highest": max(of_rounds),
    }


def _peaks(a: dict[str, Any], b: dict[str, Any]) -> dict[str, float]:
    return {"ratio": a["peak_bytes_above_model"] / b["peak_bytes_above_model"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocabulary", type=int, default=128_256)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--intermediate", type=int, default=1376)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5, help="counted steps of every contender")
    parser.add_argument("--contenders", nargs="*", default=list(CONTENDERS))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--output", default="bench/results/answer_head.json")
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args)
        return
    found = measure(args)
    report = {
        "settings": {k: v for k, v in vars(args).items() if k not in ("worker", "output")},
        "contenders": found,
        "ratios": ratios(found),
    }
    print(f"{'contender':<20}{'median s':>10}{'min s':>10}{'MB above model':>17}")
    for name, v in found.items():
        print(
            f"{name:<20}{v['seconds']:>10.3f}{min(v['seconds_of_rounds']):>10.3f}"
            f"{v['peak_bytes_above_model'] / 1e6:>17.0f}"
        )
    for name, value in report["ratios"].items():
        print(f"{name:<40}" + "".join(f"{k:>9} {x:.3f}" for k, x in value.items()))
    Path(args.output).parent.mkdir(parents=True, exist_ok=True)
    Path(args.output).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
