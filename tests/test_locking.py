"""Locks between processes: who holds one is said, and a killed holder holds nothing."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pneumocli.core.locking import HeldError, describe_holder, holding_file, is_held_file

HOLDER = """
import sys, time
from pathlib import Path
from pneumocli.core.locking import holding_file
with holding_file(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".lock"


def test_other_process_is_named_and_a_killed_one_lets_go(path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            assert is_held_file(path)
            with pytest.raises(HeldError, match=rf"process {holder.pid} on {socket.gethostname()}, since 2"):
                holding_file(path).__enter__()
        finally:
            holder.kill()
    assert path.exists(), "a killed holder cannot tidy up"
    assert not is_held_file(path)
    with holding_file(path):
        assert f"process {os.getpid()} " in describe_holder(path)
    assert not path.exists()


def test_whoever_waits_is_told_for_whom_and_gets_it(path: Path) -> None:
    told: list[str] = []
    order: list[str] = []
    held = threading.Event()

    def hold() -> None:
        with holding_file(path):
            held.set()
            time.sleep(0.3)
            order.append("first")

    first = threading.Thread(target=hold)
    first.start()
    held.wait()
    with holding_file(path, patience=60, tell=told.append):
        order.append("second")
    first.join()
    assert order == ["first", "second"]
    assert [str(os.getpid()) in line for line in told] == [True]


def test_patience_ends(path: Path) -> None:
    with holding_file(path), pytest.raises(HeldError), holding_file(path, patience=0.1):
        pass


def test_a_lock_without_words_is_another_process(path: Path) -> None:
    path.write_bytes(b"\xff{")
    assert describe_holder(path) == "another process"
    assert not is_held_file(path)
