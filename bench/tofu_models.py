"""Models of a TOFU study in folders: what audits, attacks and studies of metrics are run on.

    python bench/tofu_models.py --chosen study/chosen.json --model MODEL --data TOFU_FOLDER \
        --ratio forget05 --output models

`unbelief study run` measures its models and lets them go. Here the settings that a search chose
are run once more, each to its chosen step, and written. A folder that is there is not made again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chosen", type=Path, required=True, help="of `unbelief study tune`")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help="TOFU's folder")
    parser.add_argument("--ratio", default="forget05")
    parser.add_argument("--methods", nargs="*", default=[], help="all that were searched")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    import torch

    from unbelief.study.chosen import read_chosen, settings_of
    from unbelief.study.records_bed import RecordsTestbed
    from unbelief.study.records_parts import tofu_parts

    torch.set_num_threads(args.threads)
    chosen = read_chosen(args.chosen)
    bed = RecordsTestbed(
        name="tofu",
        model=args.model,
        parts=tofu_parts(args.data, {}),
        steps=chosen["steps"],
    )
    for seed in args.seeds:
        for method, entry in settings_of(chosen, args.methods).items():
            target = args.output / f"{method}-{seed}"
            if not target.exists():
                unlearn(bed, args.ratio, method, entry, seed, target)
            print(target, flush=True)


def unlearn(
    bed: Any, ratio: str, method: str, entry: dict[str, Any], seed: int, target: Path
) -> None:
    """One setting to its chosen step."""
    from unbelief.auto.trial import StopAt
    from unbelief.study.testbed import Setting

    setting = Setting(method=method, options=entry["options"])
    run = bed.unlearner(setting, ratio, seed, callbacks=[StopAt(entry["step"])])
    run.run(target)


if __name__ == "__main__":
    main()
