"""Checkpoints: what is trained, the optimiser and the random state, whole or ignored.

A checkpoint holds trained parameters only. Frozen ones are those of the original, whose digest is
part of the request a run resumes with. A folder counts once it carries the mark that is written
last, after everything in it has reached the disk; a killed process leaves unmarked ones behind.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from unbelief.errors import GuardError, Interrupted

COMPLETE = "COMPLETE"
"""Marks a checkpoint folder that was written to its end."""

_WEIGHTS = "trained.safetensors"


def step_of(checkpoint: Path) -> int:
    """Optimiser steps a checkpoint was made after."""
    return int(checkpoint.name.rpartition("-")[2])


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end."""
    found = [p.parent for p in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return max(found, key=step_of, default=None)


def mark_complete(checkpoint: Path) -> None:
    """Declare a checkpoint whole, once its files are on the disk."""
    for file in checkpoint.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    (checkpoint / COMPLETE).touch()


def discard(checkpoint: Path) -> None:
    """Remove a checkpoint; it stops counting first, so that half of it is never used."""
    (checkpoint / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


def discard_incomplete(folder: Path) -> None:
    """Remove what a killed process left half written."""
    for checkpoint in folder.glob("checkpoint-*"):
        if not (checkpoint / COMPLETE).exists():
            discard(checkpoint)


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that train, each once, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def save_weights(model: nn.Module, checkpoint: Path) -> None:
    """Write the trained parameters."""
    checkpoint.mkdir(parents=True, exist_ok=True)
    tensors = {n: p.detach().cpu().contiguous() for n, p in trained_parameters(model).items()}
    save_file(tensors, checkpoint / _WEIGHTS)


def load_weights(model: nn.Module, checkpoint: Path) -> None:
    """Put the trained parameters back into the model they came from."""
    stored, own = load_file(checkpoint / _WEIGHTS), trained_parameters(model)
    if stored.keys() != own.keys():
        raise ValueError(f"{checkpoint} holds other parameters than those that train")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(stored[name])


@contextmanager
def naming_checkpoints(folder: Path) -> Iterator[None]:
    """Tell where the last good checkpoint is when a guard stops the run."""
    try:
        yield
    except GuardError as error:
        last = last_complete_checkpoint(folder)
        kept = f"the last good checkpoint is {last}" if last else "no checkpoint had been saved yet"
        raise GuardError(f"{error.message}; {kept}", remedy=error.remedy) from error
    except KeyboardInterrupt:
        raise Interrupted("stopped", remedy="the same command resumes") from None
