r"""Time and memory of the TOFU suite: one measurement against a metric-by-metric evaluation.

    python bench/evaluation.py --model ../shared/models/tofu-tiny/full \
        --reference ../shared/models/tofu-tiny/retain90 --data ../shared/data/tofu

Both contenders compute the same numbers under OpenUnlearning's definitions, each in a process of
its own (peak memory is the process's own): probability, ROUGE, truth ratios, forget quality, model
utility, extraction strength, exact memorization, PrivLeak and four membership attacks. The peer
goes as that project does, metric by metric: every metric reads its rows anew, in unsorted padded
batches of 32, on full logits, and text is generated in unsorted batches of 32. As there, batches
hold labels, so that the model computes a loss of its own, which nobody reads, and cross-entropy is
given a transposed view of copied logits (`evaluate_probability`). No metric is computed twice. That
the numbers agree is checked here. The retrained model's numbers are made beforehand. Beside the
seconds on the clock stand the processor's, which suffer less from whatever else a machine is doing.

On a machine whose speed changes from minute to minute, `--core N` lets both run at once on one
core, the faster one again and again until the slower one is through: both meet the same
disturbances. The seconds on the clock mean nothing then; the processor's are compared.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the peer is the plain evaluation that the tests compare with
CONTENDERS = ("unbelief", "metric-by-metric")
MIA = ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus")
OPTIONS = ("real_authors", "world_facts")
NEEDS_REFERENCE = ("forget_quality", "privleak")
LIBRARIES = (
    "rouge_score.rouge_scorer",
    "tests.agreement.plain",
    "unbelief.measure.run",
    "unbelief.suites.tofu",
    "unbelief.tokens.open_unlearning",
)


# Contenders: numbers, item scores and seconds per part


def unbelief(args: argparse.Namespace, model: Any, tokenizer: Any, watch: Watch) -> Numbers:
    from unbelief.measure.plan import Plan
    from unbelief.measure.run import measure
    from unbelief.measure.store import read_measurements
    from unbelief.models.runner import AnswerModel
    from unbelief.scores.base import Metric
    from unbelief.scores.statistics import of_metric
    from unbelief.suites import tofu
    from unbelief.suites.base import Choices, Source
    from unbelief.tokens.open_unlearning import OpenUnlearningEncoder

    with watch("reading"):
        sets = tofu.read(Source(data=args.data, split=args.split)).sets
        sets = {name: records[: args.limit] for name, records in sets.items()}
        lines = tofu.lines(Choices(convention="open-unlearning"))
        lines = [one for one in lines if one.name in line_names(bool(args.reference))]
        needs: dict[str, list[Any]] = {name: [] for name in sets}
        for line in lines:
            needs.get(line.on, []).extend(getattr(line.how, "needs", ()))
        encoder = OpenUnlearningEncoder(
            tokenizer, system_prompt=args.system_prompt, date_string=args.date_string
        )
    with tempfile.TemporaryDirectory() as folder:
        with watch("measuring"):
            out = Path(folder) / "measured"
            measure(AnswerModel(model), encoder, Plan(sets, needs), out, fingerprint={})
        with watch("reading back"):
            measured = read_measurements(out)
    for kind, cost in measured.meta["cost"].items():
        watch.seconds[f"  of which {kind}"] = cost["seconds"]
    found: dict[str, Any] = {}
    reference = reference_statistics(args.reference_numbers)
    with watch("scoring"):
        for line in lines:
            if isinstance(line.how, Metric):
                found[line.name] = of_metric(line.how, measured.examples[line.on])
                continue
            inputs = [found[name] for name in line.inputs]
            other = [reference[name] for name in line.inputs if name in reference]
            found[line.name] = line.how.combine(inputs, other or None)
    return Numbers(
        {name: one.value for name, one in found.items()},
        {name: [s.value for s in one.scores] for name, one in found.items() if one.scores},
    )


def reference_statistics(path: str | None) -> dict[str, Any]:
    from unbelief.scores.base import Statistic
    from unbelief.types import Score

    if path is None:
        return {}
    numbers = json.loads(Path(path).read_text())
    scores = tuple(
        Score(value, None, f"{numbers['set']}:{i}", None)
        for i, value in enumerate(numbers["forget_truth_ratio_raw"], start=1)
    )
    return {
        "forget_truth_ratio_raw": Statistic(value=0.0, scores=scores, n=len(scores), unit="ratio"),
        "mia_min_k": Statistic(value=numbers["mia_min_k"], n=1, unit="probability"),
    }


def metric_by_metric(args: argparse.Namespace, model: Any, tokenizer: Any, watch: Watch) -> Numbers:
    import numpy as np
    from tests.agreement import plain

    peer = Peer(args, model, tokenizer)
    numbers, items = {}, {}

    def keep(name: str, values: Any) -> Any:
        items[name] = values.tolist()
        numbers[name] = float(values.mean())
        return values

    with watch("forget_Q_A_Prob"):
        keep("forget_probability", np.exp(-peer.losses("forget", "answer")))
    with watch("forget_Q_A_PARA_Prob"):
        true = peer.losses("forget", "paraphrased_answer")
        keep("forget_paraphrase_probability", np.exp(-true))
    with watch("forget_Q_A_PERT_Prob"):
        false = peer.wrong_losses("forget")
    with watch("forget_truth_ratio"):
        ratios = keep("forget_truth_ratio_raw", plain.truth_ratios(true, false))
        numbers["forget_truth_ratio"] = plain.closer_to_1_better(ratios)
        numbers["forget_truth_ratio_prob_mean"] = plain.prob_mean(true, false)
    with watch("forget_Q_A_ROUGE"):
        keep("forget_rouge", peer.rouge("forget"))
    with watch("extraction_strength"):
        keep("forget_extraction_strength", peer.scores(plain.extraction_strength, "forget"))
    with watch("exact_memorization"):
        keep("forget_exact_memorization", peer.scores(plain.exact_memorization, "forget"))
    attacks: dict[str, Callable[[str], Any]] = {
        "mia_loss": lambda on: peer.losses(on, "answer"),
        "mia_zlib": peer.zlib,
        "mia_min_k": lambda on: peer.scores(plain.min_k, on),
        "mia_min_k_plus_plus": peer.min_k_plus_plus,
    }
    for name, attack in attacks.items():
        with watch(name):
            sides = [keep(f"{name}_{on}", attack(on)) for on in ("forget", "holdout")]
            numbers[name] = plain.auc(*sides)
    for on, short in (("retain", "retain"), *((name, name) for name in OPTIONS)):
        with watch(f"{short}_Q_A_Prob"):
            own = peer.losses(on, "answer")
        with watch(f"{short}_Q_A_PERT_Prob"):
            wrong = peer.wrong_losses(on)
        if on == "retain":
            with watch("retain_Q_A_PARA_Prob"):
                right = peer.losses(on, "paraphrased_answer")
            keep("retain_probability", np.exp(-own))
        else:
            right = own
            keep(f"{on}_probability", plain.probability_w_options(own, wrong))
        numbers[f"{on}_truth_ratio"] = plain.true_better(plain.truth_ratios(right, wrong))
        with watch(f"{short}_Q_A_ROUGE"):
            keep(f"{on}_rouge", peer.rouge(on))
    parts = [f"{on}_{what}" for on in ("retain", *OPTIONS) for what in UTILITY]
    numbers["model_utility"] = plain.model_utility([numbers[name] for name in parts])
    if args.reference_numbers:
        other = json.loads(Path(args.reference_numbers).read_text())
        against = np.array(other["forget_truth_ratio_raw"])
        numbers["forget_quality"] = plain.forget_quality(ratios, against)
        numbers["privleak"] = plain.privleak(numbers["mia_min_k"], other["mia_min_k"])
    return Numbers(numbers, items)


UTILITY = ("probability", "rouge", "truth_ratio")


class Peer:
    """One model and TOFU's rows, tokenised again for every metric."""

    def __init__(self, args: argparse.Namespace, model: Any, tokenizer: Any):
        from tests.agreement import plain

        self.plain, self.model, self.tokenizer = plain, model, tokenizer
        self.template = plain.Template(args.system_prompt, args.date_string)
        self.pad_id, self.folder, self.limit = plain.pad_id_of(tokenizer), args.data, args.limit
        size = args.split.removeprefix("forget")
        self.files = {"forget": f"{args.split}_perturbed", "holdout": f"holdout{size}"}

    def rows(self, on: str) -> list[dict[str, Any]]:
        """A set as it is on disk."""
        name = self.files.get(on, f"{on}_perturbed")
        lines = (Path(self.folder) / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines[: self.limit]]

    def items(self, on: str, key: str, nth: int | None = None) -> list[Any]:
        """Token ids of a set's questions with the answers of one column."""
        return [
            self.plain.question_item(
                self.tokenizer,
                self.template,
                row["question"],
                row[key] if nth is None else row[key][nth],
            )
            for row in self.rows(on)
        ]

    def losses(self, on: str, key: str, nth: int | None = None) -> Any:
        """(N,) mean losses of one column."""
        return self.losses_of(self.items(on, key, nth))

    def losses_of(self, items: list[Any]) -> Any:
        """(N,) mean losses, computed as that project does."""
        return self.plain.average_losses(self.model, items, self.pad_id, transposed=True)

    def wrong_losses(self, on: str) -> Any:
        """(N, W) mean losses of the false answers."""
        import numpy as np

        count = len(self.rows(on)[0]["perturbed_answer"])
        return np.stack([self.losses(on, "perturbed_answer", j) for j in range(count)], axis=1)

    def scores(self, of: Callable[..., Any], on: str) -> Any:
        """(N,) a number of the answers' full logits."""
        return of(self.model, self.items(on, "answer"), self.pad_id)

    def min_k_plus_plus(self, on: str) -> Any:
        """Two forwards, as there: one for the tokens, one for the whole vocabulary."""
        from tests.agreement import plain

        self.scores(plain.min_k, on)
        return self.scores(plain.min_k_plus_plus, on)

    def zlib(self, on: str) -> Any:
        """(N,) losses over compressed sizes."""
        items = self.items(on, "answer")
        losses = self.losses_of(items)
        return self.plain.zlib_scores(self.tokenizer, losses, items)

    def rouge(self, on: str) -> Any:
        """(N,) ROUGE-L recall of greedy answers."""
        items = self.items(on, "answer")
        said = self.plain.generations(self.tokenizer, self.model, items)
        return self.plain.rouge(said, self.plain.true_texts(self.tokenizer, items))["rougeL_recall"]


