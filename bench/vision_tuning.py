r"""How the settings of `unbelief vision run` on digits were chosen: one rule for every method.

    python bench/vision_tuning.py --output bench/results/vision_tuning.json
    python bench/vision_tuning.py --epochs 5 --seeds 100 101 102 --grid twelve \
        --output bench/results/vision_tuning_short.json
    python bench/vision_tuning.py --epochs 5 --seeds 100 101 102 --grid head \
        --relation target-mismatch --output bench/results/vision_tuning_head.json

Every method gets six settings and is run in the all-matched scenario, the conventional one, on a
split that no table reports (seed 100). The setting with the least Gap to the retrained model is
taken, for all four scenarios alike. For GA, BS, IU and TARF these six are the second six: among
the first, around the published values, none worked or the best lay at an end (`FIRST`). The rule
uses the retrained model, which in practice nobody has: the table shows methods near their best in
the conventional scenario, not what a user would get.

The second command is for originals that are not certain of everything: twelve settings for every
method in one round, and the least mean Gap over three splits that no table reports. The third
looks for a phase I of TARF that finds what is meant, in target mismatch; no other method has such
a search.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unbelief.provenance import environment, utc_now
from unbelief.vision.bench import Bench
from unbelief.vision.config import VisionConfig
from unbelief.vision.finding import build_method
from unbelief.vision.measures import GAP_PARTS, Share, gap
from unbelief.vision.scenario import RELATIONS

SEED = 100
RATES = (0.003, 0.01, 0.03, 0.1, 0.2, 0.3)
COMMON = {"batch_size": 64}  # 20 steps per pass; the published 256 would make 5
GRIDS: dict[str, list[dict[str, Any]]] = {
    "ft": [{**COMMON, "learning_rate": r} for r in RATES],
    "rl": [{**COMMON, "learning_rate": r} for r in RATES],
    "salun": [{**COMMON, "learning_rate": r} for r in RATES],
    "scrub": [{**COMMON, "learning_rate": r} for r in (5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 3e-2)],
    "ga": [{**COMMON, "learning_rate": r} for r in (0.02, 0.025, 0.03, 0.035, 0.04, 0.045)],
    "bs": [
        {**COMMON, "learning_rate": r, "bound": b} for r in (3e-3, 1e-2) for b in (0.2, 0.3, 0.5)
    ],
    "iu": [{"alpha": a} for a in (50.0, 75.0, 100.0, 150.0, 200.0, 300.0)],
    "l1-sparse": [
        {**COMMON, "learning_rate": r, "alpha": a} for r in (0.03, 0.1) for a in (1e-4, 5e-4, 1e-3)
    ],
    "tarf": [
        {**COMMON, "learning_rate": r, "k": k}
        for r, ks in ((0.01, (0.06, 0.08, 0.12)), (0.03, (0.02, 0.03, 0.04)))
        for k in ks
    ],
}
FIRST = {
    "ga": "learning_rate 0.001 0.003 0.005 0.01 0.02 0.05",
    "bs": "bound 0.1, learning_rate 0.001 0.003 0.005 0.01 0.03 0.1",
    "iu": "alpha 0.2 1 3 10 30 100",
    "tarf": "learning_rate 0.01 0.03 with k 0.04 0.2 0.5",
}

TWELVE: dict[str, list[dict[str, Any]]] = {
    **{
        name: [
            {**COMMON, "learning_rate": r}
            for r in (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5)
        ]
        for name in ("ft", "rl", "salun")
    },
    "scrub": [
        {**COMMON, "learning_rate": r}
        for r in (2e-4, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 7e-3, 1e-2, 1.5e-2, 2e-2, 3e-2, 5e-2)
    ],
    "ga": [
        {**COMMON, "learning_rate": r}
        for r in (5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 7e-3, 1e-2, 1.5e-2, 2e-2, 2.5e-2, 3e-2, 5e-2)
    ],
    "bs": [
        {**COMMON, "learning_rate": r, "bound": b}
        for r in (1e-3, 3e-3, 1e-2, 3e-2)
        for b in (0.1, 0.2, 0.3)
    ],
    "iu": [
        {"alpha": a}
        for a in (0.2, 1.0, 3.0, 10.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0)
    ],
    "l1-sparse": [
        {**COMMON, "learning_rate": r, "alpha": a}
        for r in (0.01, 0.03, 0.1, 0.2)
        for a in (1e-4, 5e-4, 1e-3)
    ],
    "tarf": [
        {**COMMON, "learning_rate": r, "k": k}
        for r in (0.01, 0.03, 0.1)
        for k in (0.005, 0.01, 0.02, 0.05)
    ],
}

# Phase I longer, for the scenario that needs it; TARF's alone, so not an equal search.
HEAD: dict[str, list[dict[str, Any]]] = {
    "tarf": [
        {**COMMON, "head": h, "learning_rate": r, "k": k}
        for h in (2, 3, 4, 5)
        for r, k in ((0.03, 0.01), (0.01, 0.02), (0.01, 0.03))
    ]
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--methods", nargs="*")
    parser.add_argument("--seeds", type=int, nargs="+", default=[SEED])
    parser.add_argument("--grid", choices=("six", "twelve", "head"), default="six")
    parser.add_argument("--relation", choices=RELATIONS, default="all-matched")
    parser.add_argument("--label-smoothing", type=float, default=0.0)
    parser.add_argument("--epochs", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = VisionConfig(
        seeds=tuple(args.seeds), label_smoothing=args.label_smoothing, epochs=args.epochs
    )
    benches = [Bench(config, seed) for seed in args.seeds]
    wanted = [values(bench.reference(args.relation).shares) for bench in benches]
    grids = {"six": GRIDS, "twelve": TWELVE, "head": HEAD}[args.grid]
    rows = []
    for name in args.methods or grids:
        tried = []
        for options in grids[name]:
            found = [
                values(bench.run(args.relation, build_method(name, options)).shares)
                for bench in benches
            ]
            gaps = [gap(now, ref).value for now, ref in zip(found, wanted, strict=True)]
            known = [g for g in gaps if g is not None]
            # A setting that leaves no finite numbers on a split is not chosen.
            mean = sum(known) / len(known) if len(known) == len(gaps) else None
            tried.append({"options": options, "values": found, "gaps": gaps, "gap": mean})
            print(name, options, gaps, mean, flush=True)
        best = min(tried, key=lambda t: float("inf") if t["gap"] is None else t["gap"])
        first = FIRST.get(name) if args.grid == "six" else None
        rows.append(
            {"method": name, "chosen": best["options"], "tried": tried, "tried_first": first}
        )
    document = {
        "created": utc_now(),
        "seeds": args.seeds,
        "relation": args.relation,
        "training": {"label_smoothing": args.label_smoothing, "epochs": config.training.epochs},
        "unbelief": environment().unbelief,
        "retrained": wanted,
        "methods": rows,
    }
    args.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    flags = [f"--set {r['method']}.{k}={v}" for r in rows for k, v in r["chosen"].items()]
    print(" ".join(flags))


def values(shares: Mapping[str, Share]) -> dict[str, float | None]:
    """UA, RA, TA and MIA in percent."""
    return {k: shares[k].percent for k in GAP_PARTS}


if __name__ == "__main__":
    main()
