"""Mutated files for everything that reads one: an answer or one line, within 10 s and 1 GB.

200 cases in all in the default run, 2,000 under the marker `soak`. A new reader of files is one more
entry of PARSERS.
"""

import io
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import mutations
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutate_archive, mutate_bytes, mutate_json, mutate_table, parse_watched
from PIL import Image

from pneumocli.core.artefact import load_model, load_typical, read_card
from pneumocli.core.atypical import (
    POOLED_MAPS,
    fit_typical,
    pack_typical,
    read_pooled_maps,
    unpack_typical,
)
from pneumocli.core.data import load_dataset
from pneumocli.core.decision import read_decision
from pneumocli.core.figures import read_figures
from pneumocli.core.groups import read_groups
from pneumocli.core.hashes import HASHES, check_hash
from pneumocli.core.history import read_history
from pneumocli.core.images import read_image
from pneumocli.core.limits import MAX_GB, MAX_PIXELS
from pneumocli.core.listing import list_files
from pneumocli.core.model import build_resnet50
from pneumocli.core.repeat import read_record
from pneumocli.core.runs import CONFIG, DECISION, HISTORY, MODEL, Run, open_run
from pneumocli.core.scores import read_scores

pytest_plugins = ["trained"]

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory by /proc")

FEW, MANY = 200, 2000

Mutate = Callable[[list[bytes]], st.SearchStrategy[bytes]]


@dataclass(frozen=True)
class Parser:
    """Something that reads a file: the name it goes by, what a right one is, how it is mutated and read."""

    name: str
    make: Callable[[Run], list[bytes]]
    mutate: Mutate
    read: Callable[[Path], object]
    share: int = 1


def save_image(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def make_images(run: Run) -> list[bytes]:
    levels = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    grey = Image.fromarray(levels)
    wide = Image.fromarray(levels.astype(np.uint16) * 200)
    colour = Image.merge("RGBA", [grey] * 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        save_image(grey, "PNG"),
        save_image(wide, "PNG"),
        save_image(colour.quantize(16), "PNG"),
        save_image(grey, "JPEG", exif=exif),
        save_image(colour.convert("CMYK"), "JPEG"),
        save_image(grey, "TIFF"),
        save_image(wide, "TIFF"),
        save_image(grey, "TIFF", compression="tiff_lzw"),
        save_image(colour, "TIFF", compression="tiff_adobe_deflate"),
        save_image(grey.convert("1"), "TIFF", compression="group4"),
        save_image(grey, "BMP"),
        save_image(colour, "WEBP"),
    ]


def make_dicom(run: Run) -> list[bytes]:
    from pydicom.dataset import Dataset as Tags
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, RLELossless

    made = []
    levels = np.random.default_rng(0).integers(0, 4096, (40, 50), np.uint16)
    for compressed in (False, True):
        tags = Tags()
        tags.file_meta = FileMetaDataset()
        tags.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        tags.file_meta.MediaStorageSOPClassUID = tags.SOPClassUID = DigitalXRayImageStorageForPresentation
        tags.file_meta.MediaStorageSOPInstanceUID = tags.SOPInstanceUID = "1.2.3"
        tags.Rows, tags.Columns, tags.SamplesPerPixel = 40, 50, 1
        tags.BitsAllocated, tags.BitsStored, tags.HighBit, tags.PixelRepresentation = 16, 12, 11, 0
        tags.PhotometricInterpretation, tags.Modality = "MONOCHROME1", "DX"
        tags.WindowCenter, tags.WindowWidth = "2048", "4096"
        tags.PixelData = levels.tobytes()
        if compressed:
            tags.compress(RLELossless)
        file = io.BytesIO()
        tags.save_as(file, enforce_file_format=True)
        made.append(file.getvalue())
    return made


def make_data(run: Run) -> list[bytes]:
    from pneumocli.core.synthetic import draw_dataset

    arrays: dict[str, Any] = {}
    for name, split in draw_dataset(train=4, val=4, test=4).splits.items():
        arrays |= {f"{name}_images": split.images, f"{name}_labels": split.labels.astype(np.uint8)}
    made = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, **arrays)
        made.append(file.getvalue())
    return made


def make_weights(run: Run) -> list[bytes]:
    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        content.attrs["layer_names"] = ["conv1_conv"]
        layer = content.create_group("conv1_conv")
        layer.attrs["weight_names"] = ["kernel", "bias"]
        layer["kernel"], layer["bias"] = np.zeros((7, 7, 3, 8), np.float32), np.zeros(8, np.float32)
    return [file.getvalue()]


def make_model(run: Run) -> list[bytes]:
    return [(run.path / MODEL).read_bytes()]


def make_typical(run: Run) -> list[bytes]:
    features = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    typical = fit_typical(features, np.arange(60))
    assert typical is not None
    return [pack_typical(typical)]


def make_pooled_maps(run: Run) -> list[bytes]:
    file = io.BytesIO()
    np.savez(file, index=np.arange(4), pooled=np.ones((4, 3), np.float32))
    return [file.getvalue()]


def read_part(name: str) -> Callable[[Run], list[bytes]]:
    return lambda run: [(run.path / name).read_bytes()]


