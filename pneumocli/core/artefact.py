"""The model file: a Keras model with its card inside, so that it can be used without its run.

A `.keras` file is a zip archive; the card is one more entry, `pneumocli.json`, which Keras passes over, and
what the training images' features are like is another, `atypical.npz`.
"""

import zipfile
from pathlib import Path

import keras

from pneumocli.core.atypical import ATYPICAL, Typical, pack_typical, unpack_typical
from pneumocli.core.contract import CARD, ModelCard
from pneumocli.core.errors import RunError
from pneumocli.core.files import replacing


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
