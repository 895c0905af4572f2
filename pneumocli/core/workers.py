"""Processes that do tasks: on this machine, or on a Ray or Dask cluster that is there already, by joblib.

Ray and Dask workers find the files where the first process has them: they need a file system in common, and
the same pneumocli. Each computes with one thread, as their schedulers count them.
"""

import contextlib
import logging
import os
import pickle
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from typing import Any, TypeVar

from pneumocli.core.errors import PneumoError, SettingError
from pneumocli.core.hardware import count_cores
from pneumocli.core.progress import Listener, Notice, ignore

Task = TypeVar("Task")
Result = TypeVar("Result")

TRIES = 4  # of a call whose workers are lost
REACHED_IN = 20.0  # seconds in which a cluster has to answer
RAY_NOTICES = 20.0  # seconds until Ray no longer counts the workers of a machine that is gone


class Backend(StrEnum):
    """Where tasks are done."""

    LOCAL = "local"
    RAY = "ray"
    DASK = "dask"


@dataclass(frozen=True)
class Workers:
    """Where tasks can be done side by side.

    Attributes:
        backend: of joblib.
        count: tells how many workers there are now.
        configure: returns what `joblib.parallel_config` takes, for so many tasks at once.
        lost: what is raised when a worker has died.
        threads: of each of so many workers.
        pause: seconds to wait after a loss, until those that are left can be counted.
    """

    backend: Backend
    count: Callable[[], int]
    configure: Callable[[int], dict[str, Any]]
    lost: tuple[type[BaseException], ...]
    threads: Callable[[int], int]
    pause: float = 0.0

    def choose_jobs(self, jobs: int | None, tasks: int) -> int:
        """Return how many tasks are done at once: as asked, or a task a worker.

        Raises:
            PneumoError: there is no worker.
        """
        there = self.count()
        if not there:
            raise PneumoError(f"the {self.backend} cluster has no workers; start some")
        return max(1, min(there if jobs is None else jobs, there, tasks))

    def do(
        self,
        work: Callable[[Task, Listener], Result],
        tasks: Sequence[Task],
        jobs: int | None,
        deterministic: bool,
        notify: Notice,
        needs_keras: bool = True,
    ) -> list[Result]:
        """Return the result of `work(task, listen)` for every task, in their order.

        If a worker dies, what is not finished is done again; what a task has left on disk is its own matter.

        Args:
            work: a function of a module, so that other processes find it.
            jobs: at most so many at once; None is one a worker.
            needs_keras: whether the work is done with it; else it is not loaded.

        Raises:
            PneumoError: as the work does, or workers die again and again.
        """
        from joblib import Parallel, delayed, parallel_config

        for attempt in range(1, TRIES + 1):
            at_once = self.choose_jobs(jobs, len(tasks))
            call = (os.getcwd(), self.threads(at_once), deterministic, needs_keras)
            try:
                with parallel_config(**self.configure(at_once)):
                    # Pickled by hand: unpickling a task imports Keras, which has to be loaded before that.
                    outcomes = Parallel(batch_size=1, pre_dispatch="all")(
                        delayed(_work_elsewhere)(pickle.dumps((work, task)), *call) for task in tasks
                    )
                break
            except ImportError as error:
                raise PneumoError(
                    f"a {self.backend} worker has no {error.name}; install the same pneumocli for all workers"
                ) from None
            except self.lost as error:
                if attempt == TRIES:
                    raise PneumoError(
                        f"workers were lost {TRIES} times ({type(error).__name__}), perhaps for lack of "
                        "memory; the same command goes on with what is finished"
                    ) from None
                notify("a worker was lost; what it has not finished is done again")
                time.sleep(self.pause)
        for outcome in outcomes:
            if isinstance(outcome, PneumoError):
                raise outcome
        return list(outcomes)


