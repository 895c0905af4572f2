"""Where tasks are done: what is said if there is no such place, and what happens when a worker is lost."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commandline import fail

from pneumocli.core import workers as workers_module
from pneumocli.core.errors import PneumoError, SettingError
from pneumocli.core.hardware import read_threads
from pneumocli.core.progress import Listener, keep_quiet
from pneumocli.core.workers import TRIES, Backend, Workers, gathering


def double(number: int, listen: Listener) -> int:
    return 2 * number


def die_once(folder: Path, listen: Listener) -> int:
    try:
        (folder / "begun").touch(exist_ok=False)
    except FileExistsError:
        return os.getpid()
    os._exit(9)


def die_always(folder: Path, listen: Listener) -> int:
    (folder / str(os.getpid())).touch()
    os._exit(9)


def refuse(number: int, listen: Listener) -> int:
    if number == 2:
        raise PneumoError("2 is refused")
    return number


def test_results_come_in_the_order_of_the_tasks() -> None:
    with gathering(Backend.LOCAL) as workers:
        assert workers.do(double, [3, 1, 2], 2, True, keep_quiet) == [6, 2, 4]
        with pytest.raises(PneumoError, match=r"^2 is refused$"):
            workers.do(refuse, [1, 2, 3], 2, True, keep_quiet)


def look_around(number: int, listen: Listener) -> tuple[bool, int | None]:
    return "keras" in sys.modules, read_threads()


@pytest.mark.parametrize("needs_keras", [True, False])
def test_keras_is_loaded_where_it_is_needed_and_the_cores_are_shared(
    needs_keras: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "count_cores", lambda: 6)
    with gathering(Backend.LOCAL) as workers:
        seen = workers.do(look_around, [1, 2], 2, False, keep_quiet, needs_keras)
    assert seen == [(needs_keras, 3)] * 2


def test_several_processes_without_joblib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "find_spec", lambda name: None)
    with pytest.raises(PneumoError, match="pip install joblib"), gathering(Backend.LOCAL):
        pytest.fail("processes without it")


def test_a_task_whose_worker_dies_is_done_again(tmp_path: Path) -> None:
    told: list[str] = []
    with gathering(Backend.LOCAL) as workers:
        pids = workers.do(die_once, [tmp_path, tmp_path], 2, True, told.append)
    assert len(pids) == 2 and os.getpid() not in pids
    assert told == ["a worker was lost; what it has not finished is done again"]


def test_workers_that_die_again_and_again_are_given_up(tmp_path: Path) -> None:
    with gathering(Backend.LOCAL) as workers, pytest.raises(PneumoError, match=f"lost {TRIES} times"):
        workers.do(die_always, [tmp_path, tmp_path], 2, True, keep_quiet)
    assert len(list(tmp_path.iterdir())) >= TRIES


def test_jobs_are_no_more_than_workers_or_tasks() -> None:
    def having(count: int) -> Workers:
        return Workers(Backend.DASK, lambda: count, lambda jobs: {}, (), lambda jobs: 1)

    assert having(4).choose_jobs(None, 9) == 4
    assert having(4).choose_jobs(None, 2) == 2
    assert having(4).choose_jobs(3, 9) == 3
    assert having(4).choose_jobs(8, 9) == 4
    with pytest.raises(PneumoError, match="dask cluster has no workers"):
        having(0).choose_jobs(2, 9)


@pytest.mark.parametrize(("backend", "module"), [("ray", "ray"), ("dask", "distributed")])
def test_a_missing_library_names_the_extra(
    backend: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with (
        pytest.raises(PneumoError, match=rf"pip install 'pneumocli\[{backend}\]'"),
        gathering(Backend(backend)),
    ):
        pytest.fail("it is not there")


def test_no_cluster_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    with (
        pytest.raises(SettingError, match=r"needs --address, or DASK_SCHEDULER_ADDRESS"),
        gathering(Backend.DASK),
    ):
        pytest.fail("none was started")
    with pytest.raises(SettingError, match="--address"), gathering(Backend.LOCAL, "tcp://here:1"):
        pytest.fail("local processes have none")


def test_local_answers_have_no_address(tmp_path: Path) -> None:
    (tmp_path / "x.png").touch()
    assert "--backend" in fail("cv", "--address", "tcp://h:1", "--data", "synthetic", exit_code=2)


def test_rays_usage_statistics_are_off() -> None:
    pytest.importorskip("ray")
    program = """
import os, sys
from pneumocli.core.errors import PneumoError
from pneumocli.core.workers import Backend, gathering
assert "ray" not in sys.modules
try:
    with gathering(Backend.RAY, "127.0.0.1:1"):
        pass
except PneumoError as error:
    print(error)
from ray._common.usage import usage_lib
print(usage_lib.usage_stats_enabled())
"""
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    line, enabled = done.stdout.splitlines()
    assert line.startswith("no Ray cluster at 127.0.0.1:1 ("), done.stderr
    assert enabled == "False"
