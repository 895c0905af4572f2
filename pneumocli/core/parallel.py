"""Folds side by side: tasks in processes of their own, the cores divided among them."""

import math
import os
import pickle
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection
from multiprocessing.connection import Listener as ConnectionListener
from pathlib import Path
from typing import TypeVar

from pneumocli.core.devices import name_devices, take_device
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
    gpus: int = 0,
) -> None:
    """Do `work(task, listen)` for every task, `jobs` at a time, each in a process that loads Keras anew.

    Args:
        work: a function of a module, so that another process finds it.
        deterministic: one thread a process; else each has its share of the cores.
        listen: hears what all processes report.
        gpus: how many this machine has; each process has one of them, several share one if there are fewer.

    Raises:
        PneumoError: as the work does.
    """
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    # Processes that are ended by Ctrl-C leave semaphores, and joblib's watcher of them speaks to programmers.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    jobs = min(jobs, len(tasks))
    threads = max(1, count_cores() // jobs)
    devices = name_devices(gpus)
    share = math.ceil(jobs / max(1, len(devices)))
    with _hearing(listen) as (address, key), tempfile.TemporaryDirectory() as places:
        take = partial(take_device, devices, Path(places), share)
        try:
            Parallel(n_jobs=jobs, backend="loky")(
                # Pickled by hand: unpickling a task imports Keras, which has to be loaded before that.
                delayed(_work_alone)(pickle.dumps((work, task)), take, address, key, threads, deterministic)
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


def _work_alone(
    packed: bytes,
    take: Callable[[], object],
    address: str,
    key: bytes,
    threads: int,
    deterministic: bool,
) -> None:
    from pneumocli.core.backend import load_backend

    take()  # before Keras looks for devices
    load_backend(deterministic, threads)
    work, task = pickle.loads(packed)
    # If the first process is killed, the next step cannot be told, and the work ends with it.
    with Client(address, authkey=key) as first_process:
        work(task, first_process.send)


@contextmanager
def _hearing(listen: Listener) -> Iterator[tuple[str, bytes]]:
    """Pass on what other processes tell, until the end of the block; give the address and key to tell it to.

    A connection each, and no process in between, which would outlive a first process that is killed.
    """
    key = secrets.token_bytes(32)
    one_at_a_time = threading.Lock()
    relays: list[threading.Thread] = []
    closing = threading.Event()

    def relay(told: "Connection[object, Progress]") -> None:
        # A process that is killed in the middle of a word leaves half of it.
        with told, suppress(EOFError, ConnectionError, pickle.UnpicklingError):
            while True:
                step = told.recv()
                with one_at_a_time:
                    listen(step)

    def accept() -> None:
        while not closing.is_set():
            with suppress(EOFError, ConnectionError, AuthenticationError):
                relays.append(threading.Thread(target=relay, args=(place.accept(),), daemon=True))
                relays[-1].start()

    with ConnectionListener(authkey=key) as place:
        door = threading.Thread(target=accept, daemon=True)
        door.start()
        try:
            yield place.address, key
        finally:
            closing.set()
            Client(place.address, authkey=key).close()  # the door waits for one more
            door.join()
            for thread in relays:
                thread.join()
