"""The shape of ResNet-50, counted without Keras: where it is cut, and what its two parts cost.

He et al. 2015, arXiv:1512.03385, table 1, as `keras.applications` builds it: a stem, then residual
blocks of three convolutions, each stage's first with a fourth in its shortcut and, behind stage 2, a
stride of 2.
"""

from collections.abc import Iterator
from dataclasses import dataclass

LAYERS = 175
POOLED = 2048  # channels behind the last block
# Stage, number of blocks, channels within a block; four times as many leave it.
STAGES = ((2, 3, 64), (3, 4, 128), (4, 6, 256), (5, 3, 512))


@dataclass(frozen=True)
class Cut:
    """The network at a cut: a frozen trunk before it, a trainable tail behind it.

    Attributes:
        name: of the last layer before which all is frozen and after which one tensor goes on.
        side, channels: of the tensor there.
        trunk_operations, tail_operations: of one image, two a weight and place.
        tail_weights: how many weights the tail has.
    """

    name: str
    side: int
    channels: int
    trunk_operations: int
    tail_operations: int
    tail_weights: int

    @property
    def numbers(self) -> int:
        """How many numbers an image is at the cut."""
        return self.side * self.side * self.channels


@dataclass(frozen=True)
class _Place:
    """A layer that can be the end of the trunk, and the operations and weights up to it."""

    layer: int
    name: str
    side: int
    channels: int
    operations: int
    weights: int


def find_place(image_size: int, tune_layers: int) -> Cut:
    """Return where ResNet-50 is cut when its last layers train, as `model.find_cut` finds it."""
    places = list(_walk(image_size))
    first_trainable = max(LAYERS - tune_layers, 1)
    place = [place for place in places if place.layer < first_trainable][-1]
    return Cut(
        place.name,
        place.side,
        place.channels,
        place.operations,
        places[-1].operations - place.operations,
        places[-1].weights - place.weights,
    )


def count_weights() -> int:
    """Return the number of weights of ResNet-50 without its top."""
    return list(_walk(224))[-1].weights


def _walk(image_size: int) -> Iterator[_Place]:
    yield _Place(0, "input_layer", image_size, 3, 0, 0)
    yield _Place(1, "conv1_pad", image_size + 6, 3, 0, 0)
    side = -(-image_size // 2)
    operations, weights = 2 * 7 * 7 * 3 * 64 * side**2, 7 * 7 * 3 * 64 + 5 * 64
    for layer, name in enumerate(("conv1_conv", "conv1_bn", "conv1_relu"), start=2):
        yield _Place(layer, name, side, 64, operations, weights)
    yield _Place(5, "pool1_pad", side + 2, 64, operations, weights)
    side = -(-side // 2)
    layer, channels = 6, 64
    yield _Place(layer, "pool1_pool", side, channels, operations, weights)
    for stage, blocks, inner in STAGES:
        for block in range(1, blocks + 1):
            if block == 1 and stage > 2:
                side = -(-side // 2)
            outer = 4 * inner
            kernels = [channels * inner, 9 * inner * inner, inner * outer]
            widths = [inner, inner, outer]
            if block == 1:
                kernels.append(channels * outer)
                widths.append(outer)
            operations += 2 * side**2 * sum(kernels)
            # A bias and the four numbers of a BatchNorm a channel.
            weights += sum(kernels) + 5 * sum(widths)
            channels = outer
            layer += 12 if block == 1 else 10
            yield _Place(layer - 1, f"conv{stage}_block{block}_add", side, channels, operations, weights)
            yield _Place(layer, f"conv{stage}_block{block}_out", side, channels, operations, weights)
