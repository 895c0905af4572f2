"""examples/slurm.sh under a stand-in for sbatch: the same files as one command leaves."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tinyruns import TESTS, WORDS, compare_runs, describe_surroundings, finish, start

SCRIPT = TESTS.parent / "examples" / "slurm.sh"

# Does at once what Slurm does later: the jobs of an array side by side, a dependent job after their end.
SBATCH = """#!/bin/sh
printf '%s\\n' "$*" >> "$CALLS"
array= status=0
while :; do
    case "$1" in
    --parsable) shift ;;
    --array) array=${2#1-}; shift 2 ;;
    --job-name | --dependency | --partition) shift 2 ;;
    *) break ;;
    esac
done
if [ -z "$array" ]; then sh "$@" >> "$SAID" 2>&1; exit; fi
i=1 jobs=
while [ "$i" -le "$array" ]; do
    SLURM_ARRAY_TASK_ID=$i sh "$@" >> "$SAID" 2>&1 & jobs="$jobs $!"
    i=$((i + 1))
done
for job in $jobs; do wait "$job" || status=1; done
echo 4711
exit $status
"""


def put_command(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def test_the_script_is_one_that_sh_reads() -> None:
    subprocess.run(["sh", "-n", SCRIPT], check=True)


def submit(folder: Path, *words: str) -> tuple[list[str], str]:
    """Run the script, and return how sbatch was called, and what the jobs said."""
    folder.mkdir(exist_ok=True)
    binaries = folder / "bin"
    put_command(binaries, "sbatch", SBATCH)
    put_command(binaries, "pneumocli", f'#!/bin/sh\nexec {sys.executable} {TESTS / "tinycli.py"} "$@"\n')
    calls, said = folder / "calls", folder / "said"
    environment = describe_surroundings(
        folder,
        PATH=f"{binaries}{os.pathsep}{os.environ['PATH']}",
        CALLS=str(calls),
        SAID=str(said),
        NAME="run",
        FOLDS="2",
        REPEATS="2",
        SBATCH_OPTIONS="--partition short",
    )
    done = subprocess.run(["sh", SCRIPT, *words], cwd=folder, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, said.read_text()
    return calls.read_text().splitlines(), said.read_text()


@pytest.mark.slow
def test_an_array_of_jobs_and_a_last_one_leave_the_files_of_one_command(tmp_path: Path) -> None:
    calls, said = submit(tmp_path / "slurm", *WORDS)
    assert "--array 1-4 --partition short" in calls[0]
    assert "--dependency afterok:4711" in calls[1]
    assert "run: test" in said
    assert re.search(r"fold [1-4] \(best single\)", said)
    finish(start(tmp_path / "one", "cv", "--name", "run", "--repeats", "2", *WORDS))
    compare_runs(tmp_path / "one" / "runs" / "run", tmp_path / "slurm" / "runs" / "run", models=4)
    # Sent again, nothing is done twice.
    models = {path: path.stat().st_mtime_ns for path in (tmp_path / "slurm").rglob("model.keras")}
    assert len(models) == 4
