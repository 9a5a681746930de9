"""How much faster is asking for beliefs here than prompt by prompt with `model.generate`?

Ways of asking the same model for N answers to the same prompts, in one run and on the same
threads, at temperature 1 with nothing cut off and the same limit of new tokens:

* `one by one`: `model.generate` per prompt and sample (batch of one);
* `generate, n`: `model.generate` per prompt with `num_return_sequences=N`;
* `no drafts`: `sample_answers`, where nothing is known about the answers;
* `ours`: the same with the records' own answers as drafts, as a bank of beliefs is made.

The first two draw other answers than ours, of other lengths, so times per generated token are
given too. Rounds alternate them, so that a busy machine does not favour one of them; every
round asks `generate` another, evenly spaced part of the prompts, and its time is scaled to all of
them. The ratio is one by one / ours, the median over rounds, with the smallest and the largest.
CPU time counts this process alone; read it where other work shares the machine.

    python bench/sampling.py --model MODEL --data forget.jsonl --baseline-prompts 30
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from unbelief.beliefs import Decoding, sample_answers
from unbelief.data import read_records
from unbelief.tokens.encode import Encoder
from unbelief.types import Record

Prompt = tuple[int, ...]


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        arguments.model, dtype=getattr(torch, arguments.dtype)
    ).to(arguments.device)
    model.eval()
    encoder = Encoder(transformers.AutoTokenizer.from_pretrained(arguments.model))
    records = questions(arguments.data, arguments.prompts)
    prompts = [encoder.encode_prompt(record.prompt) for record in records]
    drafts = [encoder.encode(record).answer_ids for record in records]
    decoding = Decoding(max_new_tokens=arguments.max_new_tokens, seed=arguments.seed)
    n = arguments.samples
    sample_answers(model, encoder, prompts[:2], decoding=decoding, samples=n)  # warm up

    def ours(asked: list[Prompt], drafts: list[Prompt] | None) -> int:
        answers = sample_answers(
            model,
            encoder,
            asked,
            decoding=decoding,
            samples=n,
            drafts=drafts,
            batch_size=arguments.batch_size or "auto",
        )
        return sum(len(s.token_ids) for its in answers for s in its)

    ways: dict[str, Callable[[list[Prompt]], int]] = {
        "ours": lambda p: ours(p, drafts),
        "no drafts": lambda p: ours(p, None),
        "generate, n": lambda p: by_generate(model, encoder, p, decoding, calls=1, each=n),
        "one by one": lambda p: by_generate(model, encoder, p, decoding, calls=n, each=1),
    }
    rounds = [
        {
            name: timed(
                ask,
                prompts if name in ("ours", "no drafts") else part(prompts, r, arguments),
                len(prompts),
            )
            for name, ask in ways.items()
        }
        for r in range(arguments.rounds)
    ]
    result = {"settings": settings(arguments, len(prompts)), "rounds": rounds}
    result["rows"] = [summary(name, rounds) for name in ways]
    if arguments.output:
        Path(arguments.output).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    show(result)


def by_generate(
    model: Any,
    encoder: Encoder,
    prompts: Sequence[Prompt],
    decoding: Decoding,
    *,
    calls: int,
    each: int,
) -> int:
    """Ask with plain `generate`; return the number of tokens that belong to answers."""
    torch.manual_seed(decoding.seed)
    total = 0
    for prompt in prompts:
        ids = torch.tensor([prompt], device=model.device)
        for _ in range(calls):
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=decoding.max_new_tokens,
                num_return_sequences=each,
                eos_token_id=encoder.end_id,
                pad_token_id=encoder.pad_id,
            )
            for row in out[:, len(prompt) :].tolist():
                total += row.index(encoder.end_id) + 1 if encoder.end_id in row else len(row)
    return total


def timed(ask: Callable[[list[Prompt]], int], asked: list[Prompt], of: int) -> dict[str, float]:
    """Run once; seconds are scaled from the prompts asked to all of them."""
    _wait()
    start, cpu = time.perf_counter(), time.process_time()
    tokens = ask(asked)
    _wait()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {
        "prompts_asked": len(asked),
        "seconds_measured": seconds,
        "seconds": seconds * of / len(asked),
        "cpu_seconds": cpu * of / len(asked),
        "tokens": tokens,
        "cpu_ms_per_token": 1000 * cpu / tokens,
    }


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def summary(name: str, rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Median seconds of one way of asking, and its times over ours, round by round."""
    row: dict[str, Any] = {"name": name, "prompts_asked": rounds[0][name]["prompts_asked"]}
    for field in ("seconds", "cpu_seconds", "cpu_ms_per_token"):
        values = [r[name][field] for r in rounds]
        ratios = [r[name][field] / r["ours"][field] for r in rounds]
        row[field] = statistics.median(values)
        row[f"{field}_ratio"] = statistics.median(ratios)
        row[f"{field}_ratio_range"] = [min(ratios), max(ratios)]
    return row


def questions(path: str, limit: int | None) -> list[Record]:
    return list(read_records(path))[:limit]


def part(prompts: list[Prompt], this: int, arguments: argparse.Namespace) -> list[Prompt]:
    """The prompts that `generate` is asked in one round: evenly spaced, others in each round."""
    count = min(arguments.baseline_prompts or len(prompts), len(prompts))
    offset = this * len(prompts) // (count * arguments.rounds)
    return [prompts[(offset + i * len(prompts) // count) % len(prompts)] for i in range(count)]


def settings(arguments: argparse.Namespace, prompts: int) -> dict[str, Any]:
    device = arguments.device
    if device.startswith("cuda"):
        device = torch.cuda.get_device_name()
    return {
        "model": Path(arguments.model).name,
        "data": Path(arguments.data).name,
        "prompts": prompts,
        "samples": arguments.samples,
        "max_new_tokens": arguments.max_new_tokens,
        "seed": arguments.seed,
        "dtype": arguments.dtype,
        "device": device,
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def show(result: dict[str, Any]) -> None:
    print(json.dumps(result["settings"]))
    heads = ("asked", "wall s", "ratio", "CPU s", "ratio", "CPU ms/token", "ratio (range)")
    print(f"{'':<13}" + "".join(f"{head:>13}" for head in heads))
    for row in result["rows"]:
        low, high = row["cpu_ms_per_token_ratio_range"]
        print(
            f"{row['name']:<13}{row['prompts_asked']:>13}{row['seconds']:>13.1f}"
            f"{row['seconds_ratio']:>13.1f}{row['cpu_seconds']:>13.1f}"
            f"{row['cpu_seconds_ratio']:>13.1f}{row['cpu_ms_per_token']:>13.3f}"
            f"{row['cpu_ms_per_token_ratio']:>7.1f} ({low:.1f}-{high:.1f})"
        )
    print("seconds are scaled from the prompts asked to all of them; medians over rounds")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", required=True, help="model folder or hub id")
    parser.add_argument("--data", required=True, help="JSONL with `question` or `prompt`")
    parser.add_argument("--prompts", type=int, help="only the first so many")
    parser.add_argument("--baseline-prompts", type=int, help="ask `generate` so many a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--batch-size", type=int, help="answers at once; automatic when not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", help="write the result as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
