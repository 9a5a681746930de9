"""Which model is asked, and how: loading it, and the encoder a convention prescribes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbelief.errors import RequestError
from unbelief.evaluate.open_unlearning import CONVENTION
from unbelief.evaluate.request import Evaluation
from unbelief.suites.base import ItemSets, SuiteKind
from unbelief.tokens import Encoder
from unbelief.types import Record

if TYPE_CHECKING:
    from unbelief.models.load import LoadedModel


def load(request: Evaluation, source: str | Path | LoadedModel) -> LoadedModel:
    """The model of an evaluation, or another one under the same options.

    Raises:
        RequestError: It cannot be loaded.
    """
    from unbelief.models.load import LoadedModel, load_model

    if isinstance(source, LoadedModel):
        return source
    return load_model(
        source,
        dtype=request.dtype,
        device=request.device,
        revision=request.revision if source is request.model else None,
        trust_remote_code=request.trust_remote_code,
    )


def check_source(source: str | Path | LoadedModel | None) -> None:
    """Refuse a folder that holds no model, without loading it.

    Raises:
        RequestError: There is no such folder, or no model in it.
    """
    from unbelief.models.source import check_model_folder, local_folder

    if source is None or not isinstance(source, str | Path):
        return
    folder = local_folder(source)
    if folder is not None and not (folder / "adapter_config.json").is_file():
        check_model_folder(folder)


def about(loaded: LoadedModel) -> dict[str, Any]:
    """What is recorded of a model."""
    return {
        "source": loaded.source,
        "revision": loaded.revision,
        "weights_sha256": loaded.weights_sha256,
        "dtype": loaded.dtype,
        "is_adapter": loaded.is_adapter,
    }


def recorded(request: Evaluation) -> dict[str, Any]:
    """The request as it is recorded: plain values."""
    values = {f.name: getattr(request, f.name) for f in fields(request)}
    values["model"] = getattr(request.model, "source", request.model)
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def make_encoder(request: Evaluation, kind: SuiteKind, loaded: LoadedModel) -> Encoder:
    """The encoder of an evaluation.

    Raises:
        RequestError: Options that do not go together, or that the tokenizer cannot serve.
    """
    template: str = request.template
    if template == "auto":
        template = kind.template
    if request.convention == CONVENTION:
        return _as_open_unlearning(request, template, loaded)
    for name, given in (("date_string", request.date_string), ("template", template)):
        if given is not None and (
            name == "date_string" or template not in ("auto", "chat", "plain")
        ):
            raise RequestError(
                f"--{name.replace('_', '-')} {given} belongs to the convention {CONVENTION}",
                where=f"--{name.replace('_', '-')}",
                remedy=f"leave it out, or give --convention {CONVENTION}",
            )
    return Encoder(
        loaded.tokenizer,
        template=template,  # type: ignore[arg-type]  # one of the three, checked above
        system_prompt=request.system_prompt,
        end_token=request.end_token,
        max_length=request.max_length or _context(loaded),
    )


def _as_open_unlearning(request: Evaluation, template: str, loaded: LoadedModel) -> Encoder:
    from unbelief.tokens.open_unlearning import (
        BASE_MODEL,
        LLAMA2_CHAT,
        OpenUnlearningEncoder,
    )

    if not request.end_token:
        raise RequestError(
            f"the convention {CONVENTION} decides by itself about end tokens",
            where="--no-end-token",
            remedy="leave it out",
        )
    tags = {"llama2-chat": LLAMA2_CHAT, "base-model": BASE_MODEL}.get(template)
    style: Any = "tags" if tags else template
    return OpenUnlearningEncoder(
        loaded.tokenizer,
        style=style,
        system_prompt=request.system_prompt,
        date_string=request.date_string,
        tags=tags,
        max_length=request.max_length,
        stop_ids=_own_stops(loaded),
        repetition_penalty=getattr(loaded.model.generation_config, "repetition_penalty", 1.0)
        or 1.0,
    )


def _own_stops(loaded: LoadedModel) -> list[int] | None:
    """What ends the model's generations by its own settings; None where it has no settings."""
    if loaded.model.generation_config is None:
        return None
    ends = loaded.model.generation_config.eos_token_id
    return ends if isinstance(ends, list) else [] if ends is None else [ends]


def _context(loaded: LoadedModel) -> int | None:
    """The longest sequence the model is made for, where it says so."""
    config = loaded.model.config.get_text_config()
    return getattr(config, "max_position_embeddings", None)


def cut_answers(items: ItemSets, encoder: Encoder) -> ItemSets:
    """Cut the answers, or the rows, of the sets that ask for it to their first tokens."""

    def cut(record: Record, tokens: int) -> Record:
        # As MUSE cuts its truth: the tokens that the tokenizer adds by itself count.
        ids = encoder.tokenizer(record.answer)["input_ids"]
        return (
            record if len(ids) <= tokens else replace(record, answer=encoder.decode(ids[:tokens]))
        )

    sets = {
        name: tuple(cut(record, items.answer_tokens[name]) for record in records)
        if name in items.answer_tokens
        else tuple(_cut_row(record, items.row_tokens.get(name), encoder) for record in records)
        for name, records in items.sets.items()
    }
    return replace(items, sets=sets)


def _cut_row(record: Record, tokens: int | None, encoder: Encoder) -> Record:
    """Prompt and answer of at most so many tokens together: a longer prompt has no answer left."""
    tokenizer = encoder.tokenizer
    prompt, whole = str(record.prompt), f"{record.prompt}{record.answer}"
    if tokens is None or len(tokenizer(whole)["input_ids"]) <= tokens:
        return record

    def kept(text: str) -> str:
        return encoder.decode(tokenizer(text, truncation=True, max_length=tokens)["input_ids"])

    if len(tokenizer(prompt)["input_ids"]) > tokens:
        return replace(record, prompt=kept(prompt), answer="")
    return replace(record, answer=kept(whole).replace(kept(prompt), ""))
