"""Whether an image is unlike those that a model was trained on.

First what is seen at once: nearly constant, coloured, far from square, tiny. Then the Mahalanobis distance of
the trunk's pooled features to those of the training images (the idea is that of Lee et al. 2018,
arXiv:1807.03888; one Gaussian here, for the frozen trunk knows no classes). The distance from which an image
counts as unlike is taken from training images that the Gaussian was not fitted on.
"""

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pneumocli.core.archive import check_arrays, read_arrays
from pneumocli.core.errors import RunError
from pneumocli.core.files import replacing
from pneumocli.core.images import Picture
from pneumocli.core.reading import open_file, parse_json

ATYPICAL, POOLED_MAPS = "atypical.npz", "pooled_maps.npz"

FLATTEST = 3.0  # grey levels of standard deviation; PneumoniaMNIST's training images have 6 and more
# A grey image saved as JPEG in colour has 0.02 at most, a film with a blue or yellow tint some 0.07; the
# palest of two photographs at hand has 0.11.
MOST_COLOUR = 0.1
LONGEST = 2.5  # longer side to shorter; more than half of what is longer would be cropped away
FEWEST_PIXELS = 64  # of the shorter side

# Share of images like the training images that may be called unlike them. Of chest X-rays from other files
# several times as many are (examples/atypical.md).
AIM = 0.005
FOLDS = 5
FEWEST_IMAGES = 10  # with fewer nothing is said of distances


class TypicalFigures(BaseModel):
    """How the distances were fitted, and how often they are wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    images: int = Field(ge=1, description="training images, all held out once")
    cut: float = Field(ge=0, description="distance above which an image is unlike the training images")
    aim: float = Field(ge=0, le=1, description="share of such images that the cut is to call unlike")
    false_rejects: int = Field(
        ge=0, description="held-out training images above the cut that the others of them give"
    )
    shrinkage: float = Field(ge=0, le=1, description="of the covariance, towards a multiple of the identity")

    @property
    def false_reject_rate(self) -> float:
        """Share of held-out training images called unlike the training images, 0 to 1."""
        return self.false_rejects / self.images

    def to_dict(self) -> dict[str, object]:
        return {**self.model_dump(), "false_reject_rate": self.false_reject_rate}


@dataclass(frozen=True)
class Typical:
    """What the pooled features of training images are like.

    Attributes:
        mean: float32 (C,).
        whitening: float32 (C, C); features minus the mean, times this, have the identity as covariance.
        figures: the cut and where it comes from.
    """

    mean: NDArray[np.float32]
    whitening: NDArray[np.float32]
    figures: TypicalFigures

    def measure(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the Mahalanobis distance (N,) of pooled features (N, C), 0 and more."""
        return _measure(features, self.mean, self.whitening)


def fit_typical(features: NDArray[np.float32], groups: NDArray[np.int64]) -> Typical | None:
    """Fit mean, covariance and cut to the pooled features of training images.

    In 5 folds each image's distance is measured to the mean and covariance of the other folds. The cut is the
    ceil((n + 1) 0.995)-th smallest of these n distances, as in split conformal prediction (Angelopoulos and
    Bates 2021, arXiv:2107.07511, section 1), the largest if n is below 199. How often it is wrong is measured
    with other cuts, for each fold that of the other folds' distances. Mean and covariance are then fitted to
    all images; the covariance is shrunken (Ledoit and Wolf 2004, J. Multivariate Analysis 88:365).

    Args:
        features: (N, C).
        groups: (N,), images of the same number are never on both sides of a fold.

    Returns:
        None for fewer than 10 images or 2 groups, or images without any difference: nothing can be fitted.
    """
    from sklearn.model_selection import GroupKFold

    folds = min(FOLDS, len(np.unique(groups)))
    if len(features) < FEWEST_IMAGES or folds < 2 or not np.ptp(features, axis=0).any():
        return None
    distances, fold_of = np.empty(len(features)), np.empty(len(features), np.int64)
    for fold, (others, held_out) in enumerate(GroupKFold(folds).split(features, groups=groups)):
        mean, whitening, _ = _fit_gaussian(features[others])
        distances[held_out] = _measure(features[held_out], mean, whitening)
        fold_of[held_out] = fold
    cuts = np.array([take_cut(distances[fold_of != fold]) for fold in range(folds)])
    mean, whitening, shrinkage = _fit_gaussian(features)
    figures = TypicalFigures(
        images=len(features),
        cut=take_cut(distances),
        aim=AIM,
        false_rejects=int((distances > cuts[fold_of]).sum()),
        shrinkage=shrinkage,
    )
    return Typical(mean.astype(np.float32), whitening.astype(np.float32), figures)


