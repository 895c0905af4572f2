"""DICOM files to 8-bit greys, as a viewer shows them at first.

Stored values pass the modality LUT (rescale slope and intercept, or a table), then the first VOI LUT or
window, whose darkest value becomes 0 and whose brightest 255 (DICOM PS3.3, C.11.1 and C.11.2);
MONOCHROME1, where low values are bright, is then inverted. Files that name neither table nor window are
taken as they are if they have 8 bits; with more, the darkest value of the image becomes 0 and the
brightest 255. Padding is left out of that and is black.

Only the tags that this takes are read, and no line says what any tag holds: names, dates and identifiers of
patients are neither loaded nor repeated, nor is what pydicom says of a file, which may quote them.
"""

import logging
import warnings
import zlib
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.errors import ImageError, NoImageError, PneumoError
from pneumocli.core.limits import fault_bytes, fault_pixels
from pneumocli.core.opening import STRIP, wait_turn

if TYPE_CHECKING:
    from pydicom import Dataset

MAGIC, MAGIC_START = b"DICM", 128
EXTRA = "pip install 'pneumocli[dicom]'"

TAGS = [
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "RescaleIntercept",
    "RescaleSlope",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
]
INVERTED = "MONOCHROME1"
GREYS = (INVERTED, "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
LUT_BITS = 16
CHUNK = 1 << 20  # bytes that are inflated at once


def is_dicom(head: bytes) -> bool:
    """Return whether a file that begins with these bytes, at least 132 of them, is DICOM."""
    return head[MAGIC_START : MAGIC_START + len(MAGIC)] == MAGIC


def read_dicom(file: BinaryIO) -> NDArray[np.uint8]:
    """Read the one frame of a DICOM file as it is to be shown, uint8 (H, W), or (H, W, 3) if it has colour.

    Of one with more pixels than `limits.most_pixels` nothing is unpacked.

    Raises:
        NoImageError: the file holds something else than an image, such as a report.
        ImageError: it is damaged, has several frames, or is of a kind that is not read. The message goes
            behind the file's name and has nothing in it that stands in the file's text.
    """
    try:
        return _show(_read_tags(file))
    except PneumoError:
        raise
    except Exception as error:  # pydicom promises no list, and its words may quote the file
        raise ImageError(f"is a damaged DICOM file ({type(error).__name__})") from None


def _silence() -> None:
    """Keep pydicom from warning of what it reads, which would quote it."""
    from pydicom import config

    logging.getLogger("pydicom").disabled = True
    config.settings.reading_validation_mode = config.IGNORE
    # Again for each file: others may have set the filters back. For the whole process, as threads share them.
    warnings.filterwarnings("ignore", module=r"pydicom\b|pneumocli\.core\.dicom")


def _read_tags(file: BinaryIO) -> "Dataset":
    from pydicom import dcmread

    _silence()
    _check_deflated(file)
    dataset = dcmread(file, specific_tags=list(TAGS))
    if "PixelData" not in dataset:
        raise NoImageError("is a DICOM file without an image")
    return dataset


def _check_deflated(file: BinaryIO) -> None:
    """Raise ImageError for a deflated file that unpacks to too much: pydicom unpacks it whole."""
    from pydicom.filereader import _read_file_meta_info, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    read_preamble(file, force=False)
    if _read_file_meta_info(file).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        unpacking, size, packed = zlib.decompressobj(-zlib.MAX_WBITS), 0, file.read(CHUNK)
        while packed:
            size += len(unpacking.decompress(packed, CHUNK))
            fault = fault_bytes(size)
            if fault:
                raise ImageError(fault)
            packed = unpacking.unconsumed_tail or file.read(CHUNK)
    file.seek(0)


def _show(dataset: "Dataset") -> NDArray[np.uint8]:
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ImageError(
            f"is a DICOM file of {frames} frames; save the one that is meant as a file of its own"
        )
    width, height = int(dataset.Columns), int(dataset.Rows)
    fault = fault_pixels(width, height)
    if fault:
        raise ImageError(fault)
    form = str(dataset.PhotometricInterpretation)
    if form not in (*GREYS, *COLOURS) or int(dataset.BitsAllocated) > 16:
        raise ImageError("is a DICOM image of a kind that is not read; save it as 8 or 16 bit grey or as RGB")
    with wait_turn(width, height):
        stored = _unpack(dataset)
        if form in GREYS:
            return _show_greys(stored, dataset)
    if stored.dtype != np.uint8:
        raise ImageError("is a DICOM image of colours of more than 8 bits; save it as 8-bit RGB")
    return stored.astype(np.uint8, copy=False)


def _unpack(dataset: "Dataset") -> NDArray[np.integer]:
    """Return the stored values, YBR colours as RGB; bits beyond those stored are gone."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import pixel_array

    try:
        decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    except NotImplementedError:
        raise ImageError("is compressed in a way that is not read; save it uncompressed") from None
    # The packages of the extra read what others here cannot, or only in part, such as JPEG of 12 bits.
    lacking = any("pylibjpeg" in line for line in decoder.missing_dependencies)
    packages = f"is a compressed DICOM file that needs further packages: {EXTRA}"
    if not decoder.is_available:
        raise ImageError(packages)
    try:
        return pixel_array(dataset)
    except Exception:
        if lacking:
            raise ImageError(f"{packages} (or it is damaged)") from None
        raise


def _show_greys(stored: NDArray[np.integer], dataset: "Dataset") -> NDArray[np.uint8]:
    """Every stored value once through the tables, then the image through the table of the results."""
    padding = _find_padding(stored, dataset)
    seen = stored if padding is None else stored[~padding]
    if not seen.size:
        return np.zeros(stored.shape, np.uint8)
    low, high = int(seen.min()), int(seen.max())
    shares = _window(_rescale(np.arange(low, high + 1), dataset), dataset)
    if dataset.PhotometricInterpretation == INVERTED:
        shares = 1 - shares
    greys = np.rint(255 * shares).astype(np.uint8)
    shown = np.empty(stored.shape, np.uint8)
    rows = max(1, STRIP // max(1, stored.shape[1]))
    for top in range(0, len(stored), rows):
        strip = slice(top, top + rows)
        shown[strip] = greys[np.clip(stored[strip].astype(np.int32), low, high) - low]
    if padding is not None:
        shown[padding] = 0
    return shown


def _find_padding(stored: NDArray[np.integer], dataset: "Dataset") -> NDArray[np.bool_] | None:
    """Where the image is filled up with a value that is none of its own, PS3.3 C.7.5.1.1.2."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    return (stored >= low) & (stored <= high)


def _rescale(values: NDArray[np.int64], dataset: "Dataset") -> NDArray[np.float64]:
    """The modality LUT: stored values to what they mean, PS3.3 C.11.1."""
    if dataset.get("ModalityLUTSequence"):
        return _look_up(values.astype(np.float64), dataset.ModalityLUTSequence[0])[0]
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None:
        return values.astype(np.float64)
    return values.astype(np.float64) * float(slope) + float(intercept)


def _window(values: NDArray[np.float64], dataset: "Dataset") -> NDArray[np.float64]:
    """The VOI LUT: what the values mean to how bright they are, 0 to 1, PS3.3 C.11.2."""
    if dataset.get("VOILUTSequence"):
        entries, bits = _look_up(values, dataset.VOILUTSequence[0])
        return entries / (2**bits - 1)
    centers, widths = dataset.get("WindowCenter"), dataset.get("WindowWidth")
    if centers is not None and widths is not None:
        center, width = (float(np.ravel(each)[0]) for each in (centers, widths))
        return _apply_window(values, center, width, str(dataset.get("VOILUTFunction") or "LINEAR"))
    if int(dataset.BitsStored) == 8 and values.min() >= 0 and values.max() <= 255:
        return values / 255
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def _apply_window(
    values: NDArray[np.float64], center: float, width: float, function: str
) -> NDArray[np.float64]:
    """PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2."""
    if function == "SIGMOID" and width > 0:
        with np.errstate(over="ignore"):  # far below the window, where it is 0
            return 1 / (1 + np.exp(-4 * (values - center) / width))
    if function == "LINEAR" and width >= 1:
        center, width = center - 0.5, width - 1
    elif function != "LINEAR_EXACT" or width <= 0:
        raise ImageError("is a DICOM image with a window that the standard does not know; save it without")
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)


def _look_up(values: NDArray[np.float64], item: "Dataset") -> tuple[NDArray[np.float64], int]:
    """Return the entries of a LUT for some values, and how many bits an entry has.

    Not pydicom's, which wraps around in tables of 8 bits with more than 256 entries and knows no 12 bits.
    """
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        order = ">" if item.original_encoding[1] is False else "<"
        entries = np.frombuffer(data, np.uint8 if len(data) == count else f"{order}u2")
    else:
        entries = np.ravel(data)
    if not 1 <= bits <= LUT_BITS or not entries.size:
        raise ImageError("is a DICOM image with a table of greys that the standard does not know")
    places = np.clip(np.rint(values) - first, 0, min(count or 2**16, entries.size) - 1).astype(np.int64)
    return np.clip(entries[places], 0, 2**bits - 1).astype(np.float64), bits
