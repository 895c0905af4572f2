"""Files from elsewhere that want to run code, write elsewhere, take all memory, or speak for the tool.

Each is refused with one line and exit code 1, 2 or 4.
"""

import io
import json
import os
import pickle
import shutil
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from hostile import (
    ESCAPE,
    change_plan,
    claim_array,
    find_layer,
    read_entries,
    write_entries,
    write_png_header,
)
from PIL import Image
from typer.testing import CliRunner, Result

from pneumocli.cli import app
from pneumocli.core.artefact import CARD, load_model
from pneumocli.core.errors import RunError
from pneumocli.core.hashes import HASHES, read_hashes, record_hash
from pneumocli.core.limits import MAX_GB, MAX_PIXELS
from pneumocli.core.runs import CONFIG, DECISION, ENSEMBLE, MODEL, Run

pytest_plugins = ["trained"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refuse(*arguments: object, code: int = 1) -> str:
    """Return the one line that says why; whatever is printed is printable."""
    result = run(*arguments, "--quiet") if arguments[0] not in ("compare", "doctor") else run(*arguments)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.isprintable()
    return line


@pytest.fixture
def xray(tmp_path: Path) -> Path:
    path = tmp_path / "xray.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)).save(path)
    return path


@pytest.fixture
def model_file(train_run: Run, tmp_path: Path) -> Path:
    """A model of its own, with nothing beside it that knows its hash."""
    return Path(shutil.copy(train_run.path / MODEL, tmp_path / "kept.keras"))


# Data files


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_pickle_in_npz_is_not_run(
    data_arrays: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pickled = np.empty((1,), object)
    pickled[0] = Bomb()
    np.savez(tmp_path / "bad.npz", **{**data_arrays, "train_labels": pickled}, allow_pickle=True)
    assert "allow_pickle=False" in refuse("train", "--data", tmp_path / "bad.npz", "--weights", "none")
    (tmp_path / "pure.npz").write_bytes(pickle.dumps(Bomb()))
    refuse("train", "--data", tmp_path / "pure.npz", "--weights", "none")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "shape", [(10**12, 1, 1), (10**6, 10**3, 10**3), (2**62, 4, 1), (2**40, 2**40, 2**40)]
)
@pytest.mark.parametrize("alone", [False, True])
def test_header_that_claims_too_much(
    shape: tuple[int, ...], alone: bool, data_file: Path, tmp_path: Path
) -> None:
    claimed = claim_array(shape)
    path = tmp_path / "bad.npz"
    if alone:
        path.write_bytes(claimed)
    else:
        write_entries(path, read_entries(data_file) | {"val_images.npy": claimed})
    line = refuse("train", "--data", path, "--weights", "none")
    assert MAX_GB in line
    assert str(path) in line


def test_header_that_claims_other_than_the_file_holds(data_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    write_entries(path, read_entries(data_file) | {"val_images.npy": claim_array((12, 28, 28), content=b"x")})
    assert "the file holds 1" in refuse("train", "--data", path, "--weights", "none")


def test_bomb_of_an_npz_is_refused_by_its_directory(
    data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MAX_GB, "0.001")
    path = tmp_path / "bad.npz"
    entries = {name: bytes(2_000_000) if "train_images" in name else b"" for name in read_entries(data_file)}
    write_entries(path, entries, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    assert MAX_GB in refuse("train", "--data", path, "--weights", "none")
    monkeypatch.setenv(MAX_GB, "many")
    assert "must be a number above 0" in refuse("train", "--data", path, "--weights", "none", code=2)


def test_compression_whose_memory_the_file_sets(data_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    write_entries(path, read_entries(data_file), zipfile.ZIP_LZMA)
    assert "another method than deflate" in refuse("train", "--data", path, "--weights", "none")


# Images


def predict_one(model: Path, *paths: Path, code: int = 1) -> list[str]:
    result = run("predict", "--model", model, "--quiet", "--", *paths)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    lines = result.stderr.splitlines()
    assert all(line.isprintable() for line in lines)
    return [line for line in lines if line.startswith("error: ")]


@pytest.mark.parametrize("size", [(50_000, 50_000), (1, 2**31 - 1), (20_000, 8_000)])
def test_png_that_says_it_is_huge(
    size: tuple[int, int], model_file: Path, xray: Path, tmp_path: Path
) -> None:
    write_png_header(tmp_path / "huge.png", *size)
    (line,) = predict_one(model_file, xray, tmp_path / "huge.png", code=4)
    assert MAX_PIXELS in line
    assert "huge.png" in line


def test_pixels_over_the_limit_in_a_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("normal/a.tif", "pneumonia/b.webp"):
        (tmp_path / "own" / name).parent.mkdir(parents=True)
        Image.new("L", (60, 50), 9).save(tmp_path / "own" / name)
    monkeypatch.setenv(MAX_PIXELS, "2999")
    line = refuse("train", "--data", tmp_path / "own", "--weights", "none")
    assert line.count(MAX_PIXELS) == 2
    monkeypatch.setenv(MAX_PIXELS, "-1")
    assert MAX_PIXELS in refuse("train", "--data", tmp_path / "own", "--weights", "none", code=2)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    place = os.getcwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(place)


ODD_FILES: dict[str, Callable[[Path], object]] = {
    "pipe": make_pipe,
    "socket": make_socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "directory": lambda path: path.mkdir(),
    "empty": lambda path: path.write_bytes(b""),
    "broken link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path),
    "text": lambda path: path.symlink_to("/etc/passwd"),
}


@pytest.fixture(params=ODD_FILES)
def odd(request: pytest.FixtureRequest) -> Callable[[Path], object]:
    return ODD_FILES[request.param]


def test_no_image_but(odd: Callable[[Path], object], model_file: Path, xray: Path, tmp_path: Path) -> None:
    odd(tmp_path / "odd.png")
    (line,) = predict_one(model_file, xray, tmp_path / "odd.png", code=4)
    assert "odd.png" in line
    assert "root:" not in line


def test_no_data_but(odd: Callable[[Path], object], tmp_path: Path) -> None:
    for name in ("odd.npz", "odd.csv"):
        odd(tmp_path / name)
        assert name in refuse("train", "--data", tmp_path / name, "--weights", "none")
    odd(tmp_path / "groups.csv")
    line = refuse("cv", "--data", "synthetic", "--weights", "none", "--groups", tmp_path / "groups.csv")
    assert "groups.csv" in line


def test_no_weights_but(odd: Callable[[Path], object], tmp_path: Path) -> None:
    odd(tmp_path / "odd.h5")
    assert "odd.h5" in refuse("train", "--data", "synthetic", "--weights", tmp_path / "odd.h5")


def test_no_part_of_a_run_but(
    odd: Callable[[Path], object], train_copy: Run, xray: Path, tmp_path: Path
) -> None:
    for name in (CONFIG, DECISION, MODEL, HASHES):
        kept = train_copy.path / name
        kept.rename(tmp_path / "aside")
        odd(kept)
        for command in (("predict", xray, "--model", train_copy.path), ("evaluate", train_copy.path)):
            result = run(*command, "--quiet")
            if name == DECISION and command[0] == "predict" and result.exit_code == 0:
                continue  # the model's card has it
            if name == HASHES and not os.path.exists(kept):
                continue  # as in runs of earlier versions
            assert result.exit_code == 1, (name, command, result.output)
            (line,) = result.stderr.splitlines()
            assert line.startswith("error: ")
            assert "root:" not in line
        kept.rmdir() if kept.is_dir() and not kept.is_symlink() else kept.unlink()
        (tmp_path / "aside").rename(kept)


def test_a_users_own_link_to_an_image_is_followed(model_file: Path, xray: Path, tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(xray)
    assert predict_one(model_file, tmp_path / "link.png", code=0) == []


def test_directory_named_as_an_image_is_looked_into(model_file: Path, xray: Path, tmp_path: Path) -> None:
    inside = tmp_path / "all" / "study.png" / "1.png"
    inside.parent.mkdir(parents=True)
    xray.rename(inside)
    result = run("predict", tmp_path / "all", "--model", model_file, "--format", "json")
    assert result.exit_code == 0, result.output
    assert [row["path"] for row in json.loads(result.stdout)["predictions"]] == [str(inside)]


ODD_NAMES = (
    "two\nlines.png",
    f"{ESCAPE}.png",
    "--help.png",
    "-q",
    "\u202egnp.png",
    "a b.png",
    "\udcff.png",
    "[red].png",
)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_that_would_speak_for_the_tool(
    name: str, model_file: Path, xray: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        xray.rename(tmp_path / name)
    except (OSError, UnicodeError):
        pytest.skip("this disk takes no such name")
    result = run("predict", "--model", model_file, "--", name)
    assert result.exit_code == 0, result.output
    assert all(line.isprintable() for line in (result.stdout + result.stderr).splitlines())
    result = run("predict", "--model", model_file, "--format", "json", "--", name)
    assert json.loads(result.stdout)["predictions"][0]["path"] == name
    (tmp_path / name).write_bytes(b"nothing")
    result = run("predict", "--model", model_file, "--quiet", "--", name)
    assert result.exit_code == 1
    assert len([line for line in result.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert all(line.isprintable() for line in result.stderr.splitlines())


def test_names_in_a_file_of_own_images(tmp_path: Path) -> None:
    for row in (f'"{ESCAPE}.png",normal', '"two\nlines.png",normal', '"/etc/passwd",normal'):
        (tmp_path / "list.csv").write_text(f"path,label\n{row}\nother.png,pneumonia\n")
        refuse("train", "--data", tmp_path / "list.csv", "--weights", "none")


# Model files


def test_lambda_in_a_model_file(model_file: Path, xray: Path) -> None:
    image = keras.Input((28, 28, 1), dtype="uint8", name="image")
    model = keras.Model(image, keras.layers.Lambda(lambda tensor: tensor)(image))
    model.save(model_file.with_name("lambda.keras"))
    entries = read_entries(model_file.with_name("lambda.keras"))
    write_entries(model_file, entries | {CARD: read_entries(model_file)[CARD]})
    assert "'Lambda'" in refuse("predict", xray, "--model", model_file)


def name_code(plan: dict[str, Any], **names: Any) -> None:
    find_layer(plan, "Rescaling").update(names)


PLANS: dict[str, Callable[[dict[str, Any]], object]] = {
    "module of somebody else": lambda plan: name_code(plan, module="os", class_name="system"),
    "module of keras that is no layer": lambda plan: name_code(
        plan, module="keras.utils", class_name="get_file"
    ),
    "layer that reads a file": lambda plan: name_code(
        plan, class_name="StringLookup", config={"vocabulary": "/etc/passwd"}
    ),
    "layer that loads another model": lambda plan: name_code(
        plan, class_name="TFSMLayer", config={"filepath": "/tmp/other"}
    ),
    "registered name": lambda plan: name_code(plan, registered_name="package>Evil"),
    "no module": lambda plan: name_code(plan, module=None),
    "module that is a list": lambda plan: name_code(plan, module=["keras.layers"]),
    "lambda as an activation": lambda plan: find_layer(plan, "Dense")["config"].update(
        activation={"class_name": "__lambda__", "config": {"value": ["4wAA", None, None]}}
    ),
    "function as an activation": lambda plan: find_layer(plan, "Dense")["config"].update(
        activation={"class_name": "function", "module": "os", "config": "system", "registered_name": "system"}
    ),
    "array in the plan": lambda plan: find_layer(plan, "Rescaling")["config"].update(
        scale={"class_name": "__numpy__", "config": {"value": [1], "dtype": "object"}}
    ),
    "another kind of model": lambda plan: plan.update(class_name="Sequential"),
    "too many weights": lambda plan: find_layer(plan, "Dense")["config"].update(units=10**9),
    "too many filters": lambda plan: find_layer(plan, "Conv2D")["config"].update(filters=10**12),
    "a kernel too large": lambda plan: find_layer(plan, "Conv2D")["config"].update(
        kernel_size=[10**6, 10**6]
    ),
    "an input too wide": lambda plan: find_layer(plan, "Dense")["build_config"].update(
        input_shape=[None, 10**12]
    ),
    "no shape": lambda plan: find_layer(plan, "Conv2D").pop("build_config"),
    "channels first": lambda plan: find_layer(plan, "BatchNormalization")["build_config"].update(
        input_shape=[None, 10**12, 4, 8]
    ),
    "low-rank weights": lambda plan: find_layer(plan, "Dense")["config"].update(lora_rank=10**9),
    "an image too large": lambda plan: find_layer(plan, "Resizing")["config"].update(height=10**6),
    "much padding": lambda plan: find_layer(plan, "Resizing").update(
        class_name="ZeroPadding2D", config={"padding": [[10**6, 0], [0, 0]]}
    ),
    "much cropping": lambda plan: find_layer(plan, "Cropping2D")["config"].update(
        cropping=[[600, 0], [0, 0]]
    ),
    "negative": lambda plan: find_layer(plan, "Dense")["config"].update(units=-1),
    "text for a number": lambda plan: find_layer(plan, "Dense")["config"].update(units="8"),
    "no settings": lambda plan: find_layer(plan, "Dense").update(config=None),
}


@pytest.mark.parametrize("change", PLANS.values(), ids=PLANS.keys())
def test_plan_that_is_not_ours(
    change: Callable[[dict[str, Any]], object], model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*arguments: Any, **options: Any) -> None:
        pytest.fail("Keras was asked to build it")

    monkeypatch.setattr(keras.saving, "load_model", build)
    change_plan(model_file, change)
    with pytest.raises(RunError) as caught:
        load_model(model_file)
    assert str(caught.value).isprintable()
    assert "plan" in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"[" * 10**6, b'{"a":' * 10**5, b"NaN", b'{"x": 1e999}', b"null", b"\xff", b"\0" * 9]
)
@pytest.mark.parametrize("entry", ["config.json", CARD])
def test_json_in_a_model_file(entry: str, content: bytes, model_file: Path) -> None:
    write_entries(model_file, read_entries(model_file) | {entry: content})
    with pytest.raises(RunError) as caught:
        load_model(model_file)
    assert str(caught.value).isprintable()


def test_card_with_numbers_that_are_none(model_file: Path, xray: Path) -> None:
    card = json.loads(read_entries(model_file)[CARD])
    for change in (
        {"temperature": float("inf")},
        {"threshold": float("nan")},
        {"pixels": 10**9},
        {"classes": ["sick"]},
        {"members": 10**9},
        {"members": 2},
        {"pixels": 29},
    ):
        write_entries(model_file, read_entries(model_file) | {CARD: json.dumps(card | change).encode()})
        refuse("predict", xray, "--model", model_file)


def test_escapes_in_a_card_are_shown_as_text(model_file: Path, xray: Path) -> None:
    card = json.loads(read_entries(model_file)[CARD]) | {"name": f"{ESCAPE}\nerror: all is well"}
    write_entries(model_file, read_entries(model_file) | {CARD: json.dumps(card).encode()})
    result = run("predict", xray, "--model", model_file)
    assert result.exit_code == 0
    assert all(line.isprintable() for line in (result.stdout + result.stderr).splitlines())
    assert "\\x1b" in result.stdout


@pytest.mark.parametrize("entry", ["config.json", "model.weights.h5", CARD, "assets/big"])
def test_bomb_in_a_model_file(
    entry: str, model_file: Path, xray: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MAX_GB, "0.05")
    write_entries(model_file, read_entries(model_file) | {entry: bytes(60_000_000)}, zipfile.ZIP_DEFLATED)
    assert model_file.stat().st_size < 1_000_000
    line = refuse("predict", xray, "--model", model_file)
    assert MAX_GB in line or "should not" in line


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "assets/../../escaped", "..\\escaped"])
def test_entry_that_would_be_written_elsewhere(name: str, model_file: Path, xray: Path) -> None:
    write_entries(model_file, read_entries(model_file) | {name: b"here"})
    before = sorted(model_file.parent.rglob("*"))
    assert "escaped" in refuse("predict", xray, "--model", model_file)
    assert sorted(model_file.parent.rglob("*")) == before
    assert not Path("/tmp/escaped").exists()


def test_two_entries_of_one_name(model_file: Path, xray: Path) -> None:
    with zipfile.ZipFile(model_file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", b"{}")
    assert "two entries" in refuse("predict", xray, "--model", model_file)


def change_weights(path: Path, change: Callable[[h5py.File], object]) -> None:
    entries = read_entries(path)
    file = io.BytesIO(entries["model.weights.h5"])
    with h5py.File(file, "r+") as content:
        change(content)
    write_entries(path, entries | {"model.weights.h5": file.getvalue()})


WEIGHTS: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "link to another file": (
        lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/")),
        "link",
    ),
    "soft link": (lambda file: file.__setitem__("x", h5py.SoftLink("/layers")), "link"),
    "numbers in another file": (
        lambda file: file.create_dataset("x", (8,), "u1", external=[("/etc/passwd", 0, 8)]),
        "another file",
    ),
    "shape without numbers": (
        lambda file: file.create_dataset("x", (10**6, 10**6), "f4", chunks=(100, 100), compression="gzip"),
        MAX_GB,
    ),
    "objects": (
        lambda file: file.create_dataset("x", data=["text"], dtype=h5py.string_dtype()),
        "no numbers",
    ),
}


@pytest.mark.parametrize(("change", "reason"), WEIGHTS.values(), ids=WEIGHTS.keys())
def test_weights_that_are_elsewhere_or_too_large(
    change: Callable[[h5py.File], object], reason: str, model_file: Path, tmp_path: Path
) -> None:
    change_weights(model_file, change)
    with pytest.raises(RunError, match=reason):
        load_model(model_file)
    # The same in a file for --weights.
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        file.create_group("layers")
        change(file)
    line = refuse("train", "--data", "synthetic", "--weights", tmp_path / "bad.h5", "--image-size", "32")
    assert reason in line


# Run folders


@pytest.mark.parametrize("name", [CONFIG, MODEL, "external", "scores_val.npz", ".lock"])
def test_part_of_a_run_that_is_a_link_to_elsewhere(
    name: str, train_copy: Run, xray: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    target = elsewhere if name == "external" else Path("/etc/passwd")
    (train_copy.path / name).unlink(missing_ok=True)
    (train_copy.path / name).symlink_to(target)
    for command in (("predict", xray, "--model", train_copy.path), ("evaluate", train_copy.path)):
        assert "link that leads out" in refuse(*command)
    assert not list(elsewhere.iterdir())


def test_links_within_a_run_and_to_a_run_are_followed(train_copy: Run, xray: Path, tmp_path: Path) -> None:
    (train_copy.path / MODEL).rename(train_copy.path / "first.keras")
    (train_copy.path / MODEL).symlink_to("first.keras")
    (tmp_path / "other").symlink_to(train_copy.path)
    assert run("predict", xray, "--model", tmp_path / "other").exit_code == 0


RECORDS: dict[str, bytes] = {
    "nested": b'{"data":' * 10**5,
    "list of lists": b"[" * 10**6,
    "not a number": b'{"created": NaN}',
    "infinite": b'{"created": 1e999}',
    "empty": b"",
    "binary": b"\xff\xfe\0",
    "number": b"7",
    "digits": b"9" * 10**6,
    "too large": b" " * 17_000_000,
}


@pytest.mark.parametrize("content", RECORDS.values(), ids=RECORDS.keys())
def test_json_in_a_run_folder(content: bytes, train_copy: Run, xray: Path) -> None:
    for name in (DECISION, CONFIG, HASHES):
        whole = (train_copy.path / name).read_bytes()
        (train_copy.path / name).write_bytes(content)
        assert name in refuse("evaluate", train_copy.path)
        (train_copy.path / name).write_bytes(whole)


def test_places_in_a_record_are_not_followed(train_copy: Run, xray: Path, tmp_path: Path) -> None:
    record = json.loads((train_copy.path / CONFIG).read_text())
    record["data"]["name"] = f"{tmp_path}/../../etc/{ESCAPE}"
    (train_copy.path / CONFIG).write_text(json.dumps(record))
    before = sorted(tmp_path.rglob("*"))
    result = run("evaluate", train_copy.path, "--data", "synthetic")
    assert all(line.isprintable() for line in (result.stdout + result.stderr).splitlines())
    assert all(path.is_relative_to(train_copy.path) for path in set(tmp_path.rglob("*")) - set(before))


# Fingerprints


def test_model_that_is_not_the_one_of_the_run(cv_copy: Run, data_file: Path, xray: Path) -> None:
    first, second = (cv_copy.fold_path(fold) / MODEL for fold in (1, 2))
    shutil.copy(first, second)
    commands = (
        ("evaluate", cv_copy.path),
        ("ensemble", cv_copy.path),
        ("predict", xray, "--model", cv_copy.path),
        ("predict", xray, "--model", cv_copy.fold_path(2)),
        ("predict", xray, "--model", second),
    )
    for command in commands:
        line = refuse(*command)
        assert str(second) in line
        assert "--force" in line
    for command in commands:
        forced = run(*command, "--force", "--quiet")
        assert forced.exit_code == 0, forced.output
        assert f"warning: {second} is not the file that its run wrote" in forced.stderr
        (cv_copy.path / ENSEMBLE).unlink(missing_ok=True)
    assert run("predict", xray, "--model", cv_copy.fold_path(1)).exit_code == 0


def test_ensemble_file_that_is_not_the_one_of_the_run(cv_copy: Run, xray: Path) -> None:
    assert run("ensemble", cv_copy.path).exit_code == 0
    assert run("predict", xray, "--model", cv_copy.path).exit_code == 0
    shutil.copy(cv_copy.fold_path(1) / MODEL, cv_copy.path / ENSEMBLE)
    assert ENSEMBLE in refuse("predict", xray, "--model", cv_copy.path)
    assert run("ensemble", cv_copy.path).exit_code == 0  # makes it anew
    assert run("predict", xray, "--model", cv_copy.path).exit_code == 0


def test_every_model_of_a_run_has_its_hash(cv_run: Run, train_run: Run) -> None:
    import hashlib

    for folder in (*cv_run.member_paths(), *train_run.member_paths()):
        kept = read_hashes(folder)
        assert kept is not None
        assert kept.files == {MODEL: hashlib.sha256((folder / MODEL).read_bytes()).hexdigest()}


def test_run_of_an_earlier_version_has_no_hashes(train_copy: Run, xray: Path) -> None:
    (train_copy.path / HASHES).unlink()
    assert run("predict", xray, "--model", train_copy.path).exit_code == 0


def test_hashes_of_several_files_stand_together(tmp_path: Path) -> None:
    for name in ("a", "b", "a"):
        (tmp_path / name).write_text(f"{name}{len(list(tmp_path.iterdir()))}")
        record_hash(tmp_path / name)
    kept = read_hashes(tmp_path)
    assert kept is not None
    assert sorted(kept.files) == ["a", "b"]


def test_figures_of_other_images_of_a_name_are_replaced_by_force_alone(
    train_copy: Run, data_arrays: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "hospital.npz"
    kept = train_copy.path / "external" / path.name / "metrics_test.json"
    changed = {**data_arrays, "train_images": 255 - data_arrays["train_images"]}
    np.savez(path, **changed)
    assert run("evaluate", train_copy.path, "--data", path).exit_code == 0
    before = kept.read_bytes()
    np.savez(path, **{**changed, "test_images": 255 - data_arrays["test_images"]})
    assert "--force" in refuse("evaluate", train_copy.path, "--data", path)
    assert kept.read_bytes() == before
    forced = run("evaluate", train_copy.path, "--data", path, "--force")
    assert forced.exit_code == 0, forced.output
    assert kept.read_bytes() != before
