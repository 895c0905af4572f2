"""The data set and the features of a small training, shared by the tests of what training does.

A test file takes these fixtures with `pytest_plugins = ["learnt"]` and imports nothing from here.
"""

import pytest
from learnable import CONFIG, VAL_COPIES, draw_split

from pneumocli.core.cache import Cache
from pneumocli.core.data import Dataset
from pneumocli.core.material import Material, prepare_material
from pneumocli.core.model import BackboneBuilder


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Three images of val are copies of images of train."""
    train, val = draw_split(0, 48), draw_split(1, 24)
    val.images[VAL_COPIES] = train.images[[9, 10, 12]]
    return Dataset("bright", {"train": train, "val": val, "test": draw_split(2, 12)})


@pytest.fixture(scope="module")
def material(
    dataset: Dataset, tiny_backbone: BackboneBuilder, tmp_path_factory: pytest.TempPathFactory
) -> Material:
    cache = Cache(tmp_path_factory.mktemp("bank"))
    return prepare_material(dataset, CONFIG, None, cache=cache, backbone_builder=tiny_backbone)
