"""Residual blocks that the weights file left untrained: how they begin."""

from collections.abc import Sequence

import keras
import numpy as np


def start_as_identity(layers: Sequence[keras.layers.Layer]) -> None:
    """Let each residual block that trains, and that no file has trained, begin by passing on its input.

    Its branch begins with a last convolution of zeros, so that it adds nothing (as Goyal et al. 2017,
    arXiv:1706.02677, section 5.1, begin with the last BatchNorm's gamma at 0; here BatchNorm is frozen).
    A shortcut that widens its input repeats the input's channels, one copy after the other.

    Args:
        layers: of a backbone whose blocks are joined by `Add`, the shortcut first; a block trains where
            its convolutions are trainable.
    """
    for layer in layers:
        if not isinstance(layer, keras.layers.Add):
            continue
        shortcut, branch = (tensor._keras_history.operation for tensor in layer.input)
        if _is_fresh(branch):
            _set_kernel(branch, 0.0)
        if _is_fresh(shortcut):
            copies = np.zeros(_find_convolution(shortcut).kernel.shape, np.float32)
            height, width, channels, filters = copies.shape
            column = np.arange(filters)
            copies[height // 2, width // 2, column % channels, column] = 1
            _set_kernel(shortcut, copies)


def _is_fresh(layer: keras.layers.Layer) -> bool:
    """Tell whether a layer is the untrained BatchNorm behind a convolution that trains."""
    if not isinstance(layer, keras.layers.BatchNormalization) or not _find_convolution(layer).trainable:
        return False
    # No training leaves every scale at exactly 1 and every offset at exactly 0.
    gamma, beta = keras.ops.convert_to_numpy(layer.gamma), keras.ops.convert_to_numpy(layer.beta)
    return bool((gamma == 1).all() and (beta == 0).all())


def _find_convolution(norm: keras.layers.BatchNormalization) -> keras.layers.Conv2D:
    return norm.input._keras_history.operation


def _set_kernel(norm: keras.layers.BatchNormalization, kernel: np.ndarray | float) -> None:
    """Set the convolution so that it and the BatchNorm behind it together are this kernel without a bias."""
    convolution = _find_convolution(norm)
    mean, variance = (keras.ops.convert_to_numpy(array) for array in (norm.moving_mean, norm.moving_variance))
    scale = np.sqrt(variance + norm.epsilon)
    convolution.kernel.assign(np.broadcast_to(kernel * scale, convolution.kernel.shape))
    convolution.bias.assign(mean)
