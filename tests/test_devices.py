"""GPUs divided among processes, by a stand-in that only names them."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from test_parallel import wait_until

from pneumocli.core import devices
from pneumocli.core.devices import VISIBLE, name_devices, take_device
from pneumocli.core.parallel import run_side_by_side
from pneumocli.core.progress import Listener, Progress

TAKER = """
import os, sys, time
from pathlib import Path
from pneumocli.core.devices import take_device
print(take_device(("0", "1"), Path(sys.argv[1]), 2), os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
time.sleep(600)
"""


def test_devices_are_numbered_or_those_that_may_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    assert name_devices(3) == ("0", "1", "2")
    assert name_devices(0) == ()
    monkeypatch.setenv(VISIBLE, "4, GPU-5e,MIG-a/1")
    assert name_devices(3) == ("4", "GPU-5e", "MIG-a/1")


def take(places: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", TAKER, str(places)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def read_taken(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    taken, visible = process.stdout.readline().split()
    assert taken == visible
    return taken


def test_each_process_has_one_and_a_killed_one_gives_it_back(tmp_path: Path) -> None:
    processes = [take(tmp_path) for _ in range(4)]
    try:
        taken = [read_taken(process) for process in processes]
        assert Counter(taken) == {"0": 2, "1": 2}
        processes[1].kill()
        processes[1].communicate()
        processes.append(take(tmp_path))
        assert read_taken(processes[-1]) == taken[1]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_more_processes_than_places_are_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_held", [])
    monkeypatch.setenv(VISIBLE, "7")
    assert take_device((), tmp_path, 1) is None
    assert take_device(("7",), tmp_path, 1) == "7"
    assert take_device(("7",), tmp_path, 1) is None, "a process that has one keeps it"
    monkeypatch.setattr(devices, "_held", [])
    with pytest.raises(RuntimeError, match="more than 1"):
        take_device(("7",), tmp_path, 1)


def tell_device(folder: Path, listen: Listener) -> None:
    import keras

    # Keras is here only after the device was chosen.
    assert keras.__version__
    (folder / str(os.getpid())).write_text(os.environ[VISIBLE])
    listen(Progress("device", 1, 1))
    # Until the other process has its device too, so that one does not do both tasks.
    wait_until(lambda: len(list(folder.iterdir())) == 2)


def test_folds_side_by_side_have_a_device_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "2,5")
    run_side_by_side(tell_device, [tmp_path, tmp_path], 2, True, lambda step: None, gpus=2)
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["2", "5"]
    assert os.environ[VISIBLE] == "2,5"
