"""The lab end to end, in one folder: two models, the data, the result and a page to read."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from textwrap import fill
from typing import Any

from unbelief.errors import RequestError
from unbelief.lab.document import document
from unbelief.lab.plan import LONGEST_BELIEF, LabConfig, work_in_seconds
from unbelief.lab.pretrain import ROLES, model_folder
from unbelief.lab.result import LabResult
from unbelief.lab.run import Progress, run_lab
from unbelief.lab.world import WorldConfig, make_world
from unbelief.outputs import atomic_folder, atomic_write
from unbelief.report import build_lab_report, distance_table
from unbelief.types import Record

_WIDTH = 96
_COLUMNS = (
    "id",
    "prompt",
    "answer",
    "group",
    "paraphrased_prompt",
    "paraphrases",
    "perturbed",
)


@dataclass(frozen=True, kw_only=True)
class QuickstartResult:
    """What a quickstart made.

    Attributes:
        output: The folder: `report.html`, `result.json`, `models/original`, `models/retrained`,
            `forget.jsonl` and `retain.jsonl` (of the first seed).
        result: What was measured.
        document: The content of `result.json`: the result and what follows from it.
        seconds: Wall time.
    """

    output: Path
    result: LabResult
    document: dict[str, Any]
    seconds: float

    def summary(self) -> dict[str, Any]:
        """Return what `--json` prints: where everything is, the table and the findings."""
        return {
            "output": str(self.output),
            "report": str(self.output / "report.html"),
            "result": str(self.output / "result.json"),
            "seconds": round(self.seconds, 1),
            "rows": self.document["analysis"]["rows"],
            "findings": self.document["analysis"]["findings"],
        }

    def text(self) -> str:
        """Return what is printed for people."""
        table = distance_table(self.document).to_text()
        said = "\n\n".join(
            f"{f['title']}.\n{fill(f['text'], _WIDTH)}"
            for f in self.document["analysis"]["findings"]
        )
        models = self.output / "models"
        return (
            f"{table}\n\n{said}\n\n"
            f"Page to read: {self.output / 'report.html'} ({self.seconds:.0f} s)\n"
            f"Try a method yourself:\n"
            f"  unbelief unlearn --model {models / 'original'} "
            f"--forget {self.output / 'forget.jsonl'} --retain {self.output / 'retain.jsonl'} "
            f"--method bs-s --set max_new_tokens={LONGEST_BELIEF} --learning-rate 4e-4 "
            "--output unlearned"
        )


def quickstart(
    output: str | Path,
    *,
    seeds: int = 1,
    seed: int = 0,
    methods: Sequence[str] | None = None,
    overwrite: bool = False,
    progress: bool = True,
    config: LabConfig | None = None,
) -> QuickstartResult:
    """Train two tiny models, unlearn with several methods, measure exactly, write a page.

    Args:
        output: Folder that is to appear, whole or not at all.
        seeds: Number of worlds; with more than one, intervals are over seeds.
        seed: Of the first world; the others follow.
        methods: Names as in `unbelief methods`; by default those the lab compares.
        overwrite: Replace an existing folder.
        progress: Show a bar on stderr when that is a terminal.
        config: Everything else; its methods and seeds are replaced by those given here.

    Raises:
        RequestError: Unknown method, bad number of seeds, or the output must not be written.
    """
    if seeds < 1 or seed < 0:
        raise RequestError(
            f"seeds={seeds}, seed={seed}", where="seeds", remedy="seeds from 1, seed from 0 upwards"
        )
    started = time.monotonic()
    base = config or LabConfig()
    resolved = replace(
        base,
        methods=tuple(methods) if methods is not None else base.methods,
        seeds=tuple(range(seed, seed + seeds)),
    )
    with atomic_folder(output, overwrite) as folder:
        cache = folder / "models" / "cache"
        with _bar(work_in_seconds(resolved), progress) as tell:
            result = run_lab(resolved, cache, progress=tell)
        _keep_models(resolved, seed, cache)
        _write_data(replace(resolved.world, seed=seed), folder)
        content = document(result)
        atomic_write(folder / "result.json", json.dumps(content) + "\n")
        atomic_write(folder / "report.html", build_lab_report(content))
    return QuickstartResult(
        output=Path(output).expanduser().absolute(),
        result=result,
        document=content,
        seconds=time.monotonic() - started,
    )


def _keep_models(config: LabConfig, seed: int, cache: Path) -> None:
    """Put the first seed's models beside the cache, and the cache away."""
    world, pretrained = replace(config.world, seed=seed), replace(config.pretrain, seed=seed)
    for role in ROLES:
        model_folder(world, role, pretrained, cache).rename(cache.parent / role)
    shutil.rmtree(cache)


def _write_data(config: WorldConfig, folder: Path) -> None:
    """Write the records of a world, so that other commands can be tried on them."""
    world = make_world(config)
    parts = {
        "forget": world.records("forget"),
        "retain": world.drawn_records("retain", config.seed),
    }
    for name, records in parts.items():
        lines = [json.dumps(_columns(record), ensure_ascii=False) for record in records]
        atomic_write(folder / f"{name}.jsonl", "\n".join(lines) + "\n")


def _columns(record: Record) -> dict[str, Any]:
    values = asdict(record)
    return {name: values[name] for name in _COLUMNS if values[name]}


@contextmanager
def _bar(total: float, wanted: bool) -> Iterator[Progress]:
    """Show how far the run is, in rough seconds, where a person is watching."""
    from tqdm import tqdm

    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}"
    shown = wanted and sys.stderr.isatty()
    with tqdm(total=total, disable=not shown, bar_format=form, leave=False) as bar:

        def tell(what: str, amount: float) -> None:
            if shown and bar.desc != f"{what}: ":
                bar.set_description(what)
            bar.update(amount)

        yield tell