def _work_elsewhere(packed: bytes, folder: str, threads: int, deterministic: bool, needs_keras: bool) -> Any:
    """Return what the work returns, or its error: Ray would make a long text of one that is raised."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        if needs_keras:
            from pneumocli.core.backend import load_backend

            load_backend(deterministic, threads)
        work, task = pickle.loads(packed)
        if not os.path.isdir(folder):
            return PneumoError(
                f"{socket.gethostname()} has no {folder}; the workers need a file system in common with the "
                "command, under the same paths"
            )
        with contextlib.chdir(folder):
            return work(task, ignore)
    except PneumoError as error:
        return error


def check_address(backend: Backend, address: str | None) -> None:
    """Check that an address is given for a cluster alone.

    Raises:
        SettingError: it is given for processes of this machine.
    """
    if backend is Backend.LOCAL and address is not None:
        raise SettingError("--address is that of a cluster; name its --backend, ray or dask")


@contextmanager
def gathering(backend: Backend, address: str | None = None) -> Iterator[Workers]:
    """Connect to the workers of a backend, and let go of them at the end of the block.

    Args:
        address: of the cluster. Without one Ray takes RAY_ADDRESS or the cluster that this machine is part
            of, Dask DASK_SCHEDULER_ADDRESS. Neither starts a cluster.

    Raises:
        SettingError: an address for local processes, or none for Dask.
        PneumoError: a library is not installed, or there is no such cluster.
    """
    check_address(backend, address)
    if find_spec("joblib") is None:
        raise PneumoError("several processes need joblib, which is not installed: pip install joblib")
    connect = {Backend.LOCAL: _start_local, Backend.RAY: _join_ray, Backend.DASK: _join_dask}[backend]
    with connect(address) as workers:
        yield workers


@contextmanager
def _start_local(address: str | None) -> Iterator[Workers]:
    from joblib.externals.loky import get_reusable_executor

    # Processes that are ended by Ctrl-C leave semaphores, and joblib's watcher of them speaks to programmers.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    try:
        yield Workers(
            Backend.LOCAL,
            count=lambda: 1_000_000,  # as many as are asked for
            configure=lambda jobs: {"backend": "loky", "n_jobs": jobs},
            lost=_list_local_losses(),
            threads=lambda jobs: max(1, count_cores() // jobs),
        )
    finally:
        get_reusable_executor().shutdown(wait=True, kill_workers=True)


def _list_local_losses() -> tuple[type[BaseException], ...]:
    from concurrent.futures.process import BrokenProcessPool

    return (BrokenProcessPool,)


@contextmanager
def _join_ray(address: str | None) -> Iterator[Workers]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before it is imported
    # Ray speaks of its future; what it does with GPUs is said below.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError:
        raise PneumoError("--backend ray needs Ray; install it with: pip install 'pneumocli[ray]'") from None
    try:
        # Ray itself tries for minutes to reach a machine that does not answer.
        host, _, port = (address or os.environ.get("RAY_ADDRESS", "")).rpartition(":")
        if host and port.isdigit() and "://" not in host:
            socket.create_connection((host, int(port)), timeout=REACHED_IN).close()
        ray.init(
            address=address or "auto",
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            ignore_reinit_error=True,
        )
    except Exception as error:  # Ray promises no list of what it raises for a cluster that is not there
        raise PneumoError(
            f"no Ray cluster at {address or 'RAY_ADDRESS or on this machine'} ({_first_line(error)}); start "
            "one with: ray start --head --disable-usage-stats, or name one with --address HOST:6379"
        ) from None
    register_ray()

    def configure(jobs: int) -> dict[str, Any]:
        # Without it all workers may be on one machine.
        place: dict[str, Any] = {"num_cpus": 1}
        gpus = ray.cluster_resources().get("GPU", 0)
        if gpus >= 1:
            place["num_gpus"] = min(1.0, gpus / jobs)
        return {"backend": "ray", "n_jobs": jobs, "ray_remote_args": place}

    lost = (
        ray.exceptions.RayActorError,
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.ObjectLostError,
        ray.exceptions.NodeDiedError,
    )
    try:
        yield Workers(
            Backend.RAY,
            count=lambda: int(ray.cluster_resources().get("CPU", 0)),
            configure=configure,
            lost=lost,
            threads=lambda jobs: 1,
            pause=RAY_NOTICES,
        )
    finally:
        ray.shutdown()


@contextmanager
def _join_dask(address: str | None) -> Iterator[Workers]:
    try:
        import dask
        import distributed
    except ImportError:
        raise PneumoError(
            "--backend dask needs Dask; install it with: pip install 'pneumocli[dask]'"
        ) from None
    address = address or dask.config.get("scheduler-address", None)
    if address is None:
        raise SettingError(
            "--backend dask needs --address, or DASK_SCHEDULER_ADDRESS, of a scheduler: tcp://HOST:8786"
        )
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = distributed.Client(address, timeout=REACHED_IN, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise PneumoError(f"no Dask scheduler at {address} ({_first_line(error)}); is it started?") from None
    try:
        several = {place: threads for place, threads in client.nthreads().items() if threads > 1}
        if several:
            place, threads = next(iter(several.items()))
            raise PneumoError(
                f"the Dask worker {place} has {threads} threads, and takes so many tasks into one process; "
                "start workers with: dask worker SCHEDULER --nworkers N --nthreads 1"
            )

        def configure(jobs: int) -> dict[str, Any]:
            places = list(client.nthreads())
            # Dask's backend takes no number; another worker is taken when one of these has died.
            chosen = {"workers": places[:jobs], "allow_other_workers": True} if jobs < len(places) else {}
            return {"backend": "dask", "client": client, **chosen}

        yield Workers(
            Backend.DASK,
            count=lambda: len(client.nthreads()),
            configure=configure,
            lost=(distributed.KilledWorker, distributed.comm.CommClosedError),
            threads=lambda jobs: 1,
        )
    finally:
        client.close()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
