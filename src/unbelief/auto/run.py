"""Unlearning with method and strength chosen on the model itself: from request to model folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbelief import processes
from unbelief.auto.aims import Aim
from unbelief.auto.choosing import Choice, choose
from unbelief.auto.document import document, explanation
from unbelief.auto.holdout import check_one_level
from unbelief.auto.journal import Journal, search_folder
from unbelief.auto.judging import point_of
from unbelief.auto.options import AutoOptions, check_not_searched
from unbelief.auto.portfolio import entries
from unbelief.auto.searching import Searching
from unbelief.auto.trial import StopAt
from unbelief.auto.workshop import Workshop
from unbelief.auto.yardstick import Reading
from unbelief.errors import GuardError, Inconclusive, Interrupted, RequestError
from unbelief.models.adapters import LoraOptions
from unbelief.outputs import check_destination
from unbelief.rundir import RunFolder
from unbelief.train import checks
from unbelief.train.options import TrainOptions
from unbelief.unlearner import Records, UnlearnResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unbelief.auto.portfolio import Entry
    from unbelief.models.runner import AnswerModel
    from unbelief.tokens.encode import Template


@dataclass(frozen=True, kw_only=True)
class AutoResult:
    """What an automatic run made.

    Attributes:
        unlearned: The final run, as of `Unlearner.run`.
        document: The part `auto` of `unbelief.json`: level, trials, choice, report.
        reached: Whether the choice is at the level and keeps enough; otherwise it is the nearest.
    """

    unlearned: UnlearnResult
    document: dict[str, Any]
    reached: bool

    @property
    def explanation(self) -> list[str]:
        """The choice in plain words."""
        return list(self.document["explanation"])


@dataclass(frozen=True, kw_only=True)
class AutoUnlearner:
    """Makes a model forget; method and strength are chosen.

    Attributes:
        model: Folder or hub id; every trial starts from it.
        forget: Records to forget. All are unlearned; half of their clusters serve the choice.
        retain: Records to keep; up to a fifth is measured and not rehearsed.
        options: Budget and the rest.
        train: Training options, without those that are searched.
        retrained: A model that never saw the forget records; its leak then is the level.
        holdout: Records of the same kind as those to forget that `model` was never trained on; what
            it says to them then is the level. Not beside `retrained`.
        lora: Train an adapter.
        merge: Merge it at the end.
        columns: As for `Unlearner`; likewise `template`, `system_prompt`, `end_token`,
            `max_length`, `dtype`, `device`, `revision`, `trust_remote_code`, `progress`.
        template: See `columns`.
        system_prompt: See `columns`.
        end_token: See `columns`.
        max_length: See `columns`.
        dtype: See `columns`.
        device: See `columns`.
        revision: See `columns`.
        trust_remote_code: See `columns`.
        progress: See `columns`.
    """

    model: str | Path
    forget: Records
    retain: Records
    options: AutoOptions = field(default_factory=AutoOptions)
    train: TrainOptions = field(default_factory=TrainOptions)
    retrained: str | Path | None = None
    holdout: Records | None = None
    lora: LoraOptions | None = None
    merge: bool = True
    columns: Mapping[str, str] | None = None
    template: Template = "auto"
    system_prompt: str | None = None
    end_token: bool = True
    max_length: int | None = None
    dtype: str = "float32"
    device: str = "auto"
    revision: str | None = None
    trust_remote_code: bool = False
    progress: bool = True

    def run(
        self, output: str | Path, *, overwrite: bool = False, restart: bool = False
    ) -> AutoResult:
        """Search, choose, unlearn, report; called again after an interruption, it goes on.

        Args:
            output: Model folder that is to appear, whole or not at all.
            overwrite: Replace an existing folder.
            restart: Throw away what an unfinished search left.

        Raises:
            RequestError: The request is wrong; nothing was written.
            Inconclusive: There is no level to stop at, or nothing to forget; nothing was written.
            GuardError: No trial came nearer to the level than the original; nothing was written.
            Interrupted: Ctrl-C; finished trials are kept, and the same call goes on.
        """
        destination = self._check(output, overwrite)
        wanted = entries(self.options.methods)
        shop = Workshop.open(self)
        folder = search_folder(destination)
        with folder.claimed(restart=restart), _resumable(folder):
            folder.check_request(self._request(shop, wanted, folder.key))
            journal = Journal(folder.path)
            _check_other_run(destination, journal, restart)
            searching = Searching(shop=shop, journal=journal, options=self.options, wanted=wanted)
            found = searching.run()
            choice = choose(found.trials, found.original_cost)
            if choice is None:
                raise GuardError(
                    f"none of {len(found.trials)} trials came nearer to the level than the "
                    "original model itself",
                    where=str(folder.path),
                    remedy="give more minutes or records to keep, or choose a --method",
                )
            journal.keep("final", {"trial": choice.trial.number, "step": choice.point.step})
            result = self._final(shop, searching, choice, destination, overwrite, restart)
            self._keep_bank(searching, choice, destination)
            journal.remove()
        return result

    def _check(self, output: str | Path, overwrite: bool) -> Path:
        if processes.world()[1] > 1:
            raise RequestError(
                "--method auto runs in one process",
                where="--method",
                remedy="start it without torchrun; run the method it chooses with several",
            )
        check_not_searched(self.train.model_fields_set)
        if self.train.fsdp:
            raise RequestError(
                "--method auto does not shard parameters", where="fsdp", remedy="leave fsdp out"
            )
        check_one_level(self.retrained, self.holdout)
        destination = check_destination(output, overwrite)
        names = ("model", "forget", "retain", "retrained", "holdout")
        given = {name: getattr(self, name) for name in names}
        checks.check_paths(destination, given)
        return destination

    def _request(self, shop: Workshop, wanted: tuple[Entry, ...], key: bytes) -> dict[str, Any]:
        """What decides the result, but for the budget: a search may go on with more minutes."""
        options = self.options.model_dump()
        del options["budget"]
        train = self.train.model_dump(exclude={"logging_steps", "save_steps", "report_to"})
        return {
            **shop.identity(key),
            "auto": options,
            "entries": json.loads(json.dumps([asdict(entry) for entry in wanted])),
            "train": train,
            "lora": None if self.lora is None else asdict(self.lora),
            "merge": self.merge,
            "retrained": None if self.retrained is None else str(self.retrained),
        }

    def _final(
        self,
        shop: Workshop,
        searching: Searching,
        choice: Choice,
        destination: Path,
        overwrite: bool,
        restart: bool,
    ) -> AutoResult:
        """The chosen run again, up to the chosen step, and what it says of the report's half."""
        made: dict[str, Any] = {}

        def notes(model: AnswerModel) -> Mapping[str, Any]:
            readings = {
                "choice": searching.read(model, "choice"),
                "report": searching.read(model, "report", facts=True),
            }
            made.update(document(searching, choice, readings, _report_point(searching, readings)))
            made["explanation"] = explanation(made)
            return {"auto": made}

        entry = searching.entry(choice.trial.entry)
        unlearner = shop.unlearner(
            entry,
            choice.trial.strength,
            searching.steps,
            callbacks=[StopAt(choice.point.step)],
            bank=searching.bank_for(entry),
            notes=notes,
        )
        result = unlearner.run(destination, overwrite=overwrite, restart=restart)
        return AutoResult(unlearned=result, document=made, reached=choice.reached)

    def _keep_bank(self, searching: Searching, choice: Choice, destination: Path) -> None:
        bank = searching.bank_for(searching.entry(choice.trial.entry))
        if bank is not None:
            target = RunFolder(destination).beliefs(0)
            shutil.copyfile(bank, target)
            target.chmod(0o600)