def line_names(with_reference: bool) -> set[str]:
    """The lines both contenders compute."""
    names = {f"forget_{what}" for what in ("probability", "paraphrase_probability", "rouge")}
    names |= {"forget_extraction_strength", "forget_exact_memorization"}
    names |= {"forget_truth_ratio_raw", "forget_truth_ratio", "forget_truth_ratio_prob_mean"}
    names |= {f"{mia}{side}" for mia in MIA for side in ("", "_forget", "_holdout")}
    names |= {f"{on}_{what}" for on in ("retain", *OPTIONS) for what in UTILITY}
    return names | {"model_utility"} | (set(NEEDS_REFERENCE) if with_reference else set())


def reference(args: argparse.Namespace, model: Any, tokenizer: Any) -> dict[str, Any]:
    """What the retrained model's log holds that the others are compared with."""
    from tests.agreement import plain

    peer = Peer(args, model, tokenizer)
    true, false = peer.losses("forget", "paraphrased_answer"), peer.wrong_losses("forget")
    sides = [peer.scores(plain.min_k, on) for on in ("forget", "holdout")]
    return {
        "set": f"{args.split}_perturbed",
        "forget_truth_ratio_raw": plain.truth_ratios(true, false).tolist(),
        "mia_min_k": plain.auc(*sides),
    }


