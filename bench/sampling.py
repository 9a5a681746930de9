"""How much faster is asking for beliefs here than prompt by prompt with `model.generate`?

Three ways of asking the same model for N answers to the same prompts, in one run and on the same
threads, at temperature 1 with nothing cut off and the same limit of new tokens:

* `one by one`: `model.generate` per prompt and sample (batch of one);
* `generate, n`: `model.generate` per prompt with `num_return_sequences=N`;
* `ours`: `sample_answers`.

The first two draw other answers than ours, of other lengths, so times per generated token are
given too. They may be run on a part of the prompts (`--baseline-prompts`, evenly spaced); their
time is then scaled to all of them, and the table says so.

    python bench/sampling.py --model MODEL --data forget.jsonl --samples 3 --output sampling.json
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from unbelief.beliefs import Decoding, sample_answers
from unbelief.tokens.encode import Encoder

Prompt = tuple[int, ...]


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        arguments.model, dtype=getattr(torch, arguments.dtype)
    ).to(arguments.device)
    model.eval()
    encoder = Encoder(transformers.AutoTokenizer.from_pretrained(arguments.model))
    prompts = [encoder.encode_prompt(q) for q in questions(arguments.data, arguments.prompts)]
    decoding = Decoding(max_new_tokens=arguments.max_new_tokens, seed=arguments.seed)
    part = evenly(prompts, arguments.baseline_prompts)
    n = arguments.samples
    sample_answers(model, encoder, prompts[:2], decoding=decoding, samples=n)  # warm up

    def ours() -> int:
        answers = sample_answers(
            model,
            encoder,
            prompts,
            decoding=decoding,
            samples=n,
            batch_size=arguments.batch_size or "auto",
        )
        return sum(len(s.token_ids) for its in answers for s in its)

    rows = [
        timed("ours", ours, len(prompts), len(prompts)),
        timed(
            "generate, n",
            lambda: by_generate(model, encoder, part, decoding, calls=1, each=n),
            len(part),
            len(prompts),
        ),
        timed(
            "one by one",
            lambda: by_generate(model, encoder, part, decoding, calls=n, each=1),
            len(part),
            len(prompts),
        ),
    ]
    for row in rows:
        row["ratio"] = row["seconds"] / rows[0]["seconds"]
        row["ratio_per_token"] = row["ms_per_token"] / rows[0]["ms_per_token"]
    result = {"settings": settings(arguments, len(prompts)), "rows": rows}
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


def timed(name: str, ask: Callable[[], int], asked: int, prompts: int) -> dict[str, Any]:
    """Run once; seconds are scaled to all prompts where only a part was asked."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    tokens = ask()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return {
        "name": name,
        "prompts_asked": asked,
        "seconds_measured": seconds,
        "seconds": seconds * prompts / asked,
        "tokens": tokens,
        "ms_per_token": 1000 * seconds / tokens,
    }


def questions(path: str, limit: int | None) -> list[str]:
    lines = Path(path).read_text(encoding="utf-8").splitlines()[:limit]
    rows = [json.loads(line) for line in lines]
    return [row.get("question", row.get("prompt")) for row in rows]


def evenly(prompts: list[Prompt], count: int | None) -> list[Prompt]:
    if count is None or count >= len(prompts):
        return prompts
    return [prompts[i * len(prompts) // count] for i in range(count)]


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
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def show(result: dict[str, Any]) -> None:
    print(json.dumps(result["settings"]))
    print(
        f"{'':<13}{'asked':>7}{'seconds':>10}{'tokens':>9}{'ms/token':>10}{'ratio':>8}{'/token':>8}"
    )
    for row in result["rows"]:
        print(
            f"{row['name']:<13}{row['prompts_asked']:>7}{row['seconds']:>10.1f}{row['tokens']:>9}"
            f"{row['ms_per_token']:>10.3f}{row['ratio']:>8.1f}{row['ratio_per_token']:>8.1f}"
        )
    if any(row["prompts_asked"] < result["settings"]["prompts"] for row in result["rows"]):
        print("seconds are scaled to all prompts where fewer were asked")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", required=True, help="model folder or hub id")
    parser.add_argument("--data", required=True, help="JSONL with `question` or `prompt`")
    parser.add_argument("--prompts", type=int, help="only the first so many")
    parser.add_argument("--baseline-prompts", type=int, help="ask `generate` only so many")
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
