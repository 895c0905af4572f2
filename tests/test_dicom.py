"""DICOM files: the greys that a viewer shows, what is refused, and that nothing of the patient is told."""

import io
import logging
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_windowing
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless
from scans import MARK, mark_text, write_dicom

from pneumocli.core import dicom, images, opening
from pneumocli.core.dicom import is_dicom, read_dicom
from pneumocli.core.errors import ImageError, NoImageError
from pneumocli.core.images import read_image
from pneumocli.core.limits import MAX_GB, MAX_PIXELS

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)  # 12 bits


def show(stored: NDArray[Any], folder: Path, **tags: Any) -> NDArray[np.uint8]:
    with write_dicom(folder / "scan", stored, **tags).open("rb") as file:
        return read_dicom(file)


def refuse(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path, 28)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert str(path) in line
    return line


def make_table(entries: list[int], first: int, bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item["LUTDescriptor"].VR = "US" if first >= 0 else "SS"
    item.add_new("LUTData", "US", entries)
    return item


def test_8_bits_are_taken_as_they_are(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(50, 200, (30, 40), np.uint8)
    np.testing.assert_array_equal(show(levels, tmp_path), levels)


def test_dark_is_bright_in_monochrome1(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(50, 200, (30, 40), np.uint8)
    np.testing.assert_array_equal(
        show(levels, tmp_path, PhotometricInterpretation="MONOCHROME1"), 255 - levels
    )


@pytest.mark.parametrize("form", ["MONOCHROME1", "MONOCHROME2"])
def test_12_bits_without_a_window_go_from_darkest_to_brightest(form: str, tmp_path: Path) -> None:
    stored = np.clip(RAMP, 1000, 3000)
    expected = (stored - 1000.0) / 2000
    if form == "MONOCHROME1":
        expected = 1 - expected
    shown = show(stored, tmp_path, PhotometricInterpretation=form)
    assert np.abs(shown - 255 * expected).max() <= 0.5


def test_an_even_image_of_12_bits_is_black(tmp_path: Path) -> None:
    assert not show(np.full((8, 8), 700, np.uint16), tmp_path).any()


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(2048, 1000), (600, 1), (100, 4000)])
@pytest.mark.parametrize("rescale", [None, (2.0, -500.0), (-1.0, 4000.0)])
def test_windows_are_those_of_pydicom(
    function: str | None, center: float, width: float, rescale: tuple[float, float] | None, tmp_path: Path
) -> None:
    if function == "LINEAR_EXACT" and width == 1:
        width = 2
    tags: dict[str, Any] = {"WindowCenter": center, "WindowWidth": width}
    low, high = 0.0, 4095.0
    if rescale is not None:
        tags |= {"RescaleSlope": rescale[0], "RescaleIntercept": rescale[1]}
        low, high = (rescale[0] * each + rescale[1] for each in (low, high))
    if function is not None:
        tags["VOILUTFunction"] = function
    shown = show(RAMP, tmp_path, **tags)
    dataset = pydicom.dcmread(tmp_path / "scan")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        theirs = apply_windowing(apply_modality_lut(RAMP, dataset), dataset)
    np.testing.assert_allclose(shown, 255 * (theirs - low) / (high - low), atol=0.51)
    assert np.isfinite(shown).all()


def test_a_curved_window_needs_no_library_that_a_light_installation_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = {"WindowCenter": 2048, "WindowWidth": 1000, "VOILUTFunction": "SIGMOID"}
    with_all = show(RAMP, tmp_path, **tags)
    for module in ("scipy", "scipy.special"):
        monkeypatch.setitem(sys.modules, module, None)
    np.testing.assert_array_equal(show(RAMP, tmp_path, **tags), with_all)


def test_the_first_of_several_windows_counts(tmp_path: Path) -> None:
    one = show(RAMP, tmp_path, WindowCenter=1000, WindowWidth=500)
    two = show(RAMP, tmp_path, WindowCenter=[1000, 3000], WindowWidth=[500, 100])
    np.testing.assert_array_equal(one, two)
    assert (one.min(), one.max()) == (0, 255)


def test_window_then_inversion(tmp_path: Path) -> None:
    window = {"WindowCenter": 1000, "WindowWidth": 500}
    plain = show(RAMP, tmp_path, **window)
    inverted = show(RAMP, tmp_path, **window, PhotometricInterpretation="MONOCHROME1")
    assert np.abs(255.0 - plain - inverted).max() <= 1


def test_negative_values(tmp_path: Path) -> None:
    stored = (RAMP.astype(np.int16) - 2048).astype(np.int16)
    shown = show(stored, tmp_path, WindowCenter=0, WindowWidth=4096)
    assert np.abs(shown - 255 * (RAMP / 4095)).max() <= 0.51


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_voi_table(bits: int, tmp_path: Path) -> None:
    entries = [round((2**bits - 1) * (place / 1999) ** 2) for place in range(2000)]
    shown = show(
        RAMP, tmp_path, VOILUTSequence=[make_table(entries, 1000, bits)], WindowCenter=1, WindowWidth=1
    )
    expected = np.array(entries)[np.clip(RAMP.astype(int) - 1000, 0, 1999)] / (2**bits - 1)
    assert np.abs(shown - 255 * expected).max() <= 0.5


def test_modality_table_before_the_window(tmp_path: Path) -> None:
    entries = [4095 - place for place in range(4096)]
    table = make_table(entries, 0, 12)
    shown = show(RAMP, tmp_path, ModalityLUTSequence=[table], WindowCenter=2048, WindowWidth=4096)
    assert np.abs(shown - 255 * (4095.0 - RAMP) / 4095).max() <= 0.51


def test_padding_is_black_and_left_out(tmp_path: Path) -> None:
    stored = np.clip(RAMP, 1000, 3000)
    stored[:4] = 4095
    for form in ("MONOCHROME1", "MONOCHROME2"):
        shown = show(stored, tmp_path, PixelPaddingValue=4095, PhotometricInterpretation=form)
        assert not shown[:4].any()
        assert (shown[4:].min(), shown[4:].max()) == (0, 255)


def test_bits_that_are_not_stored_do_not_count(tmp_path: Path) -> None:
    dirty = RAMP | (np.random.default_rng(0).integers(0, 16, RAMP.shape, np.uint16) << 12)
    np.testing.assert_array_equal(show(dirty, tmp_path, BitsStored=12), show(RAMP, tmp_path))


def test_colours(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    np.testing.assert_array_equal(show(colours, tmp_path), colours)
    picture = read_image(tmp_path / "scan", 28)
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.fromarray(colours).convert("L")))
    assert picture.looks.colour == pytest.approx(np.ptp(colours, axis=-1).mean() / 255, abs=1e-9)


