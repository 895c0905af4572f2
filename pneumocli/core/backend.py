"""Loading Keras: quietly, and with the threads that a run is to use."""

import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

from pneumocli.core.errors import PneumoError

X86 = frozenset({"x86_64", "amd64"})


def load_backend(deterministic: bool = False, threads: int | None = None) -> None:
    """Import Keras and its backend without their start-up messages; call before any Keras module.

    Args:
        deterministic: one thread and deterministic kernels. Convolution gradients on several
            threads of a CPU add up in changing order and differ in the last bits.
        threads: how many cores to use; all if None.

    Raises:
        PneumoError: Keras is not installed, or this process has already computed with other threads.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # The first process computes features on a GPU that a fold's process is to have as well.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # Of itself JAX lets a GPU round float32 factors to TF32's 10 bits.
    os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "float32")
    if platform.machine().lower() in X86:
        # Of itself tensorflow takes oneDNN's kernels only where there is AVX512_VNNI or better (release
        # notes of 2.9). With AVX2 alone a training step of the default recipe is 1.3 to 3 times as fast by
        # them (examples/onednn_rates.py).
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    try:
        with silenced_stderr():
            import keras
    except ImportError as error:
        raise PneumoError(
            f"Keras cannot be loaded ({error}); install pneumocli with all it needs, or answer with an ONNX "
            "file, which needs onnxruntime alone"
        ) from None
    # A fold's models are compiled anew each time, which tensorflow takes for a mistake.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if keras.backend.backend() == "tensorflow":
        if deterministic or threads is not None:
            _take_threads(1 if deterministic else threads)
        if deterministic:
            import tensorflow as tf

            tf.config.experimental.enable_op_determinism()


def has_gpu() -> bool:
    """Return whether Keras computes on a GPU; call after `load_backend`."""
    return count_gpus() > 0


def count_gpus() -> int:
    """Return how many GPUs Keras sees; call after `load_backend`."""
    import keras

    # Asked for GPUs alone, JAX raises where there are none.
    return sum(device.startswith("gpu:") for device in keras.distribution.list_devices())


def takes_xla() -> bool:
    """Return whether models are to be compiled by XLA; call after `load_backend`.

    JAX knows no other way: uncompiled it runs one operation after the other. tensorflow takes about twice
    the time with it on a CPU.
    """
    import keras

    return keras.backend.backend() == "jax"


def list_devices() -> list[str]:
    """Return what Keras computes on, such as "cpu:0" or "gpu:0 NVIDIA H100"; loads Keras.

    Where it cannot be loaded, the one entry says so.
    """
    try:
        load_backend()
        import keras

        return [_describe_device(device) for device in keras.distribution.list_devices()]
    except Exception as error:  # a broken installation is what is looked for; it can raise anything
        return [f"none: Keras cannot be loaded ({type(error).__name__}: {error})"]


def _describe_device(device: str) -> str:
    import keras

    kind, _, number = device.partition(":")
    if kind != "gpu" or keras.backend.backend() != "tensorflow":
        return device
    import tensorflow as tf

    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[int(number)])
    return f"{device} {details.get('device_name', '')}".strip()


def _take_threads(threads: int | None) -> None:
    import tensorflow as tf

    taken = tf.config.threading
    if taken.get_intra_op_parallelism_threads() == threads == taken.get_inter_op_parallelism_threads():
        return  # a worker that does one task after the other
    try:
        taken.set_intra_op_parallelism_threads(threads)
        taken.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        raise PneumoError(
            f"this run is to use {threads} thread(s), but tensorflow is already running with others; "
            "start it in a process of its own"
        ) from None


@contextmanager
def silenced_stderr() -> Iterator[None]:
    """Let nothing that the libraries write to stderr through to the terminal."""
    # The libraries write to the file descriptor itself, before any of their log levels is read.
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
