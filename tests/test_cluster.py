"""Folds and answers on clusters of several processes, one of which is killed: the bytes of one process."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tinyruns import TESTS, WORDS, compare_runs, finish, start

from pneumocli.core.locking import is_held_file
from pneumocli.core.runs import Run

pytest_plugins = ["trained"]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PLACES = os.pathsep.join([str(TESTS), *filter(None, sys.path)])


@contextmanager
def start_dask() -> Iterator[str]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=3, threads_per_worker=1, processes=True, dashboard_address=":0", env={"PYTHONPATH": PLACES}
    ) as cluster:
        yield cluster.scheduler_address


@contextmanager
def start_ray() -> Iterator[str]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        yield cluster.address
    finally:
        cluster.shutdown()


CLUSTERS = {"dask": start_dask, "ray": start_ray}


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    finish(start(folder, "cv", "--name", "run", *WORDS))
    return folder / "runs" / "run"


@pytest.fixture(params=list(CLUSTERS))
def cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    monkeypatch.setenv("PYTHONPATH", PLACES)  # for what the cluster starts
    with CLUSTERS[request.param]() as address:
        yield request.param, address


def read_holder(lock: Path) -> int:
    """The process that holds a fold; what it notes may be half written."""
    import json

    end = time.monotonic() + 300
    while time.monotonic() < end:
        try:
            if is_held_file(lock):
                return int(json.loads(lock.read_text())["pid"])
        except (OSError, ValueError, KeyError):
            pass
        time.sleep(0.02)
    raise AssertionError("no fold was begun")


def read_parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_folds_go_on_when_a_worker_is_killed(
    cluster: tuple[str, str], one_process: Path, tmp_path: Path
) -> None:
    backend, address = cluster
    words = ("cv", "--name", "run", *WORDS, "--backend", backend, "--address", address)
    command = start(tmp_path, *words)
    run = tmp_path / "runs" / "run"
    try:
        worker = read_holder(run / ".fold_1.lock")
        while not (run / "checkpoint_fold_1.npz").exists():
            assert command.poll() is None and not (run / "fold_1").exists()
            time.sleep(0.01)
        # Of Ray the whole node, of Dask the worker, which its nanny starts anew.
        os.kill(read_parent(worker) if backend == "ray" else worker, signal.SIGKILL)
        assert not (run / "fold_1").exists()
    except BaseException:
        command.kill()
        print(command.communicate())
        raise
    _, err = finish(command)
    assert "fold 1 done on" in err and "fold 2 done on" in err
    assert backend == "dask" or "a worker was lost" in err
    compare_runs(one_process, run)


def test_answers_are_the_same_when_a_worker_is_killed(
    cluster: tuple[str, str], cv_run: Run, xrays: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pneumocli.core import shards
    from pneumocli.core.engine import choose_predictor, open_predictor
    from pneumocli.core.images import Source
    from pneumocli.core.prediction import predict_files
    from pneumocli.core.progress import Progress
    from pneumocli.core.workers import Backend, gathering

    backend, address = cluster
    (tmp_path / "broken.png").write_bytes(b"broken")
    names = [str(path) for path in xrays] * 20 + [str(tmp_path / "broken.png")] + [str(xrays[0])] * 9
    sources = [Source(name) for name in names]
    monkeypatch.setattr(shards, "SHARD", 32)
    monkeypatch.setattr(shards, "ROUND", 2)
    pids = tmp_path / "pids"
    pids.mkdir()
    killed: list[int] = []

    def kill_one(step: Progress) -> None:
        if not killed:
            killed.append(int(sorted(path.name for path in pids.iterdir())[0]))
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(shards, "_answer_shard", NotingProcess(pids))
    with gathering(Backend(backend), address) as workers:
        settings: dict[str, Any] = {"deterministic": True, "listen": kill_one}
        answers = list(shards.predict_shards(cv_run, choose_predictor(cv_run), sources, workers, **settings))
    assert killed and len(list(pids.iterdir())) >= 2
    assert [answer.path for answer in answers] == names
    opened = open_predictor(cv_run)
    assert answers == list(predict_files(opened.scorer, opened.chosen.card, sources))


class NotingProcess:
    """Answers for a shard, and leaves the number of its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, shard: Any, listen: Any) -> Any:
        from pneumocli.core.shards import _answer_shard

        (self.folder / str(os.getpid())).touch()
        return _answer_shard(shard, listen)
