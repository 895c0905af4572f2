"""The settings of a run: the recipe's numbers, and what is refused."""

import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from pneumocli.core.config import RECIPES, TrainConfig, check_config, choose_config
from pneumocli.core.errors import PneumoError


def test_original_recipe_has_the_published_numbers() -> None:
    assert RECIPES["original"].model_dump() == {
        "recipe": "original",
        "seed": 0,
        "repeats": 1,
        "image_size": 224,
        "center_crop": 1.0,
        "subset": None,
        "batch_size": 32,
        "head_units": 1024,
        "dropout": 0.0,
        "head_epochs": 15,
        "head_learning_rate": 1e-4,
        "head_patience": 5,
        "tune_layers": 40,
        "identity_start": False,
        "tune_epochs": 5,
        "tune_learning_rate": 1e-5,
        "tune_patience": 3,
        "tune_schedule": "constant",
        "weight_decay": 0.0,
        "probe": 0.0,
        "early_stopping": True,
        "views": 0,
        "crop_area": 1.0,
        "zoom_out": 1.0,
        "crop_share": 1.0,
        "flip": False,
        "brightness": 0.0,
        "contrast": 0.0,
        "rotation": 0.0,
        "noise": 0.0,
        "precision": "auto",
        "focal_gamma": 2.0,
        "rule": "youden",
        "deterministic": False,
    }
    assert choose_config("original") == RECIPES["original"]


def test_default_recipe_lets_no_image_choose_its_epoch_and_never_trains_batchnorm() -> None:
    config = choose_config()
    assert config == RECIPES["robust"]
    assert not config.early_stopping
    # The 94 last layers are stages 4 and 5; the slow test says where the cut is.
    assert (config.image_size, config.tune_layers, config.head_units) == (112, 94, 0)
    # As many views as epochs: each is seen once. Most show the whole image, as it is scored.
    assert config.views == config.tune_epochs and config.crop_area < 1 and config.crop_share == 1


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_knows_its_name_and_passes_the_checks(name: str) -> None:
    assert RECIPES[name].recipe == name
    assert check_config(RECIPES[name].model_dump()) == RECIPES[name]


def test_a_change_of_none_leaves_the_recipe() -> None:
    config = choose_config("original", batch_size=None, head_epochs=2, early_stopping=False, dropout=0.0)
    assert config.batch_size == 32
    assert config.head_epochs == 2
    assert config.early_stopping is False
    assert RECIPES["original"].head_epochs == 15


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValidationError):
        choose_config().seed = 1  # type: ignore[misc]


def test_settings_survive_a_file() -> None:
    config = choose_config(
        subset=100, seed=2**31 - 1, head_learning_rate=3e-7, deterministic=True, views=4, precision="bfloat16"
    )
    assert check_config(json.loads(json.dumps(config.model_dump(mode="json")))) == config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("seed", 2**31),
        ("image_size", 31),
        ("image_size", 1025),
        ("image_size", 32.5),
        ("subset", 3),
        ("batch_size", 0),
        ("head_units", -1),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("head_epochs", 0),
        ("head_learning_rate", 0.0),
        ("head_learning_rate", float("nan")),
        ("head_learning_rate", float("inf")),
        ("head_patience", 0),
        ("tune_layers", -1),
        ("tune_epochs", -1),
        ("tune_learning_rate", -1e-5),
        ("tune_patience", 0),
        ("focal_gamma", -0.5),
        ("focal_gamma", "two"),
        ("precision", "float64"),
        ("rule", "best"),
        ("rule", 0.5),
        ("early_stopping", "perhaps"),
        ("learning_rate", 0.1),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(name: str, value: Any) -> None:
    with pytest.raises(PneumoError) as caught:
        choose_config(**{name: value})
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert f"setting {name}:" in line
    assert repr(value) in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tune_layers", 0),
        ("tune_epochs", 0),
        ("dropout", 0.999),
        ("focal_gamma", 0),
        ("subset", 4),
        ("seed", 0),
    ],
)
def test_the_edge_of_a_range_is_inside(name: str, value: Any) -> None:
    assert getattr(choose_config(**{name: value}), name) == value


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(PneumoError, match=r"'best'.*original"):
        choose_config("best")


def test_settings_and_data_load_without_the_heavy_libraries() -> None:
    code = (
        "import sys\n"
        "import pneumocli.core.config, pneumocli.core.data, pneumocli.core.metrics, pneumocli.core.backend\n"
        "print(sorted({'keras', 'tensorflow', 'sklearn', 'matplotlib', 'typer', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_fields_say_what_they_are_for() -> None:
    silent = [name for name, field in TrainConfig.model_fields.items() if not field.description]
    assert set(silent) <= {"recipe"}