# One process per contender


class Numbers:
    """Values by line, and item scores of the lines that have some."""

    def __init__(self, values: Mapping[str, float | None], items: Mapping[str, list[float | None]]):
        self.values, self.items = dict(values), dict(items)


class Watch:
    """Seconds per named part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - start


def load(args: argparse.Namespace, source: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    dtype = getattr(torch, args.dtype)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
    if args.vocabulary:
        model.resize_token_embeddings(args.vocabulary, mean_resizing=False)
    return model.to(args.device).eval(), AutoTokenizer.from_pretrained(source)


def worker(args: argparse.Namespace) -> None:
    """Load the model, run one contender and print what it found."""
    import torch

    from answer_head import PeakWatch, resident

    for name in LIBRARIES:  # they are no part of anyone's time or peak
        importlib.import_module(name)
    torch.set_num_threads(args.threads)
    cuda = args.device.startswith("cuda")
    model, tokenizer = load(args, args.reference if args.worker == "reference" else args.model)
    if args.worker == "reference":
        print(json.dumps(reference(args, model, tokenizer)))
        return
    run = {"unbelief": unbelief, "metric-by-metric": metric_by_metric}[args.worker]
    watch = Watch()
    with torch.no_grad():  # the first call of a model is slow
        model(torch.zeros((1, 2), dtype=torch.long, device=args.device))
    base = torch.cuda.memory_allocated() if cuda else resident()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    with PeakWatch() as memory:
        start, processor = time.perf_counter(), time.process_time()
        numbers = run(args, model, tokenizer, watch)
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
    peak = torch.cuda.max_memory_allocated() if cuda else memory.peak
    spent = {"seconds": seconds, "processor_seconds": processor, "parts": watch.seconds}
    result = {**spent, "above": peak - base, "values": numbers.values, "items": numbers.items}
    print(json.dumps(result))


def start(args: argparse.Namespace, name: str, more: Sequence[str] = ()) -> dict[str, Any]:
    """Run a worker and read what it printed."""
    return result_of(name, begin(args, name, more))


def begin(args: argparse.Namespace, name: str, more: Sequence[str]) -> subprocess.Popen[str]:
    plain = {k: v for k, v in vars(args).items() if k in FORWARDED and v is not None}
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in plain.items()]
    command = [sys.executable, "-W", "ignore", __file__, "--worker", name, *flags, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def result_of(name: str, process: subprocess.Popen[str]) -> dict[str, Any]:
    printed, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{name} failed with status {process.returncode}")
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def in_turns(args: argparse.Namespace, more: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """One contender after the other, as often as asked for."""
    for _ in range(args.passes):
        for name in args.contenders:
            yield name, start(args, name, more)


def at_once(args: argparse.Namespace, more: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Both on one core; the faster one is repeated while the slower one runs."""
    os.sched_setaffinity(0, {args.core})
    faster, slower = CONTENDERS
    for _ in range(args.passes):
        peer = begin(args, slower, more)
        with ThreadPoolExecutor(1) as pool:  # reads what it prints, which no pipe may have to hold
            printed = pool.submit(result_of, slower, peer)
            while not printed.done():
                ours = start(args, faster, more)
                if not printed.done():  # the last one had the core to itself for a while
                    yield faster, ours
            yield slower, printed.result()