def _report_point(searching: Searching, readings: Mapping[str, Reading]) -> dict[str, Any]:
    """The final model against the level on the report's half; why not, where there is none."""
    step = searching.last_step
    try:
        aim: Aim = searching.aim("report")
    except Inconclusive as error:
        return {"unscored": error.message}
    point = point_of(step, readings["report"], aim)
    return {"unscored": "it could not be measured"} if point is None else point.to_dict()


def _check_other_run(destination: Path, journal: Journal, restart: bool) -> None:
    """Refuse an unfinished run of another command now, and not after the whole search."""
    other = RunFolder(destination).path / "request.json"
    if other.exists() and not restart and journal.state("final") is None:
        raise RequestError(
            "an unfinished run of another method is here",
            where=str(other.parent),
            remedy="finish it, choose another output, or throw it away with --restart",
        )


@contextmanager
def _resumable(folder: RunFolder) -> Iterator[None]:
    """Say how a stopped search goes on, and leave nothing where there is nothing to go on with."""
    try:
        yield
    except (KeyboardInterrupt, Interrupted) as error:
        kept = len([*folder.path.glob("trial-*.json")])
        what = error.message if isinstance(error, Interrupted) else "stopped"
        raise Interrupted(
            f"{what}; finished trials are kept ({kept})", remedy="the same command goes on"
        ) from None
    except Inconclusive:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
