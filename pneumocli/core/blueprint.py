"""The plan of a network in a model file, `config.json`, checked before Keras builds anything by it.

Keras imports and runs what the plan names. Its `safe_mode` turns away lambdas; any class and function of
the packages it knows can still be named, some of which read files. Here only the layers that pneumocli
writes pass, and only as large as they can be.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pneumocli.core.limits import fault_bytes

LAYERS = frozenset(
    {
        "Activation",
        "Add",
        "Average",
        "AveragePooling2D",
        "BatchNormalization",
        "Concatenate",
        "Conv2D",
        "Cropping2D",
        "Dense",
        "Dropout",
        "GlobalAveragePooling1D",
        "GlobalAveragePooling2D",
        "InputLayer",
        "MaxPooling2D",
        "ReLU",
        "Rescaling",
        "Reshape",
        "Resizing",
        "ZeroPadding2D",
    }
)
INITIALIZERS = frozenset({"Constant", "GlorotUniform", "HeNormal", "Ones", "Zeros"})
# By the module that the plan names; what has no module stands for a tensor between two layers.
ALLOWED: Mapping[str | None, frozenset[str]] = {
    None: frozenset({"__keras_tensor__"}),
    "keras": frozenset({"DTypePolicy"}),
    "keras.initializers": INITIALIZERS,
    "keras.layers": LAYERS,
    "keras.src.models.functional": frozenset({"Functional"}),
}
ACTIVATIONS = frozenset({"linear", "relu", "sigmoid", "softmax"})

MOST_LAYERS = 20_000  # ResNet-50 has 190; an ensemble has as many again a member at most, of 100
LARGEST_SIDE = 2048  # of an enlarged image: image_size is at most 1024, center_crop at least half
LARGEST_PADDING = 16
LARGEST_CROPPING = 512
BYTES_A_WEIGHT = 4


def check_blueprint(plan: Any) -> None:
    """Check that a plan names nothing but our layers, no code, and no more weights than memory may take.

    Args:
        plan: the parsed `config.json` of a `.keras` file.

    Raises:
        ValueError: it does; the words say what.
    """
    weights = layers = 0
    if not isinstance(plan, dict) or plan.get("class_name") != "Functional":
        raise ValueError("its plan is not that of a network")
    for part in _walk(plan):
        if "class_name" in part:
            _check_name(part)
            if part.get("module") == "keras.layers":
                layers += 1
                weights += _count_weights(part)
    if layers > MOST_LAYERS:
        raise ValueError(f"its plan has {layers} layers")
    fault = fault_bytes(weights * BYTES_A_WEIGHT)
    if fault:
        raise ValueError(f"its plan {fault}")


def _walk(plan: Any) -> Iterator[dict[str, Any]]:
    waiting = [plan]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _check_name(part: dict[str, Any]) -> None:
    name, module, registered = (part.get(key) for key in ("class_name", "module", "registered_name"))
    known = (
        isinstance(module, (str, type(None))) and isinstance(name, str) and name in ALLOWED.get(module, ())
    )
    if not known or registered not in (None, name):
        raise ValueError(f"its plan names {_spell(module)}{_spell(name)}, which no model of pneumocli has")
    if not isinstance(part.get("config"), dict):
        raise ValueError(f"its plan has {name} without settings")
    activation = part["config"].get("activation", "linear")
    if module == "keras.layers" and activation not in ACTIVATIONS:
        raise ValueError(
            f"its plan has the activation {str(activation)[:80]!r}, which no model of pneumocli has"
        )


def _spell(name: Any) -> str:
    return "" if name is None else f"{str(name)[:80]!r} "


def _count_weights(layer: dict[str, Any]) -> int:
    """Return how many numbers Keras will draw for a layer, by the input that it builds the layer for."""
    name, config = layer["class_name"], layer["config"]
    extra = [key for key in ("lora_rank", "quantization_config") if config.get(key) is not None]
    if extra:
        raise ValueError(f"its plan has {name} with {extra[0]}, which no model of pneumocli has")
    if name == "Resizing":
        _check_sizes(name, [config.get("height"), config.get("width")], LARGEST_SIDE)
    if name == "Cropping2D":
        _check_sizes(name, config.get("cropping"), LARGEST_CROPPING)
    if name == "ZeroPadding2D":
        _check_sizes(name, config.get("padding"), LARGEST_PADDING)
    if name not in ("BatchNormalization", "Conv2D", "Dense"):
        return 0
    build = layer.get("build_config")
    shape = build.get("input_shape") if isinstance(build, dict) and len(build) == 1 else None
    if not isinstance(shape, list) or not all(_is_size(side) for side in shape[1:]) or len(shape) < 2:
        raise ValueError(f"its plan has {name} without the shape of its input")
    # Whichever axis it takes for the channels.
    channels = max(shape[1:])
    if name == "BatchNormalization":
        return 4 * int(channels)
    if name == "Dense":
        _check_sizes(name, config.get("units"), math.inf)
        return int(config["units"]) * (int(channels) + 1)
    kernel = config.get("kernel_size")
    _check_sizes(name, [config.get("filters"), kernel], math.inf)
    sides = kernel if isinstance(kernel, list) else [kernel, kernel]
    return int(config["filters"]) * (math.prod(sides) * int(channels) + 1)


def _check_sizes(name: str, sizes: Any, most: float) -> None:
    for size in _flatten(sizes):
        if not _is_size(size) or size > most:
            raise ValueError(f"its plan has {name} of size {str(size)[:20]}")


def _flatten(sizes: Any) -> Iterator[Any]:
    if isinstance(sizes, list):
        for size in sizes[:8]:
            yield from _flatten(size)
    else:
        yield sizes


def _is_size(size: Any) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and size >= 0
