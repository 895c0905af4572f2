"""No network after `fetch`: every other command, in one process in which a connection is an error."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pictures import draw_files
from test_start import COMMANDS

# Python tells its audit hooks of every name looked up and every connection made, whichever library asks.
CUT_OFF = """
import sys
asked = []
def refuse(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "urllib.Request", "socket.sendto"):
        asked.append((event, str(arguments)))
        raise OSError("the network is cut off")
    if event == "socket.connect" and not isinstance(arguments[1], (str, bytes)):
        asked.append((event, str(arguments)))
        raise OSError("the network is cut off")
sys.addaudithook(refuse)
import json
from functools import partial
from conftest import build_tiny_backbone
from typer.testing import CliRunner
from pneumocli.cli import app
from pneumocli.core.backend import load_backend
load_backend()
from pneumocli.core import experiments
for name in ("train_single", "cross_validate"):
    whole = getattr(experiments, name)
    setattr(experiments, name, partial(whole, backbone_builder=build_tiny_backbone))
done = []
for words in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, words)
    done.append([words[0], result.exit_code, result.output[-500:]])
try:
    import socket
    socket.create_connection(("127.0.0.1", 9), 1)
except OSError:
    pass
print("outcome:" + json.dumps([done, asked]))
"""

SMALL = shlex.split(
    "--data synthetic --weights none --recipe original --image-size 32 --head-units 8 --tune-layers 6 "
    "--head-epochs 1 --tune-epochs 1 --precision float32"
)


@pytest.mark.slow
def test_no_command_but_fetch_asks_for_the_network(tmp_path: Path) -> None:
    draw_files(tmp_path, ["xray.png"])
    lines = [
        ["train", *SMALL, "--name", "one"],
        ["cv", *SMALL, "--folds", "2", "--name", "two"],
        ["evaluate", "one"],
        ["evaluate", "two"],
        ["ensemble", "two"],
        ["predict", str(tmp_path / "xray.png"), "--model", "two"],
        ["compare", "one", "two"],
        ["runs"],
        ["report", "two"],
        ["export", "two"],
        ["predict", str(tmp_path / "xray.png"), "--model", "two", "--engine", "onnx"],
        ["doctor"],
        # What has to fetch is refused in a line, and is seen by this test.
        ["train", "--weights", "none", "--data", str(tmp_path / "missing.npz")],
        ["fetch"],
    ]
    assert {words[0] for words in lines} >= set(COMMANDS)
    outcome = subprocess.run(
        [sys.executable, "-c", CUT_OFF, json.dumps(lines)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert outcome.returncode == 0, outcome.stderr
    (found,) = (line for line in outcome.stdout.splitlines() if line.startswith("outcome:"))
    done, asked = json.loads(found.removeprefix("outcome:"))
    assert [code for _, code, _ in done] == [0] * (len(lines) - 2) + [1, 1], done
    # Only fetch, and the connection that the test itself made to see that it would be noticed.
    assert asked
    assert all("zenodo.org" in arguments or "127.0.0.1" in arguments for _, arguments in asked), asked
    assert sum("127.0.0.1" in arguments for _, arguments in asked) == 1