def test_a_scan_is_prepared_as_a_png_of_the_same_greys(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (90, 120), np.uint8)
    Image.fromarray(levels).save(tmp_path / "same.png")
    one = read_image(write_dicom(tmp_path / "scan.png", levels), 28)  # known by its bytes, not its name
    two = read_image(tmp_path / "same.png", 28)
    assert one.pixels.tobytes() == two.pixels.tobytes()
    assert one.looks == two.looks
    assert (one.looks.width, one.looks.height, one.looks.colour) == (120, 90, 0)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless], ids=lambda uid: uid.name)
def test_12_bits_compressed(syntax: str, tmp_path: Path) -> None:
    if syntax == JPEG2000Lossless:
        pytest.importorskip("openjpeg")
    path = write_dicom(tmp_path / "scan", RAMP)
    plain = read_image(path, 28).pixels
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax)
    dataset.save_as(tmp_path / "packed")
    np.testing.assert_array_equal(read_image(tmp_path / "packed", 28).pixels, plain)


# Files that come with pydicom: one image, stored in many ways.
FAMILIES = {
    "MR_small": [
        "",
        "_RLE",
        "_bigendian",
        "_expb",
        "_implicit",
        "_jp2klossless",
        "_jpeg_ls_lossless",
        "_padded",
    ],
    "SC_rgb": ["_rle", "_gdcm_KY", "_jpeg_gdcm"],  # the last is JPEG Lossless, as X-ray devices write it
}


