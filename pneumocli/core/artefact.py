"""The model file: a Keras model with its card inside, so that it can be used without its run.

A `.keras` file is a zip archive; the card is one more entry, `pneumocli.json`, which Keras passes over, and
what the training images' features are like is another, `atypical.npz`.
"""

import io
import math
import zipfile
from pathlib import Path

import keras

from pneumocli.core.archive import check_entries
from pneumocli.core.atypical import ATYPICAL, Typical, pack_typical, unpack_typical
from pneumocli.core.blueprint import check_blueprint
from pneumocli.core.contract import CARD, ModelCard
from pneumocli.core.errors import PneumoError, RunError
from pneumocli.core.files import replacing
from pneumocli.core.hashes import check_hash
from pneumocli.core.inference import BATCH_SIZE
from pneumocli.core.limits import fault_bytes
from pneumocli.core.progress import Notice, keep_quiet
from pneumocli.core.reading import LARGEST_JSON, open_file, parse_json
from pneumocli.core.weights import check_weights

PLAN, WEIGHTS = "config.json", "model.weights.h5"  # Keras's own
ENTRIES = (CARD, ATYPICAL, PLAN, WEIGHTS, "metadata.json")


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
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            check_entries(archive, ENTRIES)
            return ModelCard.model_validate(parse_json(_read_entry(archive, CARD)))
    except FileNotFoundError:
        raise RunError(f"{path} does not exist; name a run folder or a .keras file of pneumocli") from None
    except PneumoError:
        raise
    except Exception as error:  # zipfile promises no list of what a damaged file can raise
        raise RunError(
            f"{path} is not a model that pneumocli wrote, or it is damaged ({_name_reason(error)}); "
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
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            content = archive.read(ATYPICAL)
    except Exception as error:  # as above
        raise RunError(
            f"{path} has lost its entry {ATYPICAL}, or it is damaged ({type(error).__name__}); train it anew"
        ) from None
    typical = unpack_typical(io.BytesIO(content), path)
    if typical.figures != figures:
        raise RunError(f"{path} mixes parts of two models: {ATYPICAL} is not what {CARD} says; train it anew")
    return typical


def load_model(
    path: Path, *, force: bool = False, notify: Notice = keep_quiet
) -> tuple[keras.Model, ModelCard]:
    """Load a model file and its card; nothing in the file is run as code.

    What it declares is checked first: its plan names only the layers that pneumocli writes, and its
    weights and what they compute take no more memory than `limits.most_bytes`.

    Args:
        force: load a file that is not the one its run wrote; see `hashes.check_hash`.

    Raises:
        RunError: as for `read_card`, the file is not the one that its run wrote, or the model in it cannot
            be rebuilt or is not what its card says.
    """
    card = read_card(path)
    check_hash(path, force=force, notify=notify)
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            check_blueprint(parse_json(_read_entry(archive, PLAN)))
            check_weights(io.BytesIO(archive.read(WEIGHTS)))
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        _check_model(model, card)
        return model, card
    except PneumoError:
        raise
    except Exception as error:  # nor does Keras
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise RunError(f"{path} cannot be loaded ({reason}); train it anew or name another model") from None


def _read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > LARGEST_JSON:
        raise ValueError(f"its {name} is larger than {LARGEST_JSON / 1e6:g} MB")
    return archive.read(name)


def _name_reason(error: Exception) -> str:
    return str(error) if type(error) is ValueError else type(error).__name__


def _check_model(model: keras.Model, card: ModelCard) -> None:
    """Raise ValueError where the model is not what its card says, or computes more than memory may take."""
    if not isinstance(model, keras.Model) or len(model.inputs) != 1:
        raise ValueError("it is not a network of one input")
    image = model.inputs[0]
    if image.shape != (None, card.pixels, card.pixels, 1) or image.dtype != "uint8":
        raise ValueError(f"it takes {image.dtype} {image.shape}, its card tells of {card.pixels} px")
    output = model.output
    if isinstance(output, dict):
        is_right = {name: part.shape for name, part in output.items()} == {
            "probability": (None, 1),
            "member_logits": (None, card.members),
        }
    else:
        is_right = card.members == 1 and getattr(output, "shape", None) == (None, 1)
    if not is_right:
        raise ValueError(f"it does not give what its card tells of: {card.members} members")
    largest = max(_count_outputs(layer) for layer in model._flatten_layers(include_self=False))
    fault = fault_bytes(largest * BATCH_SIZE * 4)
    if fault:
        raise ValueError(f"a layer of it {fault}")


def _count_outputs(layer: keras.layers.Layer) -> int:
    """Return how many numbers a layer gives for one image."""
    outputs = keras.tree.flatten(layer.output)
    return sum(math.prod(side or 1 for side in output.shape) for output in outputs)
