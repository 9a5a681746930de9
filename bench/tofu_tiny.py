"""Every method on a small model that knows TOFU: does it stop reciting, and what does it keep?

    python bench/tofu_tiny.py --model MODEL --retrained RETRAINED --data TOFU_FOLDER

`TOFU_FOLDER` holds forget10.jsonl and retain90.jsonl. Every method runs through `Unlearner.run`, in
order, is written to a folder, loaded again with plain Transformers and measured: extraction
strength (teacher-forced) and exact recitations (greedy), on all forget rows and on a seeded sample
of retain rows. Interrupted, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

# Learning rate, epochs and options per method; searched by hand on this model, once.
SETTINGS: dict[str, dict[str, Any]] = {
    "ga": {"lr": 2e-4, "epochs": 2},
    "graddiff": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.06},
    "graddiff-control": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.048},
    "npo": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.01},
    "simnpo": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.5},
    "wga": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.15},
    "tnpo": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.15},
    "wtnpo": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.15},
    "rmu": {"lr": 5e-4, "epochs": 6, "layer": 2, "steering": 5.0, "forget_weight": 0.4},
    "bs-t": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.06},
    "bs-s": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.1},
    "bs-s-on-policy": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.1},
    # One try each, with weights taken from the method above that is most alike.
    "bs-tw": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.01},
    "npow": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.01},
    "gru": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.06},
    "satimp": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.5},
    "pdu": {"lr": 1e-3, "epochs": 6, "retain_weight": 50.0},
    "po": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.25},
    "idk-dpo": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.01},
    "altpo": {"lr": 1e-3, "epochs": 6, "forget_weight": 0.01},
    "undial": {"lr": 2e-4, "epochs": 6},
    "ce-u": {"lr": 2e-4, "epochs": 2},
    "flat": {"lr": 2e-4, "epochs": 2},
    "transplant": {
        "lr": 1e-3, "epochs": 6, "neighbours": 6, "samples": 6, "per_step": 1,
        "forget_weight": 0.25, "max_new_tokens": 80,
    },
}  # fmt: skip


def measure(source: str, data: Path, sample: int) -> dict[str, Any]:
    """Extraction strength and exact recitations of a model folder."""
    import numpy as np

    from unbelief.data import read_records
    from unbelief.measure import Plan, measure_examples
    from unbelief.models.load import load_model
    from unbelief.models.runner import AnswerModel
    from unbelief.scores.metrics.exact_recitation import ExactRecitation
    from unbelief.scores.metrics.extraction_strength import ExtractionStrength
    from unbelief.tokens import Encoder

    loaded = load_model(source, device="cpu")
    retain = read_records(data / "retain90.jsonl")
    chosen = np.random.default_rng(0).choice(len(retain), sample, replace=False)
    sets = {
        "forget": read_records(data / "forget10.jsonl"),
        "retain": [retain[i] for i in sorted(chosen)],
    }
    strength, recitation = ExtractionStrength(), ExactRecitation()
    needs = (*strength.needs, *recitation.needs)
    plan = Plan(sets, dict.fromkeys(sets, needs))
    examples = measure_examples(AnswerModel(loaded.model), Encoder(loaded.tokenizer), plan)
    out: dict[str, Any] = {}
    for name, its in examples.items():
        strengths = [strength.score(example).value for example in its]
        out[f"{name}_es"] = statistics.mean(s for s in strengths if s is not None)
        out[f"{name}_recited"] = int(sum(recitation.score(example).value or 0 for example in its))
        out[f"{name}_n"] = len(its)
    return out


def unlearn(method: str, args: argparse.Namespace, folder: Path) -> float:
    """Run one method; returns the seconds it took."""
    from unbelief.objectives import build_objective
    from unbelief.train.options import TrainOptions
    from unbelief.unlearner import Unlearner

    setting = dict(SETTINGS[method])
    lr, epochs = setting.pop("lr"), setting.pop("epochs")
    objective = build_objective(method, setting)
    started = time.monotonic()
    Unlearner(
        model=args.model,
        forget=args.data / "forget10.jsonl",
        retain=None if objective.retain is None else args.data / "retain90.jsonl",
        objective=objective,
        train=TrainOptions(learning_rate=lr, num_train_epochs=epochs, seed=args.seed),
        method=method,
        device="cpu",
    ).run(folder, overwrite=True)
    return time.monotonic() - started


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Markdown table of all results so far."""
    lines = [
        "| model | options | forget ES | forget recited | retain ES | retain recited | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, r in rows.items():
        options = ", ".join(f"{k} {v:g}" for k, v in SETTINGS.get(name, {}).items())
        seconds = f"{r['seconds']:.0f}" if "seconds" in r else ""
        forget = f"{r['forget_es']:.3f} | {r['forget_recited']} / {r['forget_n']}"
        retain = f"{r['retain_es']:.3f} | {r['retain_recited']} / {r['retain_n']}"
        lines.append(f"| {name} | {options} | {forget} | {retain} | {seconds} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--retrained", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sample", type=int, default=400, help="retain rows to measure")
    parser.add_argument("--methods", nargs="*", default=list(SETTINGS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/tofu-tiny"))
    parser.add_argument("--keep", action="store_true", help="keep the unlearned models")
    parser.add_argument("--output", type=Path, default=Path("bench/results/tofu_tiny.json"))
    args = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    done = args.output.parent / (args.output.stem + ".partial.json")
    rows: dict[str, Any] = json.loads(done.read_text()) if done.exists() else {}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.work.mkdir(parents=True, exist_ok=True)
    for name, source in (("original", args.model), ("retrained", args.retrained)):
        rows.setdefault(name, measure(source, args.data, args.sample))
    for method in args.methods:
        if method in rows:
            continue
        folder = args.work / method
        seconds = unlearn(method, args, folder)
        rows[method] = {**measure(str(folder), args.data, args.sample), "seconds": seconds}
        done.write_text(json.dumps(rows, indent=1))
        print(f"{method}: {rows[method]}", flush=True)
        if not args.keep:
            shutil.rmtree(folder)
            shutil.rmtree(folder.with_name(folder.name + ".run"), ignore_errors=True)
    args.output.write_text(json.dumps({"settings": SETTINGS, "models": rows}, indent=1) + "\n")
    done.unlink(missing_ok=True)
    print(table(rows))


if __name__ == "__main__":
    main()
