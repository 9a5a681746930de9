"""What is refused before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unbelief import processes
from unbelief.beliefs.asking import check_prompts
from unbelief.beliefs.bank import BeliefBank
from unbelief.beliefs.transplant import is_transplant
from unbelief.errors import DataError, GuardError, RequestError
from unbelief.models.adapters import LoraOptions
from unbelief.models.runner import AnswerModel
from unbelief.objectives import BSS, Objective
from unbelief.objectives.forget.transplant import Transplant
from unbelief.tokens import Encoded
from unbelief.train.options import TrainOptions
from unbelief.train.supply import decoding_of
from unbelief.types import Record


def check_paths(output: Path, inputs: dict[str, object]) -> None:
    """Refuse an output that would replace what the run reads.

    Args:
        output: Folder that is to appear, absolute.
        inputs: Flag names and what was given for them; only existing paths matter.

    Raises:
        RequestError: An input is the output, or lies inside it.
    """
    for name, given in inputs.items():
        if not isinstance(given, str | Path) or not Path(given).expanduser().exists():
            continue
        place = Path(given).expanduser().resolve()
        if output.resolve() in (place, *place.parents):
            raise RequestError(
                f"{given} is or lies inside the output folder",
                where=f"--{name}",
                remedy="choose a new output; the original is needed to judge the result",
            )


def check_terms(objective: Objective, has_retain: bool) -> None:
    """Refuse an objective that lacks data or contradicts itself."""
    if objective.retain is not None and not has_retain:
        raise RequestError(
            f"the retain term {objective.retain.name} needs retain data",
            where="retain",
            remedy="give retain records, or use an objective without a retain term",
        )
    if isinstance(objective.forget, Transplant) and not has_retain:
        raise RequestError(
            "neighbouring prompts and names are taken from the retain data, and there is none",
            where="retain",
            remedy="give retain records",
        )
    forget, retain = objective.forget.needs, objective.retain and objective.retain.needs
    layers = {n.hidden_layer for n in (forget, retain) if n and n.hidden_layer is not None}
    if len(layers) > 1:
        raise RequestError(
            f"forget and retain term look at different layers ({sorted(layers)})",
            where="layer",
            remedy="use one layer for both",
        )
    if objective.keep_fraction < 1 and objective.forget.answers == "pairs":
        raise RequestError(
            f"loss selection has no meaning for the pairs of {objective.forget.name}",
            where="keep_fraction",
            remedy="leave keep_fraction at 1",
        )
    if objective.keep_fraction < 1 and not forget.logits:
        raise RequestError(
            f"loss selection needs token probabilities, which {objective.forget.name} has not",
            where="keep_fraction",
            remedy="leave keep_fraction at 1",
        )


def check_bank(objective: Objective, bank: BeliefBank) -> None:
    """Refuse to teach what was to be forgotten, and to suppress what was to be taught."""
    term = objective.forget
    teaches = isinstance(term, Transplant)
    if isinstance(term, Transplant) and is_transplant(bank) and bank.meta.samples < term.per_step:
        raise RequestError(
            f"the bank has {bank.meta.samples} beliefs per record, fewer than a step takes",
            where="beliefs",
            remedy=f"set per_step={bank.meta.samples}",
        )
    if teaches != is_transplant(bank):
        held = "beliefs about the forget prompts themselves" if teaches else "transplanted beliefs"
        raise RequestError(
            f"the bank holds {held}, which {term.name} must not use",
            where="beliefs",
            remedy="name a bank that this method made, or leave it out",
        )


def check_options(
    options: TrainOptions, objective: Objective, lora: LoraOptions | None, merge: bool, beliefs: Any
) -> None:
    """Refuse options that contradict each other or name what is not installed."""
    if not isinstance(objective, Objective):
        raise RequestError(
            f"{objective!r} is no objective",
            where="objective",
            remedy="write term + NLL(), Objective(term) for a term alone, or "
            'build_objective("npo") for a method',
        )
    if beliefs is not None and not isinstance(objective.forget, BSS | Transplant):
        raise RequestError(
            f"{objective.forget.name} uses no belief bank",
            where="beliefs",
            remedy="use the method bs-s or transplant, or leave the bank out",
        )
    if lora is not None and options.trainable is not None:
        raise RequestError(
            "with an adapter only the adapter trains",
            where="trainable",
            remedy="use either lora or trainable",
        )
    if lora is None and not merge:
        raise RequestError(
            "there is no adapter to leave unmerged",
            where="merge",
            remedy="add lora, for example --lora r=16,alpha=32, or leave --no-merge out",
        )
    if options.fsdp and processes.world()[1] == 1:
        raise RequestError(
            "there is one process, so nothing to shard over",
            where="fsdp",
            remedy="start with torchrun --nproc_per_node N -m unbelief ..., or leave fsdp out",
        )
    if options.fsdp and objective.forget.needs.beliefs_from == "average":
        raise RequestError(
            "an averaged model needs whole weights, and these are sharded",
            where="fsdp",
            remedy="leave fsdp out, or set beliefs_from=policy or reference",
        )
    if options.fsdp and objective.gradients.apart:
        raise RequestError(
            f"gradients={objective.gradients.name} keeps whole gradients, and these are sharded",
            where="fsdp",
            remedy="leave fsdp out, or use a method that sums its gradients",
        )
    _check_names(options)


def _check_names(options: TrainOptions) -> None:
    from transformers import Trainer, TrainingArguments
    from transformers.integrations import get_reporting_integration_callbacks

    try:
        arguments = TrainingArguments(
            output_dir="unused", optim=options.optim, use_cpu=True, report_to="none"
        )
        Trainer.get_optimizer_cls_and_kwargs(arguments)
    except (ValueError, ImportError, RuntimeError) as error:
        raise RequestError(
            _first_line(error),
            where="optim",
            remedy="use adamw_torch, or another name of theirs",
        ) from None
    if options.report_to == "none":
        return
    try:
        for callback in get_reporting_integration_callbacks([options.report_to]):
            callback()
    except (ValueError, ImportError, RuntimeError) as error:
        raise RequestError(
            _first_line(error), where="report_to", remedy="install it, or use report_to=none"
        ) from None


def check_records(
    forget: Sequence[Encoded], retain: Sequence[Encoded], records: Sequence[Record]
) -> None:
    """Refuse records that cannot be scored.

    Args:
        forget: Encoded forget records.
        retain: Encoded retain records.
        records: The forget records followed by the retain records.
    """
    size = processes.world()[1]
    if len(forget) < size:
        raise RequestError(
            f"{len(forget)} records to forget are fewer than {size} processes",
            where="forget",
            remedy="start fewer processes",
        )
    for encoded, record in zip([*forget, *retain], records, strict=True):
        # Nothing predicts the first token of a sequence.
        if len(encoded.prompt_ids) + len(encoded.answer_ids) < 2:
            raise DataError(
                "there is no token that could be scored: one token and nothing before it",
                where=record.source or record.id,
                remedy="remove the row, or give it a prompt",
            )


def check_model(
    objective: Objective, options: TrainOptions, model: AnswerModel, forget: Sequence[Encoded]
) -> None:
    """Refuse what this model cannot do."""
    for term in (objective.forget, objective.retain):
        layer = term.needs.hidden_layer if term is not None else None
        if layer is not None and not 0 <= layer < len(model.layers()):
            raise RequestError(
                f"layer {layer} does not exist: the model has layers 0 to "
                f"{len(model.layers()) - 1}",
                where="layer",
                remedy="choose one of them, for example with --set layer=1",
            )
    if isinstance(objective.forget, BSS | Transplant):
        decoding = decoding_of(objective.forget, options.seed)
        check_prompts(model.inner, [e.prompt_ids for e in forget], decoding)
    supported = getattr(model.inner, "supports_gradient_checkpointing", False)
    if options.gradient_checkpointing and not supported:
        raise RequestError(
            f"{type(model.inner).__name__} cannot recompute activations",
            where="gradient_checkpointing",
            remedy="leave it off and use smaller batches",
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def check_finite(model: nn.Module) -> None:
    """Refuse a trained model with a weight that is no number.

    Raises:
        GuardError: There is one.
    """
    bad = [n for n, p in model.named_parameters() if not torch.isfinite(p).all()]
    found = [name for part in processes.gather(bad) for name in part]
    if found:
        raise GuardError(
            f"{found[0]} is not finite after training", remedy="lower learning_rate and start anew"
        )
