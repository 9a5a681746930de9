from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from unbelief import outputs
from unbelief.errors import RequestError
from unbelief.outputs import atomic_folder, atomic_write, check_destination


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def make_folder(path: Path, content: str = "old") -> Path:
    path.mkdir(parents=True)
    (path / "file").write_text(content)
    return path


def test_folder_appears_complete_and_alone(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "deep" / "out") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text("new")
        assert not (tmp_path / "deep" / "out").exists()
    assert (tmp_path / "deep/out/sub/file").read_text() == "new"
    assert names(tmp_path / "deep") == ["out"]


def test_error_in_the_block_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("half")
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_kill_in_the_middle_leaves_no_destination(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from unbelief.outputs import atomic_folder\n"
        "with atomic_folder(sys.argv[1]) as folder:\n"
        "    (folder / 'file').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")])
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert [name.startswith(".out.partial-") for name in names(tmp_path)] == [True]
    with atomic_folder(tmp_path / "out") as folder:  # and the same command works again
        (folder / "file").write_text("whole")
    assert (tmp_path / "out/file").read_text() == "whole"


def test_existing_destination_is_refused_before_any_work(tmp_path: Path) -> None:
    make_folder(tmp_path / "out")
    exists = pytest.raises(RequestError, match="exists already")
    with exists as caught, atomic_folder(tmp_path / "out"):
        pytest.fail("the block must not run")
    assert caught.value.remedy is not None and "--overwrite" in caught.value.remedy
    assert (tmp_path / "out/file").read_text() == "old"


def test_empty_folder_counts_as_absent(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("new")
    assert names(tmp_path / "out") == ["file"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_overwrite_replaces_the_whole_folder_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(outputs, "_exchange", lambda first, second: False)
    old = make_folder(tmp_path / "out")
    (old / "stale").write_text("must not survive")
    with atomic_folder(old, overwrite=True) as folder:
        (folder / "file").write_text("new")
        assert (old / "file").read_text() == "old"  # kept until the new one is complete
    assert names(tmp_path) == ["out"]
    assert names(old) == ["file"]
    assert (old / "file").read_text() == "new"


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is Linux's")
def test_exchange_swaps_two_folders_in_one_step(tmp_path: Path) -> None:
    a, b = make_folder(tmp_path / "a", "a"), make_folder(tmp_path / "b", "b")
    assert outputs._exchange(a, b)
    assert (a / "file").read_text() == "b"
    assert (b / "file").read_text() == "a"
    assert not outputs._exchange(a, tmp_path / "absent")


def test_failed_replacement_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, fresh = make_folder(tmp_path / "out"), make_folder(tmp_path / "fresh", "new")
    monkeypatch.setattr(outputs, "_exchange", lambda first, second: False)
    rename, calls = os.rename, []

    def second_call_fails(source: object, target: object) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError("disk")
        rename(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "rename", second_call_fails)
    with pytest.raises(OSError, match="disk"):
        outputs._put_in_place(fresh, old)
    assert (old / "file").read_text() == "old"


def test_finished_work_is_kept_when_somebody_took_the_destination(tmp_path: Path) -> None:
    exists = pytest.raises(RequestError, match="exists already")
    with exists as caught, atomic_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("hours of work")
        make_folder(tmp_path / "out", "somebody else's")
    assert (tmp_path / "out/file").read_text() == "somebody else's"
    kept = next(p for p in tmp_path.iterdir() if p.name.startswith(".out.partial-"))
    assert str(kept) in str(caught.value)
    assert (kept / "file").read_text() == "hours of work"


def test_precious_folders_are_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path / "work" / "inner")
    monkeypatch.chdir(tmp_path / "work" / "inner")
    for folder in (tmp_path / "work" / "inner", tmp_path / "work", tmp_path):
        with pytest.raises(RequestError, match="never replaced"):
            check_destination(folder, overwrite=True)
    make_folder(tmp_path / "work/checkout/.git")
    with pytest.raises(RequestError, match="Git checkout"):
        check_destination(tmp_path / "work" / "checkout", overwrite=True)


def test_links_and_files_in_the_way_are_refused(tmp_path: Path) -> None:
    make_folder(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(RequestError, match="symbolic link"):
        check_destination(tmp_path / "link", overwrite=True)
    with pytest.raises(RequestError, match="is a file"):
        check_destination(tmp_path / "real/file/out")
    with (
        pytest.raises(RequestError, match="is a file"),
        atomic_folder(tmp_path / "real/file", True),
    ):
        pytest.fail("the block must not run")


def test_atomic_write_replaces_and_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "deep" / "file.json"
    assert atomic_write(target, "é") == target
    assert target.read_bytes() == "é".encode()
    atomic_write(target, b"\x00\x01")
    assert target.read_bytes() == b"\x00\x01"

    def fails(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="disk full"):
        atomic_write(target, "half")
    assert target.read_bytes() == b"\x00\x01"
    assert names(tmp_path / "deep") == ["file.json"]
    with pytest.raises(RequestError, match="is a folder"):
        atomic_write(tmp_path, "text")
