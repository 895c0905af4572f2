"""What scores images, be it a Keras network or a session of ONNX Runtime."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Scored(NamedTuple):
    """What a model gives for B images.

    Attributes:
        logits: of the K members, float32 (B, K).
        distances: of the images' features to those of the training images, float64 (B,); None where the
            model keeps none of them.
    """

    logits: NDArray[np.float32]
    distances: NDArray[np.float64] | None


class Scorer(Protocol):
    """Scores images, batch by batch.

    Attributes:
        engine: the library that computes, and its version.
        batch_size: images that are best given at once.
    """

    engine: str
    batch_size: int

    def score(self, images: NDArray[np.uint8], size: int, /) -> Scored:
        """Score a batch.

        Args:
            images: (B, P, P), P being the size the model was built for.
            size: images in a whole batch, B or more; a network that is made ready for one shape fills up
                to it.
        """
        ...