@pytest.mark.parametrize("family", FAMILIES)
def test_one_image_stored_in_many_ways(family: str) -> None:
    pytest.importorskip("libjpeg")
    pytest.importorskip("openjpeg")
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    first, *others = (read_image(folder / f"{family}{name.strip('-')}.dcm", 64) for name in FAMILIES[family])
    assert np.ptp(first.pixels) > 100
    for other in others:
        # JPEG 2000 of the colours went through another colour space.
        assert np.abs(other.pixels.astype(int) - first.pixels).max() <= (family == "SC_rgb")


@pytest.mark.parametrize(
    ("name", "words"),
    [("MR_truncated", "damaged"), ("rtplan", "without an image"), ("badVR", "damaged")],
)
def test_files_that_are_known_to_be_bad(name: str, words: str) -> None:
    assert words in refuse(Path(pydicom.__file__).parent / "data" / "test_files" / f"{name}.dcm")


LACKING = """
import sys
for name in ("pylibjpeg", "openjpeg", "libjpeg"):
    sys.modules[name] = None
from pathlib import Path
from pneumocli.core.errors import ImageError
from pneumocli.core.images import read_image
try:
    read_image(Path(sys.argv[1]), 28)
except ImageError as error:
    print(error)
"""


def test_without_the_extra_one_line_names_it(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "scan", RAMP)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    done = subprocess.run([sys.executable, "-c", LACKING, path], capture_output=True, text=True, check=True)
    assert "pip install 'pneumocli[dicom]'" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert not done.stderr


UNLOADED = """
import sys
from pathlib import Path
from pneumocli.core.images import read_image
read_image(Path(sys.argv[1]), 28)
print("pydicom" in sys.modules)
"""


