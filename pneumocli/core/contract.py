"""What must be known to use a model, whatever the file that it is in and the library that runs it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pneumocli import DISCLAIMER
from pneumocli.core.atypical import TypicalFigures
from pneumocli.core.calibration import apply_temperature
from pneumocli.core.decision import Decision, Source
from pneumocli.core.limits import LARGEST_PIXELS
from pneumocli.core.records import DataRecord, WeightsRecord

CARD = "pneumocli.json"


class ModelCard(BaseModel):
    """What must be known to use a model and to say where it comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    name: str = Field(description="of the run, and of the fold if it is one fold's model")
    members: int = Field(
        ge=1, le=1000, description="models whose probabilities are averaged; 1 for a single model"
    )
    pixels: int = Field(ge=1, le=LARGEST_PIXELS, description="side of the uint8 grey images that go in")
    preparation: int = Field(description="version of the way image files become pixels")
    threshold: float = Field(0.5, ge=0, le=1, description="called pneumonia from this uncalibrated score on")
    rule: str | None = Field(None, description="that chose the threshold; none for a fold of its own")
    temperature: float = Field(1.0, gt=0, description="calibrates the score; 1 leaves it as it is")
    source: Source | None = Field(None, description="the scores that threshold and temperature come from")
    atypical: TypicalFigures | None = Field(
        None, description="of the distances to the training images; none for a fold of its own"
    )
    classes: tuple[Literal["normal"], Literal["pneumonia"]] = ("normal", "pneumonia")
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