def put_into_run(name: str, read: Callable[[Path], object]) -> Callable[[Path], object]:
    """Read a file as this part of a run folder, which lies beside it."""

    def put(path: Path) -> object:
        shutil.copy(path, path.parent / "run" / name)
        return read(path.parent / "run")

    return put


def read_weights(path: Path) -> object:
    """Read a file of weights as `build_resnet50` does, for a network of one layer, which is built at once."""

    def build(weights: str, **options: Any) -> keras.Model:
        model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(8, 7, name="conv1_conv")])
        model.load_weights(weights)
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.applications, "ResNet50", build)
        return build_resnet50(32, Path(shutil.copy(path, path.with_suffix(".h5"))))


def read_list(path: Path) -> object:
    return list_files(Path(shutil.copy(path, path.with_suffix(".csv"))))


def read_model(path: Path) -> object:
    return load_model(Path(shutil.copy(path, path.with_suffix(".keras"))))


def read_run(folder: Path) -> object:
    run = open_run(folder)
    return run.member_paths()[:9], run.is_complete, run.record.data.digest


LIST = (
    b"path,label,split,group\nfile,normal,train,a\nrun/config.json,pneumonia,train,b\n"
    b"run/decision.json,1,val,c\n"
)
GROUPS = b"index,group\n0,a\n1,a\n7,b\n"

PARSERS = [
    Parser("image", make_images, mutate_bytes, lambda path: read_image(path, 28), share=4),
    Parser("dicom", make_dicom, mutate_bytes, lambda path: read_image(path, 28), share=2),
    Parser("data", make_data, mutate_bytes, load_dataset),
    Parser("data, arrays", make_data, mutate_archive, load_dataset),
    Parser("scores", read_part("scores_val.npz"), mutate_archive,
           put_into_run("scores_val.npz", lambda run: read_scores(run, "val"))),
    Parser("weights", make_weights, mutate_bytes, read_weights),
    Parser("card", make_model, mutate_archive, read_card),
    Parser("typical", make_model, mutate_archive, load_typical),
    Parser("typical, arrays", make_typical, mutate_archive,
           lambda path: unpack_typical(io.BytesIO(path.read_bytes()), path)),
    Parser("pooled maps", make_pooled_maps, mutate_archive,
           put_into_run(POOLED_MAPS, lambda run: read_pooled_maps([run]))),
    Parser("model", make_model, mutate_bytes, read_model),
    Parser("model, entries", make_model, mutate_archive, read_model, share=2),
    Parser("run", read_part(CONFIG), mutate_json, put_into_run(CONFIG, read_run), share=2),
    Parser("decision", read_part(DECISION), mutate_json,
           put_into_run(DECISION, lambda run: read_decision(open_run(run)))),
    Parser("figures", read_part("metrics_val.json"), mutate_json,
           put_into_run("metrics_val.json", lambda run: read_figures(run, "val"))),
    Parser("hashes", read_part(HASHES), mutate_json,
           put_into_run(HASHES, lambda run: check_hash(run / MODEL))),
    Parser("run to repeat", read_part(CONFIG), mutate_json, lambda path: read_record(path, "train")),
    Parser("history", read_part(HISTORY), mutate_json, put_into_run(HISTORY, read_history)),
    Parser("list of images", lambda run: [LIST], mutate_table, read_list),
    Parser("groups", lambda run: [GROUPS], mutate_table, lambda path: read_groups(path, 8)),
]  # fmt: skip


@pytest.fixture(scope="module")
def place(train_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(train_run.path, folder / "run")
    return folder


@pytest.fixture(autouse=True)
def tight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_GB, "0.4")
    monkeypatch.setenv(MAX_PIXELS, "50000000")


def feed(parser: Parser, train_run: Run, place: Path, cases: int) -> None:
    """Give a parser its share of so many mutated files, and a right one before and after."""
    seeds = parser.make(train_run)
    path = place / "file"
    outcomes: list[str | None] = []

    @settings(
        max_examples=max(4, cases * parser.share // sum(other.share for other in PARSERS)),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(parser.mutate(seeds))
    def feed_one(content: bytes) -> None:
        path.write_bytes(content)
        outcomes.append(parse_watched(parser.read, path))

    for seed in seeds:
        path.write_bytes(seed)
        assert parse_watched(parser.read, path) is None
    try:
        feed_one()
    finally:
        path.write_bytes(seeds[0])
        parse_watched(parser.read, path)  # leaves the run folder whole
    assert any(outcomes), "no mutation was noticed"


by_parser = pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)


@by_parser
def test_few_mutated_files(parser: Parser, train_run: Run, place: Path) -> None:
    feed(parser, train_run, place, FEW)


@pytest.mark.soak
@by_parser
def test_many_mutated_files(parser: Parser, train_run: Run, place: Path) -> None:
    feed(parser, train_run, place, MANY)


def test_guard_notices_what_it_is_for(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place / "file"
    path.write_bytes(b"")
    with pytest.raises(ZeroDivisionError):
        parse_watched(lambda _: 1 / 0, path)
    monkeypatch.setattr(mutations, "BYTES", 50_000_000)
    with pytest.raises(AssertionError, match=r"0\.1"):
        parse_watched(lambda _: np.ones(100_000_000, np.uint8), path)
    monkeypatch.setattr(mutations, "WAITING", 0.1)
    with pytest.raises(mutations.TooLongError):
        parse_watched(lambda _: time.sleep(60), path)