@pytest.mark.parametrize("kind", ["png", "dicom"])
def test_pydicom_is_loaded_when_a_dicom_file_comes(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    if kind == "png":
        Image.fromarray(np.zeros((28, 28), np.uint8)).save(path)
    else:
        write_dicom(path, RAMP)
    done = subprocess.run([sys.executable, "-c", UNLOADED, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(kind == "dicom")


# What is refused


def test_several_frames_are_refused(tmp_path: Path) -> None:
    line = refuse(write_dicom(tmp_path / "scan", np.stack([RAMP] * 3), NumberOfFrames=3))
    assert "3 frames" in line


def test_one_frame_that_is_counted_is_read(tmp_path: Path) -> None:
    np.testing.assert_array_equal(show(RAMP, tmp_path, NumberOfFrames=1), show(RAMP, tmp_path))


def test_a_file_without_an_image(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "report", None)
    assert "without an image" in refuse(path)
    with pytest.raises(NoImageError):
        read_image(path, 28)


@pytest.mark.parametrize("form", ["PALETTE COLOR", MARK])
def test_other_kinds_of_images(form: str, tmp_path: Path) -> None:
    line = refuse(write_dicom(tmp_path / "scan", RAMP, PhotometricInterpretation=form))
    assert "kind that is not read" in line
    assert form not in line


def test_windows_that_make_no_sense(tmp_path: Path) -> None:
    for tags in ({"WindowWidth": 0}, {"WindowWidth": -5}, {"WindowWidth": 5, "VOILUTFunction": MARK}):
        assert MARK not in refuse(write_dicom(tmp_path / "scan", RAMP, WindowCenter=0, **tags))


@pytest.mark.parametrize("kept", [132, 140, 200, 400, 0.5, 0.9])
def test_cut_off(kept: float, tmp_path: Path) -> None:
    whole = write_dicom(tmp_path / "scan", RAMP).read_bytes()
    (tmp_path / "cut").write_bytes(whole[: int(kept if kept > 1 else kept * len(whole))])
    refuse(tmp_path / "cut")


def test_too_large_to_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = write_dicom(tmp_path / "scan", RAMP).read_bytes()
    monkeypatch.setenv(MAX_PIXELS, "4095")
    with pytest.raises(ImageError, match=f"64 x 64 pixels.*{MAX_PIXELS}"):
        read_dicom(io.BytesIO(content))
    monkeypatch.setenv(MAX_PIXELS, "4096")
    read_dicom(io.BytesIO(content))


def test_deflated_files_are_read_and_bombs_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, packed = write_dicom(tmp_path / "plain", RAMP), tmp_path / "packed"
    for extra in (b"", bytes(50_000_000)):
        tags = dcmread(plain)
        tags.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        if extra:
            tags.add_new(0x7FE00008, "OB", extra)
        tags.save_as(packed)
        monkeypatch.setenv(MAX_GB, "0.05")
        if extra:
            assert packed.stat().st_size < 200_000
            assert MAX_GB in refuse(packed)
        else:
            np.testing.assert_array_equal(read_image(packed, 28).pixels, read_image(plain, 28).pixels)


def test_strips_are_the_whole_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = show(RAMP, tmp_path, PixelPaddingValue=100)
    monkeypatch.setattr(dicom, "STRIP", 7 * 64)
    np.testing.assert_array_equal(show(RAMP, tmp_path, PixelPaddingValue=100), whole)
    assert len(np.unique(whole)) > 200


def test_large_scans_are_unpacked_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write_dicom(tmp_path / f"{number}.dcm", RAMP) for number in range(12)]
    together, most, lock, unpack = 0, 0, threading.Lock(), dicom._unpack

    def watch(dataset: Dataset) -> NDArray[np.integer]:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        time.sleep(0.002)
        with lock:
            together -= 1
        return unpack(dataset)

    monkeypatch.setattr(opening, "LARGE", 4095)
    monkeypatch.setattr(dicom, "_unpack", watch)
    monkeypatch.setattr(images, "count_cores", lambda: 4)
    assert not any(isinstance(picture, ImageError) for _, picture in images.read_images(paths, 28))
    assert most == 1


def test_the_mark_counts_at_its_place_alone() -> None:
    assert is_dicom(bytes(128) + b"DICM")
    assert not any(map(is_dicom, (b"", b"DICM", bytes(127) + b"DICM", bytes(128) + b"DIC")))


# Nothing of the patient is told


@pytest.mark.parametrize(
    "fault", ["none", "window", "frames", "cut", "form", "syntax", "no image", "numbers"]
)
def test_no_text_of_the_file_is_told(
    fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_dicom(tmp_path / "scan", None if fault == "no image" else RAMP)
    dataset = pydicom.dcmread(path)
    mark_text(dataset)
    if fault == "window":
        dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = 1, 1, MARK
    elif fault == "frames":
        dataset.NumberOfFrames = 2
    elif fault == "form":
        dataset.PhotometricInterpretation = MARK
    elif fault == "syntax":
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID("1.2.826.0.1.77777")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(path, implicit_vr=False, little_endian=True)
    content = path.read_bytes()
    assert content.count(MARK.encode()) > 100
    if fault == "cut":
        path.write_bytes(content[: int(0.95 * len(content))])
    elif fault == "numbers":  # text where a number must be
        path.write_bytes(content.replace(b"DS\x04\x001.77", f"DS\x04\x00{MARK[:4]}".encode()))
    told = ""
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            read_image(path, 28)
        except ImageError as error:
            told = str(error)
    assert bool(told) == (fault not in ("none", "numbers")), told
    out = capfd.readouterr()
    everything = [told, caplog.text, out.out, out.err, *(str(warning.message) for warning in warned)]
    assert MARK not in "".join(everything)
    assert "77777" not in "".join(everything)
