"""Repeating a run from its config: what is no such file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import RANDOM_WEIGHTS, TINY, describe

from pneumocli.core.data import Dataset
from pneumocli.core.errors import RunError
from pneumocli.core.provenance import describe_run
from pneumocli.core.repeat import read_record, tell_differences


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "no kind and settings"),
        ({"kind": "cv", "settings": {}}, "pneumocli cv --config"),
        ({"kind": ["train"], "settings": {}}, "not what pneumocli writes"),
        ({"kind": "train", "settings": []}, "not what pneumocli writes"),
    ],
)
def test_what_is_no_config_of_that_command(content: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match=reason) as caught:
        read_record(path, "train")
    assert str(path) in str(caught.value)


def test_a_column_of_groups_that_has_changed_is_told(small_dataset: Dataset) -> None:
    data, pairs = describe(small_dataset), np.arange(24) // 2
    record = describe_run("cv", data, small_dataset, RANDOM_WEIGHTS, TINY, 3, pairs)
    told = [tell_differences(record, data, RANDOM_WEIGHTS, groups) for groups in (pairs, pairs + 7, None)]
    assert told == [[], [], []]
    (line,) = tell_differences(record, data, RANDOM_WEIGHTS, np.arange(24) // 3)
    assert "other groups" in line
    assert "column `group`" in line
