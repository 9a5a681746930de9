"""Trap: `accelerate launch --cpu --num_processes 2` runs one process and says nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys, torch
from accelerate import PartialState
state = PartialState(cpu=True)
total = torch.tensor([1.0])
if state.num_processes > 1:
    torch.distributed.all_reduce(total)
    torch.distributed.destroy_process_group()
open(f"{sys.argv[1]}.{state.process_index}", "w").write(f"{state.num_processes} {total.item()}")
"""


def launch(command: list[str], tmp_path: Path) -> list[str]:
    """What the processes wrote: number of processes, and the sum of a one from each."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", *command, str(script), str(tmp_path / "out")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [p.read_text() for p in sorted(tmp_path.glob("out.*"))]


@pytest.mark.slow
def test_accelerate_launch_on_a_cpu_is_one_process(tmp_path: Path) -> None:
    command = ["accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    assert launch(command, tmp_path) == ["1 1.0"]


@pytest.mark.slow
def test_torchrun_on_a_cpu_is_as_many_as_asked(tmp_path: Path) -> None:
    command = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    assert launch(command, tmp_path) == ["2 2.0", "2 2.0"]
