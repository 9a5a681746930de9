"""Which torch the installer chooses, with a stand-in for Python that records what pip is asked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PYTHON = """#!/bin/sh
case "$*" in
  *--dry-run*) printf '%s' "$PLAN" ;;
  *torch.version.cuda*) echo "$CUDA" ;;
  *torch.__version__*) echo 2.13.0 ;;
  *) echo "$*" >>"$CALLS" ;;
esac
"""
PULLS_CUDA = '{"install": [{"metadata": {"name": "nvidia-cublas"}}]}'
PULLS_NONE = '{"install": [{"metadata": {"name": "torch", "requires_dist": ["nvidia-cublas"]}}]}'


def install(
    tmp_path: Path, *, gpu: bool, plan: str, cuda: str = "None", index: str = ""
) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run the installer; return what became of it and pip's first real call."""
    fakes = tmp_path / "fakes"
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    fakes.mkdir()
    for path, text in (
        (tmp_path / "venv/bin/python", PYTHON),
        (fakes / "nvidia-smi", f"#!/bin/sh\nexit {0 if gpu else 9}\n"),
    ):
        path.write_text(text)
        path.chmod(0o755)
    environment = {
        "PATH": f"{fakes}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "PLAN": plan,
        "CUDA": cuda,
        "TORCH_INDEX": index,
    }
    done = subprocess.run(
        [ROOT / ".ci" / "install", tmp_path / "venv"],
        env=environment,
        capture_output=True,
        text=True,
    )
    return done, (tmp_path / "calls").read_text().splitlines()[0]


def test_cpu_build_of_the_configured_index_is_taken_as_it_is(tmp_path: Path) -> None:
    done, call = install(tmp_path, gpu=False, plan=PULLS_NONE)
    assert done.returncode == 0, done.stderr
    assert call == "-m pip install --quiet torch==2.13.0"  # no other index is contacted


def test_cuda_packages_are_avoided_without_a_gpu(tmp_path: Path) -> None:
    done, call = install(tmp_path, gpu=False, plan=PULLS_CUDA)
    assert done.returncode == 0, done.stderr
    assert call == f"-m pip install --quiet --extra-index-url {CPU_INDEX} torch==2.13.0"


def test_with_a_gpu_the_default_build_is_taken(tmp_path: Path) -> None:
    done, call = install(tmp_path, gpu=True, plan=PULLS_CUDA, cuda="13.0")
    assert done.returncode == 0, done.stderr
    assert call == "-m pip install --quiet torch==2.13.0"


@pytest.mark.parametrize("gpu", [True, False])
def test_an_index_that_is_named_is_used(tmp_path: Path, gpu: bool) -> None:
    _, call = install(tmp_path, gpu=gpu, plan=PULLS_CUDA, index="https://example.org/simple")
    assert (
        call == "-m pip install --quiet --extra-index-url https://example.org/simple torch==2.13.0"
    )


def test_a_cuda_build_without_a_gpu_stops_with_a_remedy(tmp_path: Path) -> None:
    done, _ = install(tmp_path, gpu=False, plan=PULLS_NONE, cuda="13.0")
    assert done.returncode == 2
    assert f"make TORCH_INDEX={CPU_INDEX}" in done.stderr
