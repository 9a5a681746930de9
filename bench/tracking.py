"""What following the squeezing effect costs a run, and what it shows: measured inside one run.

    python bench/tracking.py --model MODEL --data TOFU_FOLDER --method graddiff

`TOFU_FOLDER` holds forget10.jsonl and retain90.jsonl. The run is `Unlearner.run` with a
`SqueezeTracker` at its defaults. Cost is the tracker's own time (candidates, measurements, the
page at the end) over the time of everything else in the same run, so that a machine which is busy
or slow is so for both; in processor seconds, which other programs hardly touch, and in seconds on
the clock. Method options are those of `bench/tofu_tiny.py`. The model folder stays in `--work`,
with the curves beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

from tofu_tiny import SETTINGS
from unbelief.diagnose import SqueezeTracker, TrackOptions
from unbelief.models.runner import AnswerModel
from unbelief.objectives import build_objective
from unbelief.provenance import environment, utc_now
from unbelief.train.options import TrainOptions
from unbelief.unlearner import Unlearner


class TimedTracker(SqueezeTracker):
    """A tracker that also counts the processor time of its calls."""

    def __init__(self, options: TrackOptions):
        super().__init__(options)
        self.processor = 0.0
        self.calls = 0

    def __call__(self, step: int, model: AnswerModel) -> None:
        """Measure, and count."""
        started = time.process_time()
        super().__call__(step, model)
        self.processor += time.process_time() - started
        self.calls += 1


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """One tracked run: what it cost and what its curves say."""
    setting = dict(SETTINGS[args.method])
    lr = setting.pop("lr")
    epochs = setting.pop("epochs") if args.epochs is None else args.epochs
    setting.pop("epochs", None)
    options = TrackOptions.parse(args.track)
    tracker = TimedTracker(options)
    output = args.work / args.method
    clock, processor = time.monotonic(), time.process_time()
    result = Unlearner(
        model=str(args.model),
        forget=args.data / "forget10.jsonl",
        retain=args.data / "retain90.jsonl",
        objective=build_objective(args.method, setting, has_retain=True),
        train=TrainOptions(learning_rate=lr, num_train_epochs=epochs, seed=args.seed),
        method=args.method,
        device="cpu",
        hooks=[tracker],
        progress=False,
    ).run(output, overwrite=True, restart=True)
    page, page_processor = time.monotonic(), time.process_time()
    tracker.write()
    page, page_processor = time.monotonic() - page, time.process_time() - page_processor
    whole, whole_processor = time.monotonic() - clock, time.process_time() - processor
    own = sum(tracker.seconds.values()) + page
    own_processor = tracker.processor + page_processor
    series = tracker.document()
    return {
        "method": args.method,
        "options": setting | {"lr": lr, "epochs": epochs},
        "track": args.track,
        "every": options.every,
        "steps": result.steps,
        "measurements": tracker.calls,
        "seconds": {**tracker.seconds, "page": page, "own": own, "run": whole},
        "processor_seconds": {"own": own_processor, "run": whole_processor},
        "cost": own / (whole - own),
        "cost_processor": own_processor / (whole_processor - own_processor),
        "index": {name: series[name]["index"] for name in
                  ("index", "own_index", "probability_index")},
        "at": {name: series[name]["at"] for name in ("index", "own_index", "probability_index")},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--method", default="graddiff", choices=sorted(set(SETTINGS) - {"ga"}))
    parser.add_argument("--epochs", type=float, help="instead of the method's in tofu_tiny.py")
    parser.add_argument("--track", default="squeeze", help="as --track of `unbelief unlearn`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/tracking"))
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    made_on = environment()
    document = {
        "created": utc_now(),
        "versions": {"python": made_on.python, **made_on.packages},
        **measured(args),
    }
    print(json.dumps(document, indent=1))
    if args.output:
        args.output.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
