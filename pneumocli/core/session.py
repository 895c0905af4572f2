"""Answers without Keras: an ONNX file of `export`, run by ONNX Runtime on the processor."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pneumocli import DISCLAIMER
from pneumocli.core.contract import CARD, ModelCard
from pneumocli.core.errors import PneumoError, RunError
from pneumocli.core.files import hash_file
from pneumocli.core.hardware import count_cores, read_threads
from pneumocli.core.scorer import Scored

INSTALL = "pip install 'pneumocli[onnx]'"
# For so few images a rearranged graph does not repay the time that it takes: for three members at 224 px the
# file opens in 0.2 s of processor time instead of 0.6 s, and an image takes 0.4 s instead of 0.2 s.
FEW = 2
INTENDED_USE = "To try, teach and compare image classifiers."

# Names in the graph. Shapes: B images of P pixels' side, K members, F features.
IMAGE = "image"
PROBABILITY, SCORE, MEMBERS, LOGITS = "probability", "score", "members", "logits"
FEATURES, DISTANCE = "features", "distance"
MEANINGS = {
    IMAGE: "uint8 (B, P, P, 1), grey levels 0 to 255 as they are; see card.pixels and card.preparation",
    PROBABILITY: "float32 (B,), of pneumonia, calibrated: 1 / (1 + exp(-logit(score) / temperature))",
    SCORE: "float32 (B,), uncalibrated: the members' mean; pneumonia from card.threshold on",
    MEMBERS: "float32 (B, K), each member's probability, with the same temperature",
    LOGITS: "float32 (B, K), each member's logit, without a temperature",
    FEATURES: "float32 (B, F), the frozen trunk's output averaged over its upper and over its lower half",
    DISTANCE: "float64 (B,), to the training images' features; atypical above card.atypical.cut",
}


class MadeFrom(BaseModel):
    """A file as it was when it was exported."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    bytes: int
    modified: int = Field(description="nanoseconds since 1970")
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "MadeFrom":
        seen = path.stat()
        return cls(name=path.name, bytes=seen.st_size, modified=seen.st_mtime_ns, sha256=hash_file(path))

    def is_still(self, path: Path) -> bool:
        """Return whether the file has the same content; it is read only if its size or time changed."""
        try:
            seen = path.stat()
            if (seen.st_size, seen.st_mtime_ns) == (self.bytes, self.modified):
                return True
            return seen.st_size == self.bytes and hash_file(path) == self.sha256
        except OSError:
            return False


class Checked(BaseModel):
    """How an ONNX file was compared with the Keras model that it was made from."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    images: int = Field(ge=1)
    data: str = Field(description="which images")
    largest_difference: float = Field(ge=0, description="of any probability or score, the members' too")
    largest_distance_difference: float | None = Field(
        ge=0, description="of a distance, as a share of it; none without distances"
    )


class Contract(BaseModel):
    """What an ONNX file says of itself, in its metadata under `pneumocli.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    card: ModelCard
    model_sha256: str = Field(description="of the Keras model, as `predict` tells it")
    made_from: tuple[MadeFrom, ...]
    versions: dict[str, str]
    checked: Checked | None = None
    meanings: dict[str, str] = MEANINGS
    intended_use: str = INTENDED_USE
    disclaimer: str = DISCLAIMER

    def is_of(self, files: list[Path]) -> bool:
        """Return whether these files are those that it was made from."""
        return len(files) == len(self.made_from) and all(
            made.is_still(path) for made, path in zip(self.made_from, files, strict=True)
        )


def has_onnxruntime() -> bool:
    return find_spec("onnxruntime") is not None


class Session:
    """Scores images with an ONNX file; see `scorer.Scorer`.

    Attributes:
        contract: what the file says of itself.
    """

    batch_size = 8

    def __init__(self, path: Path, images: int | None = None) -> None:
        """Open an ONNX file.

        Args:
            images: how many are going to be scored; None for many.

        Raises:
            PneumoError: onnxruntime is not installed.
            RunError: the file is missing, damaged, or was not written by pneumocli.
        """
        if not has_onnxruntime():
            raise PneumoError(f"{path} needs onnxruntime, which is not installed: {INSTALL}")
        import onnxruntime

        if not path.is_file():
            raise RunError(f"{path} does not exist; make it with: pneumocli export")
        self.engine = f"onnxruntime {onnxruntime.__version__}"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what is wrong comes as an exception
        # A process beside others is given its share so: by `workers`, by Ray, by Dask.
        options.intra_op_num_threads = read_threads() or count_cores()
        if images is not None and images <= FEW:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.add_session_config_entry("session.disable_prepacking", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            kept = self._session.get_modelmeta().custom_metadata_map
            self.contract = Contract.model_validate_json(kept[CARD])
            self._check_shapes()
        except Exception as error:  # onnxruntime promises no list of what a damaged file can raise
            raise RunError(
                f"{path} is not an ONNX file that pneumocli wrote, or is damaged ({type(error).__name__}); "
                "make it anew with: pneumocli export"
            ) from None
        self._asked = [LOGITS] if self.contract.card.atypical is None else [LOGITS, DISTANCE]

    def score(self, images: NDArray[np.uint8], size: int) -> Scored:
        outputs = self.run(images, self._asked)
        return Scored(outputs[LOGITS], outputs.get(DISTANCE))

    def run(self, images: NDArray[np.uint8], names: list[str]) -> dict[str, NDArray[Any]]:
        """Return the named outputs for images, uint8 (B, P, P); see `MEANINGS`."""
        found = self._session.run(names, {IMAGE: images[..., np.newaxis]})
        return dict(zip(names, found, strict=True))

    def _check_shapes(self) -> None:
        card = self.contract.card
        (image,) = self._session.get_inputs()
        outputs = {output.name: output.shape for output in self._session.get_outputs()}
        if (image.name, image.type, image.shape[1:]) != (
            IMAGE,
            "tensor(uint8)",
            [card.pixels, card.pixels, 1],
        ):
            raise ValueError(image.name)
        if outputs[LOGITS][1:] != [card.members] or (DISTANCE in outputs) != (card.atypical is not None):
            raise ValueError(LOGITS)
