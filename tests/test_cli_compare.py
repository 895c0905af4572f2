"""`pneumocli compare`: two runs on the same images."""

import json

import pytest
from commandline import read_scored, run, succeed

from pneumocli import DISCLAIMER
from pneumocli.core.runs import Run
from pneumocli.report.terminal import SYNTHETIC_NOTE

pytest_plugins = ["trained"]


def test_compare_two_runs_on_the_same_images(cv_copy: Run, train_copy: Run) -> None:
    names = (cv_copy.path, train_copy.path, "--data", "synthetic")
    unscored = run("compare", *names)
    assert unscored.exit_code == 1
    assert f"pneumocli evaluate {cv_copy.path} --split test" in unscored.stderr
    joined, single = read_scored(cv_copy), read_scored(train_copy)
    result = succeed("compare", *names, "--format", "json")
    found = json.loads(result.stdout)
    auc = found["differences"]["roc_auc"]
    assert auc["first"] == pytest.approx(joined["models"]["ensemble"]["roc_auc"])
    assert auc["second"] == pytest.approx(single["models"][train_copy.name]["roc_auc"])
    assert found["disclaimer"] == DISCLAIMER
    assert SYNTHETIC_NOTE in result.stderr
    assert f"A: {cv_copy.name}" in succeed("compare", *names).stdout
