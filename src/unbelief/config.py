"""One schema for the command line, YAML files and what is recorded.

Fields that exist in Transformers' `TrainingArguments` have the same names. Flags beat the file,
the file beats the method's preset, and the resolved configuration is what a run records.
"""

from __future__ import annotations

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
        file: YAML file with fields of this schema.

    Raises:
        RequestError: An unknown field, or a value out of range; says which and where.
    """
    values: dict[str, Any] = _read(file) if file is not None else {}
    origin = {name: f"{file}: {name}" for name in values}
    given = {name: value for name, value in flags.items() if value is not None}
    values |= given
    origin |= {name: "--" + name.replace("_", "-") for name in given}
    options = dict(values.get("options") or {})
    for name, value in settings.items():
        if name in RunConfig.model_fields and name not in ("options", "columns"):
            values[name] = value
        elif name.startswith("columns."):
            values.setdefault("columns", {})[name.removeprefix("columns.")] = value
        else:
            options[name] = value
        origin[name] = f"--set {name}"
    values["options"] = options
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise _plain(error, origin) from None


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"cannot read the configuration: {error}",
            where=str(file),
            remedy="name a YAML file in UTF-8",
        ) from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        raise RequestError(
            "the configuration is not valid YAML", where=where, remedy="mend the line"
        ) from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(k, str) for k in values):
        raise RequestError(
            "the configuration is not a mapping of names to values",
            where=f"{file}:1",
            remedy="write lines such as `learning_rate: 1e-5`",
        )
    return {k: _number(v) for k, v in values.items()}


def _number(value: Any) -> Any:
    # YAML 1.1 reads 1e-5 as text; people mean the number.
    if isinstance(value, str):
        try:
            return float(value) if "e" in value.lower() and value[:1] in "0123456789.-+" else value
        except ValueError:
            return value
    return value


def _plain(error: ValidationError, origin: Mapping[str, str]) -> RequestError:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else "configuration"
    where = origin.get(name, name)
    if first["type"] == "missing":
        flag = "--" + name.replace("_", "-")
        return RequestError(f"{flag} is missing", where=name, remedy=f"give {flag}")
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(RunConfig.model_fields))
        return RequestError(f"unknown field {name!r}", where=where, remedy=f"known: {known}")
    got = first.get("input")
    return RequestError(
        f"{name}={got!r}: {first['msg'][0].lower()}{first['msg'][1:]}",
        where=where,
        remedy=RunConfig.model_fields[name].description or "give a value of that kind",
    )
