"""Folds side by side: tasks in processes of their own, the cores divided among them."""

import pickle
import threading
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from queue import Queue
from typing import TypeVar

from pneumocli.core.errors import PneumoError
from pneumocli.core.hardware import count_cores
from pneumocli.core.progress import Listener, Progress

Task = TypeVar("Task")


def run_side_by_side(
    work: Callable[[Task, Listener], None],
    tasks: Sequence[Task],
    jobs: int,
    deterministic: bool,
    listen: Listener,
) -> None:
    """Do `work(task, listen)` for every task, `jobs` at a time, each in a process that loads Keras anew.

    Args:
        work: a function of a module, so that another process finds it.
        deterministic: one thread a process; else each has its share of the cores.
        listen: hears what all processes report.

    Raises:
        PneumoError: as the work does.
    """
    from multiprocessing import Manager

    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    jobs = min(jobs, len(tasks))
    threads = max(1, count_cores() // jobs)
    with Manager() as manager:
        heard = manager.Queue()
        relay = threading.Thread(target=_relay, args=(heard, listen), daemon=True)
        relay.start()
        try:
            Parallel(n_jobs=jobs, backend="loky")(
                # Pickled by hand: unpickling a task imports Keras, which has to be loaded before that.
                delayed(_work_alone)(pickle.dumps((work, task)), heard, threads, deterministic)
                for task in tasks
            )
        except BrokenProcessPool:
            raise PneumoError(
                "a fold's process was ended from outside, perhaps for lack of memory; take fewer --jobs: "
                "the same command goes on with what is finished"
            ) from None
        finally:
            # Not kept for the next call, whose tasks may need other threads.
            get_reusable_executor().shutdown(wait=True, kill_workers=True)
            heard.put(None)
            relay.join()


def _work_alone(packed: bytes, heard: "Queue[Progress | None]", threads: int, deterministic: bool) -> None:
    from pneumocli.core.backend import load_backend

    load_backend(deterministic, threads)
    work, task = pickle.loads(packed)
    work(task, heard.put)


def _relay(heard: "Queue[Progress | None]", listen: Listener) -> None:
    while (step := heard.get()) is not None:
        listen(step)
