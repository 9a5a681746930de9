"""Every score of models that fail in known ways: which failure fools which metric?

    python bench/failures.py --model MODEL --retrained RETRAINED --data TOFU_FOLDER

Beside the model that knows TOFU and the one that never saw the forget data stand a *collapsed* one
(gradient ascent alone, far too long), an *over-unlearned* one (gradient difference with a weight
that harms its neighbours) and a *balanced* one (gradient difference as in `tofu_tiny.py`).
Each is made and evaluated by the command line. Interrupted, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

UNBELIEF = [sys.executable, "-m", "unbelief.cli.main"]
RECIPES = {
    "collapsed": ("ga", {"learning_rate": 1e-3, "num_train_epochs": 3}, False),
    "over-unlearned": (
        "graddiff",
        {"learning_rate": 1e-3, "num_train_epochs": 3, "forget_weight": 0.5},
        True,
    ),
    "balanced": (
        "graddiff",
        {"learning_rate": 1e-3, "num_train_epochs": 6, "forget_weight": 0.06},
        True,
    ),
}


def call(*arguments: str | Path) -> None:
    """Run the command line; its failure is ours."""
    subprocess.run([*UNBELIEF, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def make(name: str, args: argparse.Namespace) -> Path:
    """Unlearn one model; one that is there is kept."""
    method, options, has_retain = RECIPES[name]
    folder: Path = args.work / name
    if not (folder / "unbelief.json").exists():
        data = ["--forget", args.data / "forget10.jsonl"]
        if has_retain:
            data += ["--retain", args.data / "retain90.jsonl"]
        settings = [part for key, value in options.items() for part in ("--set", f"{key}={value}")]
        call("unlearn", "--model", args.model, *data, "--method", method, *settings,
             "--output", folder)  # fmt: skip
    return folder


def evaluate(name: str, model: str | Path, args: argparse.Namespace) -> dict[str, Any]:
    """All lines of the suite."""
    output: Path = args.work / f"{name}-{args.limit or 'all'}.json"
    if not output.exists():
        extra: list[str | Path] = ["--limit", str(args.limit)] if args.limit else []
        if name != "retrained":
            extra += ["--reference", args.work / f"retrained-{args.limit or 'all'}.json"]
        if name != "original":
            extra += ["--original", args.model]
        call("evaluate", "--suite", "tofu", "--data", args.data, "--split", "forget10",
             "--model", model, *extra, "--output", output)  # fmt: skip
    results: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--retrained", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="only the first items of every set")
    parser.add_argument("--work", type=Path, default=Path("runs/failures"))
    parser.add_argument("--output", type=Path, default=Path("bench/results/failures.json"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    sources: dict[str, str | Path] = {"retrained": args.retrained, "original": args.model}
    sources |= {name: make(name, args) for name in RECIPES}
    found = {name: evaluate(name, source, args) for name, source in sources.items()}
    lines = {
        name: {score: line["estimate"] for score, line in its["lines"].items()}
        for name, its in found.items()
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(
        json.dumps({"recipes": RECIPES, "limit": args.limit, "lines": lines}, indent=1) + "\n"
    )
    print(table(lines))


def table(lines: dict[str, dict[str, Any]]) -> str:
    """Markdown: a line per score, a column per model; what is unscored says so."""
    models = [name for name in ("original", "retrained", *RECIPES) if name in lines]
    rows = ["| | " + " | ".join(models) + " |", "|---" * (len(models) + 1) + "|"]
    for score in dict.fromkeys(score for name in models for score in lines[name]):
        values = [(lines[name].get(score) or {}).get("value") for name in models]
        cells = ["unscored" if value is None else f"{value:.3f}" for value in values]
        rows.append(f"| `{score}` | " + " | ".join(cells) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
