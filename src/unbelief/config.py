"""One schema for the command line, YAML files and what is recorded.

Fields that exist in Transformers' `TrainingArguments` have the same names. Flags beat the file,
the file beats the method's preset, and the resolved configuration is what a run records.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from unbelief.errors import RequestError
from unbelief.train.options import TrainOptions


class RunConfig(TrainOptions):
    """A request to unlearn."""

    model: str = Field(description="model folder, hub id or adapter folder")
    forget: str = Field(description="records to forget: file, folder or hub id")
    retain: str | None = Field(None, description="records to keep, likewise")
    method: str = Field("bs-s", description="see `unbelief methods`")
    options: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="the method's own options, see `unbelief methods NAME`"
    )
    lora: str | None = Field(None, description="train an adapter, for example r=16,alpha=32")
    merge: bool = Field(True, description="merge the adapter into the weights at the end")
    columns: dict[str, str] = Field(default_factory=dict, description="field to data column")
    template: Literal["auto", "chat", "plain"] = "auto"
    system_prompt: str | None = None
    end_token: bool = Field(True, description="the end token is forgotten and kept like any other")
    max_length: int | None = Field(None, ge=2, description="longest prompt plus answer, in tokens")
    beliefs: str | None = Field(None, description="a belief bank to use instead of sampling one")
    dtype: Literal["float32", "bfloat16", "float64"] = Field(
        "float32", description="dtype of the weights; pure bfloat16 loses most small updates"
    )
    device: str = "auto"
    revision: str | None = None
    trust_remote_code: bool = False

    def train_options(self) -> TrainOptions:
        """The part the trainer takes."""
        return TrainOptions(**{name: getattr(self, name) for name in TrainOptions.model_fields})


def resolve(
    flags: Mapping[str, Any], settings: Mapping[str, str], file: Path | None = None
) -> RunConfig:
    """Put a configuration together.

    Args:
        flags: Values given as flags; None means not given.
        settings: `--set key=value`: fields of this schema, everything else goes to the method.
            `retain` is the method's retain term here; retain data has its own flag.
        file: YAML file with fields of this schema.

    Raises:
        RequestError: An unknown field, or a value out of range; says which and where.
    """
    values, origin = read_yaml(file) if file is not None else ({}, {})
    given = {name: value for name, value in flags.items() if value is not None}
    values |= given
    origin |= {name: "--" + name.replace("_", "-") for name in given}
    nested = {name: _mapping(values, name, origin) for name in _NESTED}
    for name, value in settings.items():
        key = f"--set {name}"
        if name in _NESTED:
            raise RequestError(
                f"{name} is not one value", where=key, remedy=f"for example {_NESTED[name]}"
            )
        if name in RunConfig.model_fields and name != "retain":
            if name in given:
                raise RequestError(
                    f"{name} is given twice, by {origin[name]} and by {key}",
                    where=key,
                    remedy="give it once",
                )
            values[name], origin[name] = value, key
        elif name.startswith("columns."):
            nested["columns"][name.removeprefix("columns.")] = value
        else:
            nested["options"][name] = value
    try:
        return RunConfig.model_validate({**values, **nested})
    except ValidationError as error:
        raise _plain(error, origin) from None


_NESTED = {"options": "--set top_k=20", "columns": "--set columns.prompt=question"}


def _mapping(values: Mapping[str, Any], name: str, origin: Mapping[str, str]) -> dict[str, Any]:
    value = values.get(name) or {}
    if not isinstance(value, dict):
        raise RequestError(
            f"{name} is not a mapping of names to values",
            where=origin.get(name, name),
            remedy=f"indent its entries below `{name}:`",
        )
    return dict(value)


def read_yaml(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Values of a YAML file, and the `file:line` each name comes from.

    Raises:
        RequestError: It cannot be read, is no mapping, or gives a name twice.
    """
    import yaml

    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RequestError(
            f"cannot read the configuration: {reason}",
            where=str(file),
            remedy="name a YAML file in UTF-8",
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        reason = getattr(error, "problem", None) or "unreadable"
        raise RequestError(
            f"the configuration is not valid YAML: {reason}", where=where, remedy="mend the line"
        ) from None
    if node is None:
        return {}, {}
    if not isinstance(node, yaml.MappingNode):
        raise RequestError(
            "the configuration is not a mapping of names to values",
            where=f"{file}:{node.start_mark.line + 1}",
            remedy="write lines such as `learning_rate: 1e-5`",
        )
    lines = _lines(node, file, "")
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {k: _number(v) for k, v in values.items()}, lines


def _lines(node: Any, file: Path, prefix: str) -> dict[str, str]:
    """Where every name is given; nested ones are dotted."""
    out: dict[str, str] = {}
    for key, value in node.value:
        where = f"{file}:{key.start_mark.line + 1}"
        name = f"{prefix}{key.value}"
        if not isinstance(key.value, str) or key.tag != "tag:yaml.org,2002:str":
            raise RequestError("a name is not text", where=where, remedy="write `name: value`")
        if name in out:
            raise RequestError(
                f"{name} is given twice, here and at {out[name]}",
                where=where,
                remedy="give it once",
            )
        out[name] = where
        if hasattr(value, "value") and value.id == "mapping":
            out |= _lines(value, file, f"{name}.")
    return out


def _number(value: Any) -> Any:
    # YAML 1.1 reads 1e-5 as text; people mean the number.
    if isinstance(value, str):
        try:
            return float(value) if "e" in value.lower() and value[:1] in "0123456789.-+" else value
        except ValueError:
            return value
    return value


def _plain(error: ValidationError, origin: Mapping[str, str]) -> RequestError:
    # An unknown name says more than what is missing: it may be the missing one, misspelt.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    path = [str(part) for part in first["loc"]][:2]  # below options, every kind is tried in turn
    name = path[0] if path else "configuration"
    where = origin.get(".".join(path), origin.get(name, name))
    if first["type"] == "missing":
        flag = "--" + name.replace("_", "-")
        return RequestError(f"{flag} is missing", where=name, remedy=f"give {flag}")
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, RunConfig.model_fields, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        known = ", ".join(sorted(RunConfig.model_fields))
        return RequestError(
            f"unknown field {name!r}",
            where=where,
            remedy=f"{hint}known: {known}; options of the method go below `options:`",
        )
    got = first.get("input")
    return RequestError(
        f"{'.'.join(path)}={got!r}: {first['msg'][0].lower()}{first['msg'][1:]}",
        where=where,
        remedy=RunConfig.model_fields[name].description or "give a value of that kind",
    )
