"""Loading Keras: quietly, and with the threads that a repeatable run needs."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pneumocli.core.errors import PneumoError


def load_backend(deterministic: bool = False) -> None:
    """Import Keras and its backend without their start-up messages; call before any Keras module.

    Args:
        deterministic: one thread and deterministic kernels. Convolution gradients on several
            threads of a CPU add up in changing order and differ in the last bits.

    Raises:
        PneumoError: `deterministic`, but this process has already computed with more threads.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with _silenced_stderr():
        import keras
    # A fold's models are compiled anew each time, which tensorflow takes for a mistake.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if deterministic and keras.backend.backend() == "tensorflow":
        _take_one_thread()


def _take_one_thread() -> None:
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        raise PneumoError(
            "a deterministic run needs one thread, but tensorflow is already running with more; "
            "start it in a process of its own"
        ) from None
    tf.config.experimental.enable_op_determinism()


@contextmanager
def _silenced_stderr() -> Iterator[None]:
    # The libraries write to the file descriptor itself, before any of their log levels is read.
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
