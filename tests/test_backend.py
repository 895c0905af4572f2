"""What is set before tensorflow is loaded; a user's own word counts more."""

import os
import platform
import sys
from types import SimpleNamespace

import pytest

from pneumocli.core.backend import KERNELS, load_backend


@pytest.mark.parametrize(
    ("machine", "training", "said", "taken"),
    [
        ("x86_64", True, None, "1"),
        ("AMD64", True, None, "1"),  # as Windows names it
        ("x86_64", True, "0", "0"),
        ("aarch64", True, None, None),
        ("arm64", True, None, None),
        ("x86_64", False, None, None),
        ("x86_64", False, "1", "1"),
    ],
)
def test_training_on_x86_takes_onednn(
    monkeypatch: pytest.MonkeyPatch, machine: str, training: bool, said: str | None, taken: str | None
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
    load_backend(training=training)
    assert os.environ.get(KERNELS) == taken