# The comparison


def disagreements(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], wanted: set[str]
) -> list[str]:
    """Lines whose numbers differ: items by 1e-4, numbers that rest on texts by 1e-3 in the mean."""
    wrong = [f"{name}: not computed by both" for name in wanted - ours["values"].keys()]
    for name in sorted(wanted & theirs["values"].keys() & ours["values"].keys()):
        a, b = ours["values"][name], theirs["values"][name]
        texts = name.endswith("_rouge") or name == "model_utility"
        if a is None or not math.isclose(a, b, abs_tol=1e-3 if texts else 1e-4, rel_tol=1e-4):
            wrong.append(f"{name}: {a} against {b}")
        pairs = zip(ours["items"].get(name, ()), theirs["items"].get(name, ()), strict=False)
        for i, (x, y) in enumerate(() if texts else pairs):
            if x is None or abs(x - y) > 1e-4 * max(1, abs(y)):
                wrong.append(f"{name}, item {i + 1}: {x} against {y}")
    return wrong


FORWARDED = ("model", "reference", "data", "split", "limit", "system_prompt", "date_string")
FORWARDED += ("vocabulary", "dtype", "device", "threads")


def main() -> None:
    args = arguments()
    if args.worker:
        worker(args)
        return
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in args.contenders}
    with tempfile.TemporaryDirectory() as folder:
        more = []
        if args.reference:
            log = Path(folder) / "reference.json"
            log.write_text(json.dumps(start(args, "reference")))
            more = [f"--reference-numbers={log}"]
        runs = in_turns if args.core is None else at_once
        for name, one in runs(args, more):
            found[name].append(one)
            seconds = one["seconds" if args.core is None else "processor_seconds"]
            print(f"{name}: {seconds:.1f} s", file=sys.stderr, flush=True)
    report = summary(args, found)
    Path(args.output).parent.mkdir(parents=True, exist_ok=True)
    Path(args.output).write_text(json.dumps(report, indent=1) + "\n")
    show(report)
    if report["disagreements"]:
        raise SystemExit(1)


