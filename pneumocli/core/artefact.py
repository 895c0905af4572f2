"""The model file: a Keras model with its card inside, so that it can be used without its run.

A `.keras` file is a zip archive; the card is one more entry, `pneumocli.json`, which Keras passes over, and
what the training images' features are like is another, `atypical.npz`.
"""

import zipfile
from pathlib import Path
from typing import Literal

import keras
from pydantic import BaseModel, ConfigDict, Field

from pneumocli import DISCLAIMER
from pneumocli.core.atypical import ATYPICAL, Typical, TypicalFigures, pack_typical, unpack_typical
from pneumocli.core.calibration import apply_temperature
from pneumocli.core.data import CLASS_NAMES
from pneumocli.core.decision import Decision, Source
from pneumocli.core.errors import RunError
from pneumocli.core.files import replacing
from pneumocli.core.records import DataRecord, WeightsRecord

CARD = "pneumocli.json"


class ModelCard(BaseModel):
    """What must be known to use a model and to say where it comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: str = Field(description="of the run, and of the fold if it is one fold's model")
    members: int = Field(ge=1, description="models whose probabilities are averaged; 1 for a single model")
    pixels: int = Field(ge=1, description="side of the uint8 grey images that go in")
    preparation: int = Field(description="version of the way image files become pixels")
    threshold: float = Field(0.5, ge=0, le=1, description="called pneumonia from this uncalibrated score on")
    rule: str | None = Field(None, description="that chose the threshold; none for a fold of its own")
    temperature: float = Field(1.0, gt=0, description="calibrates the score; 1 leaves it as it is")
    source: Source | None = Field(None, description="the scores that threshold and temperature come from")
    atypical: TypicalFigures | None = Field(
        None, description="of the distances to the training images; none for a fold of its own"
    )
    classes: tuple[str, ...] = CLASS_NAMES
    data: DataRecord
    weights: WeightsRecord
    created: str
    disclaimer: str = DISCLAIMER

    @property
    def calibrated_threshold(self) -> float:
        """The calibrated probability from which on an image is called pneumonia."""
        return float(apply_temperature(self.threshold, self.temperature))

    def decide(self, decision: Decision) -> "ModelCard":
        """Return the card of the same model with its run's decision."""
        kept = {name: getattr(decision, name) for name in ("threshold", "rule", "temperature", "source")}
        return self.model_copy(update=kept)


def save_model(model: keras.Model, path: Path, card: ModelCard, typical: Typical | None = None) -> None:
    """Write the model and its card as one `.keras` file, whole or not at all.

    Args:
        typical: what the training images' features are like; its figures become the card's.
    """
    card = card.model_copy(update={"atypical": None if typical is None else typical.figures})
    with replacing(path) as partial:
        model.save(partial)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.writestr(CARD, card.model_dump_json(indent=2))
            if typical is not None:
                archive.writestr(ATYPICAL, pack_typical(typical))


def read_card(path: Path) -> ModelCard:
    """Read the card of a model file.

    Raises:
        RunError: the file is missing, damaged, or was not written by pneumocli.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return ModelCard.model_validate_json(archive.read(CARD))
    except FileNotFoundError:
        raise RunError(f"{path} does not exist; name a run folder or a .keras file of pneumocli") from None
    except Exception as error:  # zipfile promises no list of what a damaged file can raise
        raise RunError(
            f"{path} is not a model that pneumocli wrote, or it is damaged ({type(error).__name__}); "
            "name a run folder or a .keras file of pneumocli"
        ) from None


def load_typical(path: Path) -> Typical | None:
    """Read from a model file what the training images' features are like; None if it does not say.

    Raises:
        RunError: as for `read_card`, or the arrays are damaged or not those that the card speaks of.
    """
    figures = read_card(path).atypical
    if figures is None:
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(ATYPICAL)
    except Exception as error:  # as above
        raise RunError(
            f"{path} has lost its entry {ATYPICAL}, or it is damaged ({type(error).__name__}); train it anew"
        ) from None
    typical = unpack_typical(content, path)
    if typical.figures != figures:
        raise RunError(f"{path} mixes parts of two models: {ATYPICAL} is not what {CARD} says; train it anew")
    return typical


def load_model(path: Path) -> tuple[keras.Model, ModelCard]:
    """Load a model file and its card; nothing in the file is run as code.

    Raises:
        RunError: as for `read_card`, or the model in it cannot be rebuilt.
    """
    card = read_card(path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True), card
    except Exception as error:  # nor does Keras
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise RunError(f"{path} cannot be loaded ({reason}); train it anew or name another model") from None
