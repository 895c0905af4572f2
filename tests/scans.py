"""Small DICOM files."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

MARK = "SECRETMARK"
TEXT = {"PN", "LO", "LT", "SH", "ST", "UT", "UC", "CS", "AE"}
# Those that say how the pixels are stored: without them there is no image.
NEEDED = {"PhotometricInterpretation", "SpecificCharacterSet", "VOILUTFunction"}


def write_dicom(path: Path, stored: NDArray[Any] | None, **tags: Any) -> Path:
    """Write stored values, (H, W), (H, W, 3) or (frames, H, W) with NumberOfFrames, as a DICOM file.

    16-bit values are said to have 12 bits unless `BitsStored` says otherwise; None writes no image.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix="1.2.826.0.1.77777.")
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    if stored is not None:
        several = "NumberOfFrames" in tags and stored.ndim == 3
        height, width = stored.shape[several : several + 2]
        dataset.Rows, dataset.Columns = height, width
        dataset.SamplesPerPixel = 3 if stored.ndim == 3 and not several else 1
        dataset.PhotometricInterpretation = "RGB" if dataset.SamplesPerPixel == 3 else "MONOCHROME2"
        if dataset.SamplesPerPixel == 3:
            dataset.PlanarConfiguration = 0
        dataset.BitsAllocated = 8 * stored.dtype.itemsize
        dataset.BitsStored = int(tags.get("BitsStored", min(12, dataset.BitsAllocated)))
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(np.issubdtype(stored.dtype, np.signedinteger))
        dataset.add_new("PixelData", "OW" if stored.dtype.itemsize == 2 else "OB", stored.tobytes())
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def mark_text(dataset: Dataset) -> None:
    """Fill every tag of text that the standard has with a mark, and give numbers and dates to the rest."""
    for number, (kind, multiplicity, _, retired, keyword) in DicomDictionary.items():
        if retired or not keyword or number < 0x00080000 or keyword in NEEDED or keyword in dataset:
            continue
        if kind in TEXT and not multiplicity.startswith(("2", "3", "6")):
            dataset.add_new(number, kind, MARK)
    dataset.StudyDate, dataset.PatientBirthDate = "19771107", "19771107"
    dataset.StudyInstanceUID = "1.2.826.0.1.77777.5"
    dataset.PatientWeight = "1.77"
    assert keyword_for_tag("PatientName") and dataset.PatientName == MARK
