"""What is set before tensorflow is loaded; a user's own word counts more."""

import os
import platform
import sys
from types import SimpleNamespace

import pytest

from pneumocli.core.backend import count_gpus, load_backend, takes_xla

KERNELS = "TF_ENABLE_ONEDNN_OPTS"


@pytest.mark.parametrize(
    ("machine", "said", "taken"),
    [
        ("x86_64", None, "1"),
        ("AMD64", None, "1"),  # as Windows names it
        ("x86_64", "0", "0"),
        ("aarch64", None, None),
        ("arm64", None, None),
    ],
)
def test_processors_of_the_x86_kind_compute_with_onednn(
    monkeypatch: pytest.MonkeyPatch, machine: str, said: str | None, taken: str | None
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    # Not the real one: tensorflow asks once, and would compute by it in all later tests.
    keras = SimpleNamespace(backend=SimpleNamespace(backend=lambda: "none"))
    monkeypatch.setitem(sys.modules, "keras", keras)
    # Set first, so that what is set below is undone.
    monkeypatch.setenv(KERNELS, "")
    monkeypatch.delenv(KERNELS)
    if said is not None:
        monkeypatch.setenv(KERNELS, said)
    load_backend()
    assert os.environ.get(KERNELS) == taken


@pytest.mark.parametrize(("backend", "is_compiled"), [("jax", True), ("tensorflow", False), ("torch", False)])
def test_jax_alone_is_compiled(monkeypatch: pytest.MonkeyPatch, backend: str, is_compiled: bool) -> None:
    # Uncompiled, JAX takes minutes for what it does in seconds: each operation goes by itself.
    keras = SimpleNamespace(backend=SimpleNamespace(backend=lambda: backend))
    monkeypatch.setitem(sys.modules, "keras", keras)
    assert takes_xla() is is_compiled


@pytest.mark.parametrize(
    ("devices", "count"), [(["cpu:0"], 0), (["gpu:0", "gpu:1"], 2), (["cpu:0", "gpu:0"], 1)]
)
def test_gpus_are_counted_where_asking_for_them_raises(
    monkeypatch: pytest.MonkeyPatch, devices: list[str], count: int
) -> None:
    def list_devices(kind: str | None = None) -> list[str]:
        if kind is not None:  # as JAX does without a GPU
            raise RuntimeError("Unknown backend: 'gpu' requested")
        return devices

    keras = SimpleNamespace(distribution=SimpleNamespace(list_devices=list_devices))
    monkeypatch.setitem(sys.modules, "keras", keras)
    assert count_gpus() == count
