"""The trunk's output pooled: the features by which an image is held against those trained on."""

import keras

# Parts of the trunk's output by which images are held against those trained on: its upper and its lower
# half. The mean of the whole knows less of a chest that stands on its head (examples/atypical.md).
BANDS = 2


def list_bands(rows: int, bands: int = BANDS) -> list[tuple[int, int]]:
    """Return each band's first row and the one behind its last, top to bottom; at most as many as rows."""
    bands = min(bands, rows)
    return [(rows * band // bands, rows * (band + 1) // bands) for band in range(bands)]


def attach_pooled(
    logits: keras.KerasTensor, maps: keras.KerasTensor, bands: int = BANDS
) -> keras.KerasTensor:
    """Return logits (B, K) and the means of the maps' bands, top to bottom, as one (B, K + bands * C).

    Args:
        maps: the trunk's output (B, h, w, C).
        bands: how many; h if that is less.
    """
    rows = maps.shape[1]
    pooled = [
        keras.layers.GlobalAveragePooling2D(dtype="float32", name=f"pooled_band_{first}")(
            keras.layers.Cropping2D(((first, rows - end), (0, 0)), name=f"band_{first}")(maps)
        )
        for first, end in list_bands(rows, bands)
    ]
    return keras.layers.Concatenate(dtype="float32", name="answers")([logits, *pooled])
