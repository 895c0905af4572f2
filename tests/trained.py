"""Small trained runs, made once and shared by several test files: read them, or change a copy.

A test file takes these fixtures with `pytest_plugins = ["trained"]` and imports nothing from here.
"""

from functools import partial
from pathlib import Path

import pytest
from small import FOLDS, RANDOM_WEIGHTS, TINY, copy_run, describe

from pneumocli.core.backend import load_backend
from pneumocli.core.cache import Cache
from pneumocli.core.data import Dataset
from pneumocli.core.runs import Run

load_backend()

from pneumocli.core import experiments  # noqa: E402
from pneumocli.core.evaluation import Evaluation, evaluate_run  # noqa: E402
from pneumocli.core.experiments import cross_validate, train_single  # noqa: E402
from pneumocli.core.model import BackboneBuilder  # noqa: E402
from pneumocli.core.predictor import place_onnx  # noqa: E402
from pneumocli.core.sample import Sample  # noqa: E402


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("bank"))


@pytest.fixture(scope="session")
def cv_run(
    small_dataset: Dataset,
    tiny_backbone: BackboneBuilder,
    bank: Cache,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    return cross_validate(
        describe(small_dataset),
        RANDOM_WEIGHTS,
        TINY,
        FOLDS,
        runs_dir=tmp_path_factory.mktemp("cv"),
        cache=bank,
        backbone_builder=tiny_backbone,
    )


@pytest.fixture(scope="session")
def train_run(
    small_dataset: Dataset,
    tiny_backbone: BackboneBuilder,
    bank: Cache,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    return train_single(
        describe(small_dataset),
        RANDOM_WEIGHTS,
        TINY,
        runs_dir=tmp_path_factory.mktemp("train"),
        cache=bank,
        backbone_builder=tiny_backbone,
    )


@pytest.fixture(scope="session")
def exported(cv_run: Run, small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the cross-validation with its ONNX file."""
    from pneumocli.core.export import export_onnx

    run = copy_run(cv_run, tmp_path_factory.mktemp("exported"))
    export_onnx(run, place_onnx(run), Sample(small_dataset.val.images, "drawn images"))
    return run


@pytest.fixture(scope="session")
def evaluated(
    cv_run: Run, small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, Evaluation]:
    """A copy of the cross-validation, scored on the test split."""
    run = copy_run(cv_run, tmp_path_factory.mktemp("evaluated"))
    return run, evaluate_run(run, small_dataset, "test")


@pytest.fixture
def cv_copy(cv_run: Run, tmp_path: Path) -> Run:
    return copy_run(cv_run, tmp_path / "runs")


@pytest.fixture
def train_copy(train_run: Run, tmp_path: Path) -> Run:
    return copy_run(train_run, tmp_path / "runs")


@pytest.fixture
def tiny_commands(monkeypatch: pytest.MonkeyPatch, tiny_backbone: BackboneBuilder) -> None:
    """`train` and `cv` with the tests' small network in place of ResNet-50."""
    for name in ("train_single", "cross_validate"):
        whole = getattr(experiments, name)
        monkeypatch.setattr(experiments, name, partial(whole, backbone_builder=tiny_backbone))
