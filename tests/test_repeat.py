"""Repeating a run from its config: what is no such file."""

import json
from pathlib import Path
from typing import Any

import pytest

from pneumocli.core.errors import RunError
from pneumocli.core.repeat import read_record


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
