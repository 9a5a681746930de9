"""Where a model comes from, and plain words for everything that can be wrong there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unbelief.errors import RequestError
from unbelief.provenance import weight_files


def local_folder(source: str | Path) -> Path | None:
    """Return the folder that `source` names, or None for a hub id."""
    path = Path(source).expanduser()
    if path.is_dir() and str(source):
        return path.absolute()
    if path.is_file():
        raise RequestError(f"{source} is a file", remedy="name the folder that holds the model")
    text = str(source)
    looks_local = isinstance(source, Path) or text.startswith((".", "/", "~", "\\"))
    if looks_local or text.endswith(("/", "\\")) or text.count("/") > 1 or not text:
        raise RequestError(
            f"no such model folder: {source or '(empty)'}",
            remedy="check the path; a hub id has the form organisation/name",
        )
    return None


def check_model_folder(folder: Path) -> None:
    """Raise `RequestError` unless the folder holds a config and one set of safetensors weights."""
    if not (folder / "config.json").is_file():
        holds = sorted(p.name for p in folder.iterdir())[:6]
        raise RequestError(
            f"{folder} has no config.json (it holds {', '.join(holds) or 'nothing'})",
            remedy="name the folder that holds config.json and *.safetensors",
        )
    weight_files(folder)


@contextmanager
def plain_errors(location: str, revision: str | None) -> Iterator[None]:
    """Say in plain words what `from_pretrained` reports in many ways."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError) as error:
        text = str(error)
        at = f" at revision {revision}" if revision else ""
        message, remedy = f"{location}{at} cannot be loaded: {first_line(error)}", ""
        if "trust_remote_code" in text:
            message = f"{location} needs Python code that comes with it"
            remedy = "read that code; then allow it with trust_remote_code"
        elif "no file named" in text or "does not appear to have" in text:
            remedy = "only safetensors weights are read; convert the model once where you trust it"
        elif "onnect to" in text or "offline" in text:
            message = f"{location}{at} is not a folder here, and the hub cannot be reached"
            remedy = "check the path, or fetch it where there is a network: hf download ID"
        elif isinstance(error, OSError):
            remedy = "check the id and revision on https://huggingface.co; `hf auth login` if gated"
        else:
            remedy = (
                "only causal language models that the installed transformers knows can be loaded"
            )
        raise RequestError(message, remedy=remedy) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message: the rest is for developers."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def base_of_adapter(named: str | None, folder: Path) -> str:
    """Resolve the base model an adapter names; a relative path may be relative to the adapter."""
    if not named:
        raise RequestError(
            f"the adapter in {folder} does not say which model it belongs to",
            remedy="set base_model_name_or_path in its adapter_config.json",
        )
    if not Path(named).is_dir() and (folder / named).is_dir():
        return str((folder / named).resolve())
    return named


def cache_folder(hub_id: str, revision: str | None) -> Path:
    """Return the folder of the local hub cache that a model was just loaded from."""
    from transformers.utils import cached_file

    config = cached_file(hub_id, "config.json", revision=revision or "main")
    assert config is not None  # it was read a moment ago
    return Path(config).parent


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide the load reports of Transformers, and its progress bars unless a person is watching."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
