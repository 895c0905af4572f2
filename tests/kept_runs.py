"""Kept runs of three seeds, shared by the tests of keeping and of the table.

A test file takes these fixtures with `pytest_plugins = ["kept_runs"]` and imports nothing from here.
"""

import shutil
from pathlib import Path

import pytest
from scored import HIDDEN, keep, make_published, make_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of three seeds of one recipe, the same kept, and one published row."""
    made = tmp_path_factory.mktemp("made")
    for seed in range(3):
        keep(make_run(made / "runs", seed), made / "results", f"original-{seed}")
    make_published(made / "results", "Theirs,28 px,0.9,0.8,,0.7,,test,A paper,yes", HIDDEN)
    return made


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the kept runs, to change."""
    return Path(shutil.copytree(made / "results", tmp_path / "results"))
