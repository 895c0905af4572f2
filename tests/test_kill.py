"""A cross-validation that is killed again and again ends with the scores of one that never was."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pneumocli.core.runs import open_run

TESTS = Path(__file__).parent
SEED = 20_240_611


class Attempt:
    """One process that begins or goes on with the cross-validation of `stoppable.py`."""

    def __init__(self, runs_dir: Path, cache: Path) -> None:
        path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
        self.process = subprocess.Popen(
            [sys.executable, str(TESTS / "stoppable.py"), str(runs_dir), str(cache)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def lines(self) -> Iterator[str]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield line.rstrip("\n")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
        assert self.process.returncode == -signal.SIGKILL

    def finish(self) -> list[str]:
        out, err = self.process.communicate(timeout=600)
        assert self.process.returncode == 0, err
        return out.splitlines()


def read_scores(runs_dir: Path) -> dict[str, bytes]:
    """The score files, and what follows from them, of the one run in a folder."""
    (run,) = runs_dir.iterdir()
    kept = [*run.rglob("scores_*.npz"), *run.rglob("history.json"), run / "decision.json"]
    assert len(kept) == 3 + 2 + 1
    return {str(path.relative_to(run)): path.read_bytes() for path in kept}


def kill_and_compare(folder: Path, kills: int, rounds: int) -> None:
    """Kill at random moments, spread over the whole length, `kills / rounds` in each cross-validation.

    A moment is a step of the undisturbed run and up to 0.2 s after it, during which checkpoints, scores and
    models are written.
    """
    steps = [line for line in Attempt(folder / "whole", folder / "bank").finish() if line[0] != "-"]
    assert (steps[0], steps[-1][:4]) == ("ready", "done")
    steps = steps[:-1]
    expected = read_scores(folder / "whole")
    draw = random.Random(SEED)
    # One moment in each of so many equal parts of the length, dealt out to the rounds in turn.
    moments = [
        (len(steps) * (number + draw.random()) / kills, draw.random() * 0.2) for number in range(kills)
    ]
    print(f"\nseed {SEED}: {kills} kills in {len(steps)} steps")
    for number in range(rounds):
        runs_dir, bank = folder / f"runs_{number}", folder / f"bank_{number}"
        for position, delay in moments[number::rounds]:
            attempt = Attempt(runs_dir, bank)
            for line in attempt.lines():
                # A step that this attempt does not do again is passed over: the next one counts.
                if line in steps and steps.index(line) >= int(position):
                    break
            time.sleep(delay)
            print(f"round {number + 1}: step {position:.1f}, {delay:.3f} s after {line!r}")
            if attempt.process.poll() is not None:
                break  # the last step came and went within the delay
            attempt.kill()
        killed_when_complete = any(open_run(run).is_complete for run in runs_dir.iterdir())
        if not killed_when_complete:
            Attempt(runs_dir, bank).finish()
        assert read_scores(runs_dir) == expected, f"round {number + 1}"
        if killed_when_complete:
            continue  # the next evaluation tidies up
        left = [path.name for path in runs_dir.rglob("*") if path.name.startswith((".", "checkpoint"))]
        assert left == [], "what only an unfinished run needs is gone"


@pytest.mark.slow
def test_killed_three_times(tmp_path: Path) -> None:
    kill_and_compare(tmp_path, kills=3, rounds=1)


@pytest.mark.slow
@pytest.mark.soak
def test_killed_at_25_moments(tmp_path: Path) -> None:
    kill_and_compare(tmp_path, kills=25, rounds=5)
