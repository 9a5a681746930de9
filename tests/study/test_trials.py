from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from unbelief.errors import RequestError
from unbelief.study import storage, trials
from unbelief.study.storage import open_storage, optuna, this_machine

# Claims trials until there are none; each takes a moment, so that processes meet.
WORKER = """
import random, sys, time
from unbelief.study import trials
from unbelief.study.storage import open_storage, optuna, patiently
storage, budget, ran = open_storage(sys.argv[1]), int(sys.argv[2]), 0
make = optuna().create_study
study = patiently(lambda: make(study_name="s", storage=storage, load_if_exists=True))
while (trial := trials.claim(study, budget)) is not None:
    x = patiently(lambda: trial.suggest_float("x", 0, 1))
    time.sleep(random.random() / 50)
    patiently(lambda: study.tell(trial, x))
    ran += 1
print(ran)
"""


def study_in(path: Path | str):
    opened = open_storage(str(path))
    return optuna().create_study(study_name="s", storage=opened, load_if_exists=True)


@pytest.fixture
def database():
    """URL of an empty PostgreSQL database on a server of its own, which listens on a file only."""
    pytest.importorskip("psycopg", reason="needs the extra unbelief[postgres]")
    tools = {name: shutil.which(name) for name in ("initdb", "pg_ctl")}
    if None in tools.values():
        pytest.skip("needs PostgreSQL's initdb and pg_ctl")
    # The server refuses to run as root; the path of its socket may have a hundred letters.
    with tempfile.TemporaryDirectory(prefix="unbelief-pg-", dir="/tmp") as folder:
        become = []
        if os.geteuid() == 0:
            if shutil.which("runuser") is None or not _has_user("postgres"):
                pytest.skip("needs a user `postgres` to run a server as")
            become = ["runuser", "-u", "postgres", "--"]
            shutil.chown(folder, "postgres")

        def call(*command: str) -> None:
            subprocess.run([*become, *command], check=True, cwd=folder, stdout=subprocess.DEVNULL)

        data = f"{folder}/data"
        call(tools["initdb"], "-D", data, "-U", "postgres", "-A", "trust", "--no-sync")
        options = f"-c listen_addresses= -k {folder} -F"
        call(tools["pg_ctl"], "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start")
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            call(tools["pg_ctl"], "-D", data, "-m", "immediate", "-w", "stop")


def _has_user(name: str) -> bool:
    import pwd

    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@pytest.mark.parametrize("kind", ["search.db", "search.log", "postgresql"])
def test_two_processes_share_one_budget_and_do_not_overshoot(tmp_path, kind, request):
    server = kind == "postgresql"
    where = request.getfixturevalue("database") if server else str(tmp_path / kind)
    command = [sys.executable, "-W", "error", "-c", WORKER, where, "11"]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ran = []
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        ran.append(int(out))
    study = study_in(where)
    assert sum(ran) == 11 == len(trials.finished(study))
    assert trials.claim(study, 11) is None


def test_a_number_too_many_is_given_back(tmp_path, monkeypatch):
    study = study_in(tmp_path / "s.db")
    ask = study.ask

    def ask_after_another(*arguments):
        ask()  # another process takes the last place between our look and our question
        return ask(*arguments)

    monkeypatch.setattr(study, "ask", ask_after_another)
    assert trials.claim(study, 1) is None
    states = [t.state.name for t in study.get_trials()]
    assert states == ["RUNNING", "FAIL"]  # ours does not count, the other's does
    assert len(trials.counted(study)) == 1


def test_what_a_dead_process_left_is_run_again(tmp_path):
    study = study_in(tmp_path / "s.db")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = study.ask()
    left.set_user_attr("machine", this_machine())
    left.set_user_attr("process", gone.pid)
    again = trials.claim(study, 1)
    assert again is not None and again.number == 1
    assert study.get_trials()[0].state.name == "FAIL"


def test_what_a_living_process_does_is_left_alone(tmp_path):
    study = study_in(tmp_path / "s.db")
    mine = trials.claim(study, 2)
    assert mine is not None
    assert study.get_trials()[0].user_attrs["process"] == os.getpid()
    assert trials.release_stale(study, now=10e9) == 0  # it is alive, however long it takes


def test_another_machine_is_waited_for_but_not_for_ever(tmp_path):
    study = study_in(tmp_path / "s.db")
    trial = study.ask()
    trial.set_user_attr("machine", "elsewhere")
    trial.set_user_attr("process", 1)
    trial.set_user_attr("heard", 1000.0)
    assert trials.release_stale(study, now=1000.0 + trials.STALE_SECONDS - 1) == 0
    assert trials.release_stale(study, now=1000.0 + trials.STALE_SECONDS + 1) == 1


def test_a_storage_that_cannot_be_reached_is_told_without_its_password(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(RequestError, match="--storage"):
        open_storage(str(file / "inside.db"))
    with pytest.raises(RequestError) as caught:
        open_storage("postgresql://me:secret@nowhere.invalid/db")
    assert "secret" not in str(caught.value)


def test_postgresql_goes_on_where_a_dead_process_stopped(database):
    study = study_in(database)
    for value in (0.25, 0.75):
        trial = trials.claim(study, 3)
        trial.suggest_float("x", value, value)
        study.tell(trial, value)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = study.ask()
    left.set_user_attr("machine", this_machine())
    left.set_user_attr("process", gone.pid)
    again = study_in(database)  # as another process finds it
    assert trials.claim(again, 3).number == 3
    assert [t.value for t in trials.finished(again)] == [0.25, 0.75]
    assert [t.state.name for t in again.get_trials()][2:] == ["FAIL", "RUNNING"]


def test_a_postgresql_url_gets_the_driver_that_is_there(monkeypatch):
    there = {"psycopg2"}
    monkeypatch.setattr(
        storage.importlib.util, "find_spec", lambda name: name if name in there else None
    )
    url = "postgresql://me:secret@host/db"
    assert storage._with_driver(url) == "postgresql+psycopg2://me:secret@host/db"
    there.add("psycopg")
    assert storage._with_driver(url) == "postgresql+psycopg://me:secret@host/db"
    assert storage._with_driver("postgresql+pg8000://host/db") == "postgresql+pg8000://host/db"
    assert storage._with_driver("study.db") == "study.db"
    there.clear()
    with pytest.raises(RequestError, match=r"unbelief\[postgres\]"):
        storage._with_driver(url)


def test_a_missing_optuna_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(RequestError, match=r"unbelief\[study\]"):
        optuna()