def take_cut(distances: NDArray[np.float64]) -> float:
    """Return the cut that at most `AIM` of further such distances exceed; the largest if they are too few."""
    rank = math.ceil((len(distances) + 1) * (1 - AIM))
    return float(np.sort(distances)[min(rank, len(distances)) - 1])


def _fit_gaussian(features: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return mean (C,), whitening (C, C) and shrinkage."""
    from sklearn.covariance import LedoitWolf

    fitted = LedoitWolf().fit(features.astype(np.float64))
    # With covariance L L', the squared distance is that of the solution of L z = x - mean.
    whitening = np.linalg.inv(np.linalg.cholesky(fitted.covariance_)).T
    return fitted.location_, whitening, float(fitted.shrinkage_)


def _measure(
    features: NDArray[np.floating], mean: NDArray[np.floating], whitening: NDArray[np.floating]
) -> NDArray[np.float64]:
    away = features.astype(np.float64) - mean
    return np.linalg.norm(away @ whitening.astype(np.float64), axis=1)


def judge_looks(picture: Picture) -> str | None:
    """Return what is wrong with an image that needs no network to be seen, in a few words, or None."""
    looks, levels = picture.looks, picture.pixels
    if levels.std() < FLATTEST:
        return f"nearly constant (standard deviation of {levels.std():.1f} grey levels)"
    if looks.colour > MOST_COLOUR:
        return f"coloured ({looks.colour:.2f})"
    shorter, longer = sorted((looks.width, looks.height))
    if longer > LONGEST * shorter:
        how = ("wide", "high") if looks.width > looks.height else ("high", "wide")
        return f"{longer / shorter:.1f} times as {how[0]} as {how[1]}"
    # Rows of the data set that were saved as files are of the trained size.
    if shorter < FEWEST_PIXELS and (looks.height, looks.width) != levels.shape:
        return f"{looks.width} x {looks.height} pixels"
    return None


def judge_image(picture: Picture, distance: float | None, figures: TypicalFigures | None) -> str | None:
    """Return why an image is atypical, in a few words, or None.

    Args:
        distance: of its features by `Typical.measure`; None where the model has no `Typical`.
        figures: of its distances.
    """
    reason = judge_looks(picture)
    if reason is None and figures is not None and distance is not None and distance > figures.cut:
        return f"unlike the training images (distance {distance:.1f}, cut {figures.cut:.1f})"
    return reason


def describe_atypical(atypical: int, judged: int, figures: TypicalFigures | None) -> str:
    """Return in a line how many images are atypical, and how often that is said of training images.

    Args:
        atypical: images that `judge_image` gave a reason for, of those `judged`.
        figures: None if the images' looks alone were judged.
    """
    found = f"atypical: {atypical} of {judged} images"
    if figures is None:
        return f"{found}, by their looks alone: this model keeps nothing of its training images"
    return (
        f"{found}; so are {figures.false_rejects} of {figures.images} training images held out "
        f"({100 * figures.false_reject_rate:.1f} %, by their distance)"
    )


def pack_typical(typical: Typical) -> bytes:
    """Return the content of an `.npz` file: mean, whitening, and the figures as JSON."""
    content = io.BytesIO()
    np.savez_compressed(
        content,
        mean=typical.mean,
        whitening=typical.whitening,
        figures=np.array(typical.figures.model_dump_json()),
    )
    return content.getvalue()


def unpack_typical(file: BinaryIO, where: Path) -> Typical:
    """Return what `pack_typical` packed; nothing in it is run as code, and what it declares is checked first.

    Args:
        where: the file it comes from, for the message.

    Raises:
        RunError: it is damaged, or not of that form.
    """
    try:
        check_arrays(file)
        with np.load(file, allow_pickle=False) as kept:
            # An entry that is no array comes as bytes.
            mean, whitening = np.asarray(kept["mean"]), np.asarray(kept["whitening"])
            figures = TypicalFigures.model_validate(parse_json(str(kept["figures"]).encode()))
    except Exception as error:  # numpy and zipfile promise no list of what a damaged file can raise
        raise RunError(
            f"{where}: the features of the training images cannot be read ({type(error).__name__}); the file "
            "is damaged: train anew"
        ) from None
    formed = mean.ndim == 1 and whitening.shape == (len(mean), len(mean))
    typed = mean.dtype == whitening.dtype == np.float32
    if not (formed and typed and np.isfinite(mean).all() and np.isfinite(whitening).all()):
        raise RunError(
            f"{where}: the features of the training images are {mean.dtype} of shape {mean.shape} and "
            f"{whitening.dtype} of shape {whitening.shape}, or not finite; the file is damaged: train anew"
        )
    return Typical(mean, whitening, figures)


def write_typical(folder: Path, typical: Typical) -> None:
    """Write `atypical.npz` into a run folder."""
    with replacing(folder / ATYPICAL) as partial:
        partial.write_bytes(pack_typical(typical))


def read_typical(folder: Path) -> Typical | None:
    """Read a run folder's `atypical.npz`; None if there is none, as in runs with too few images.

    Raises:
        RunError: it is damaged.
    """
    path = folder / ATYPICAL
    try:
        with open_file(path) as file:
            return unpack_typical(file, path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}); the run folder is damaged") from None


def write_pooled_maps(folder: Path, index: NDArray[np.int64], pooled: NDArray[np.float32]) -> None:
    """Write a fold's `pooled_maps.npz`: rows of the training split (n,), their pooled trunk output (n, F)."""
    with replacing(folder / POOLED_MAPS) as partial:
        np.savez(partial, index=index, pooled=pooled)


def read_pooled_maps(folders: Iterable[Path]) -> NDArray[np.float32]:
    """Return the pooled trunk output of all training images, float32 (N, F), from their folds' folders.

    Raises:
        RunError: a fold has lost its file, it is damaged, or the folds do not make up the training split.
    """
    rows: list[NDArray[np.int64]] = []
    parts: list[NDArray[np.float32]] = []
    for path in (folder / POOLED_MAPS for folder in folders):
        try:
            index, pooled = read_arrays(path, ("index", "pooled")).values()
            if index.ndim != 1 or index.dtype != np.int64 or pooled.ndim != 2 or pooled.dtype != np.float32:
                raise ValueError
            rows.append(index)
            parts.append(pooled)
        except FileNotFoundError:
            raise RunError(f"{path} is missing; the run folder has lost a part: train it anew") from None
        except Exception as error:
            raise RunError(
                f"{path} cannot be read ({type(error).__name__}); the run folder is damaged: train it anew"
            ) from None
    index = np.concatenate(rows)
    order = np.argsort(index, kind="stable")
    fits = len({part.shape[1:] for part in parts}) == 1 and sum(map(len, parts)) == len(index)
    if not fits or not np.array_equal(index[order], np.arange(len(index))):
        raise RunError("the folds' pooled_maps.npz do not belong together; train the run anew")
    return np.concatenate(parts)[order]