def summary(args: argparse.Namespace, found: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    hidden = ("worker", "output", "reference_numbers", "contenders")
    contenders = {
        name: {
            "runs": len(runs),
            "seconds": statistics.median(r["seconds"] for r in runs),
            "processor_seconds": statistics.median(r["processor_seconds"] for r in runs),
            "peak_bytes_above_model": max(r["above"] for r in runs),
            "parts": {
                part: statistics.median(r["parts"][part] for r in runs) for part in runs[0]["parts"]
            },
            "values": runs[0]["values"],
        }
        for name, runs in found.items()
    }
    ratios, wrong = {}, []
    if set(CONTENDERS) <= found.keys():
        ours, theirs = (contenders[name] for name in CONTENDERS)
        on_clock = () if args.core is not None else ("seconds",)
        for key in (*on_clock, "processor_seconds", "peak_bytes_above_model"):
            ratios[f"metric-by-metric / unbelief, {key}"] = theirs[key] / ours[key]
        first = (found[name][0] for name in CONTENDERS)
        wrong = disagreements(*first, line_names(bool(args.reference)))
    settings = {k: v for k, v in vars(args).items() if k not in hidden}
    return {
        "settings": settings,
        "contenders": contenders,
        "ratios": ratios,
        "disagreements": wrong,
    }


def show(report: Mapping[str, Any]) -> None:
    for name, one in report["contenders"].items():
        megabytes = one["peak_bytes_above_model"] / 1e6
        print(f"{name:<32}{one['seconds']:>9.2f} s{megabytes:>9.0f} MB above the model")
        print(f"  {'processor':<30}{one['processor_seconds']:>9.2f} s")
        for part, seconds in one["parts"].items():
            print(f"  {part:<30}{seconds:>9.2f} s")
    for name, value in report["ratios"].items():
        print(f"{name:<58}{value:>7.2f}")
    if len(report["contenders"]) > 1:
        wrong = report["disagreements"]
        print("the numbers agree" if not wrong else "\n".join(["the numbers differ:", *wrong[:20]]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="../shared/models/tofu-tiny/full")
    parser.add_argument("--reference", help="retrained model, for forget quality and PrivLeak")
    parser.add_argument("--data", default="../shared/data/tofu", help="folder of TOFU's JSON lines")
    parser.add_argument("--split", default="forget10")
    parser.add_argument("--limit", type=int, help="only the first items of every set")
    parser.add_argument("--system-prompt")
    parser.add_argument("--date-string")
    parser.add_argument("--vocabulary", type=int, help="widen the embeddings to so many rows")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--core", type=int, help="run both contenders at once on this core")
    parser.add_argument("--contenders", nargs="*", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--reference-numbers", help=argparse.SUPPRESS)
    parser.add_argument("--output", default="bench/results/evaluation.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
