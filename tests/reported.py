"""Runs to report on, written without training; taken with `pytest_plugins = ["reported"]`."""

from pathlib import Path

import pytest
from written import HOSTILE, draw_picture, write_run, write_scored

from pneumocli.core.config import TrainConfig
from pneumocli.core.files import write_json
from pneumocli.core.records import FileRecord, GroupsRecord, WeightsRecord
from pneumocli.core.runs import EXTERNAL, Run


@pytest.fixture
def scored_run(tmp_path: Path) -> Run:
    run = write_run(tmp_path, name="one")
    write_scored(run)
    for name in ("roc_test.png", "reliability_test.png", "gallery_test.png", "learning_curves.png"):
        draw_picture(run.path / name)
    return run


@pytest.fixture
def hostile_run(tmp_path: Path) -> Run:
    """All that a user can name, or that a file of the run folder can hold, is hostile."""
    run = write_run(
        tmp_path,
        name=HOSTILE,
        data=HOSTILE,
        identity=f"own images: 3 files in folder {HOSTILE}",
        weights=WeightsRecord(name=HOSTILE, sha256=None),
        groups=GroupsRecord(
            file=FileRecord(name=HOSTILE, sha256=HOSTILE), digest=HOSTILE, groups=1, images=2
        ),
        settings=TrainConfig(recipe=HOSTILE),
    )
    write_scored(run)
    write_scored(run, "all", run.path / EXTERNAL / HOSTILE)
    draw_picture(run.path / "roc_test.png")
    entry = {"file": "roc_test.png", "title": HOSTILE, "split": HOSTILE, "alt": HOSTILE}
    write_json(run.path / "pictures.json", {"schema_version": 1, "pictures": [entry]})
    return run
