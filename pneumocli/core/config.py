"""Every setting of a run, checked before anything heavy is loaded, and the presets called recipes."""

from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pneumocli.core.errors import SettingError
from pneumocli.core.rule import RULES, parse_rule


class Precision(StrEnum):
    """The arithmetic of training. `auto` takes the fastest that the machine has natively."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Schedule(StrEnum):
    """How a learning rate goes on from its first value: it stays, or falls to 0 along half a cosine."""

    CONSTANT = "constant"
    COSINE = "cosine"


class TrainConfig(BaseModel):
    """The settings of one run; the defaults are the recipe "original"."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    recipe: str = "original"
    seed: int = Field(0, ge=0, lt=2**31, description="every random choice derives from it")
    repeats: int = Field(
        1,
        ge=1,
        le=100,
        description="cross-validation: times that the images are divided into folds, each anew",
    )
    image_size: int = Field(
        224, ge=32, le=1024, description="side of the network's input, in pixels; images are resized to it"
    )
    center_crop: float = Field(
        1.0,
        ge=0.5,
        le=1,
        description="share of an image's side that is scored, about its middle; views are not cut",
    )
    subset: int | None = Field(None, ge=4, description="train on so many images only (stratified)")
    batch_size: int = Field(32, ge=1, le=4096, description="images a step")
    head_units: int = Field(
        1024, ge=0, le=65536, description="width of the hidden layer before the logit; 0: none"
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of what the logit sees that is dropped in training"
    )
    head_epochs: int = Field(15, ge=1, description="phase 1: most epochs with the backbone frozen")
    head_learning_rate: float = Field(1e-4, gt=0, description="phase 1: Adam's learning rate")
    head_patience: int = Field(
        5, ge=1, description="phase 1, with early stopping: epochs without a lower validation loss"
    )
    tune_layers: int = Field(40, ge=0, description="phase 2: last layers of the backbone that train")
    identity_start: bool = Field(
        False,
        description="phase 2: residual blocks that no weights file trained begin by passing on their input",
    )
    tune_epochs: int = Field(5, ge=0, description="phase 2: most epochs")
    tune_learning_rate: float = Field(1e-5, gt=0, description="phase 2: Adam's learning rate")
    tune_patience: int = Field(
        3, ge=1, description="phase 2, with early stopping: epochs without a lower validation loss"
    )
    tune_schedule: Schedule = Field(
        Schedule.CONSTANT, description="phase 2: the learning rate stays constant, or falls as a cosine"
    )
    weight_decay: float = Field(
        0.0, ge=0, lt=1, description="phase 2: share of the weights, times the rate, taken off each step"
    )
    probe: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="C of a logistic regression on the frozen layers, its logit averaged with the network's; "
        "0: none",
    )
    early_stopping: bool = Field(True, description="keep the epoch of the lowest validation loss")
    views: int = Field(
        0, ge=0, description="augmented views of each image, drawn once; 0: the image as it is"
    )
    crop_area: float = Field(1.0, gt=0, le=1, description="views: smallest share of the image a crop keeps")
    zoom_out: float = Field(
        1.0,
        ge=1,
        le=2,
        description="views: up to this many times the image's side is shown, its edge repeated",
    )
    crop_share: float = Field(
        1.0, ge=0, le=1, description="views: share of them that are crops; the others show the whole image"
    )
    flip: bool = Field(False, description="views: left and right exchanged in half of them")
    brightness: float = Field(0.0, ge=0, le=1, description="views: largest change, as a share of white")
    contrast: float = Field(0.0, ge=0, lt=1, description="views: largest change of the contrast's factor")
    rotation: float = Field(0.0, ge=0, le=180, description="views: largest turn, in degrees")
    noise: float = Field(
        0.0, ge=0, le=1, description="views: largest standard deviation, as a share of white"
    )
    precision: Precision = Field(
        Precision.AUTO,
        description="of training: auto, float32, bfloat16 or float16; scores are always float32",
    )
    focal_gamma: float = Field(2.0, ge=0, description="focusing parameter of the focal loss")
    rule: str = Field(
        "youden", description="of the threshold: youden, f1, sensitivity:X, specificity:X or a number"
    )
    deterministic: bool = Field(False, description="one thread: the same scores to the last bit")

    @property
    def resized(self) -> int:
        """Side that an image is brought to, in pixels; its middle, `image_size` a side, goes on."""
        return self.image_size + 2 * round(self.image_size * (1 / self.center_crop - 1) / 2)

    @field_validator("rule")
    @classmethod
    def _check_rule(cls, rule: str) -> str:
        try:
            parse_rule(rule)
        except SettingError:
            raise ValueError(f"give {RULES}") from None
        return rule

    @model_validator(mode="after")
    def _check_views(self) -> Self:
        strengths = (self.brightness, self.contrast, self.rotation, self.noise)
        is_cut = self.crop_area < 1 or self.zoom_out > 1 or self.crop_share < 1
        if (is_cut or self.flip or any(strengths)) and not self.views:
            raise ValueError(
                "--crop-area, --zoom-out, --crop-share, --flip, --brightness, --contrast, --rotation and "
                "--noise act on views; give --views 1 or more, or take --recipe original"
            )
        return self


DEFAULT_RECIPE = "robust"
RECIPES: dict[str, TrainConfig] = {
    # Trained for images from elsewhere: strong crops, mirror images, other brightness and contrast, anew in
    # each epoch; stages 4 and 5 learn, all epochs run, and no image has a say in which
    # is kept. A stage 5 that no file has trained begins by passing stage 4 on. With gamma 0 the focal loss is
    # cross-entropy, here with balanced classes. 112 px enlarge 28 about fourfold: enlarged eightfold, images
    # made foreign are called worse. What was tried: examples/recipe.md.
    "robust": TrainConfig(
        recipe="robust",
        image_size=112,
        head_units=0,
        head_epochs=2,
        head_learning_rate=1e-3,
        tune_layers=94,
        identity_start=True,
        tune_epochs=12,
        tune_learning_rate=1e-4,
        tune_schedule=Schedule.COSINE,
        weight_decay=0.01,
        early_stopping=False,
        views=12,
        crop_area=0.25,
        flip=True,
        brightness=0.3,
        contrast=0.3,
        dropout=0.3,
        focal_gamma=0.0,
    ),
    # ResNet-50 frozen, then its last 40 layers fine-tuned; focal loss, balanced classes.
    "original": TrainConfig(),
}


def choose_config(recipe: str = DEFAULT_RECIPE, **changes: Any) -> TrainConfig:
    """Return the recipe's settings with `changes` made; a change of None means "as in the recipe".

    Raises:
        SettingError: no such recipe, or a value out of its range.
    """
    if recipe not in RECIPES:
        raise SettingError(f"there is no recipe {recipe!r}; choose from: {', '.join(RECIPES)}")
    made = {name: value for name, value in changes.items() if value is not None}
    return check_config(RECIPES[recipe].model_dump() | made)


def check_config(settings: dict[str, Any]) -> TrainConfig:
    """Return the settings as a TrainConfig.

    Raises:
        SettingError: an unknown setting, or a value of the wrong type or out of its range.
    """
    try:
        return TrainConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        reason = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # a rule on several settings speaks for itself
            raise SettingError(reason) from None
        name = ".".join(map(str, first["loc"]))
        raise SettingError(f"setting {name}: {reason}; received {first['input']!r}") from None
