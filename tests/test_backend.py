"""What is set before tensorflow is loaded; a user's own word counts more."""

import os
import platform
import sys
from types import SimpleNamespace

import pytest

from pneumocli.core.backend import load_backend

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
