"""Downloads against a local server, imports, and the choice of files. Nothing here uses a network."""

import errno
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumocli import __version__
from pneumocli.core import fetch
from pneumocli.core.data import KEYS
from pneumocli.core.errors import DataError, DownloadError, PneumoError, WeightsError
from pneumocli.core.fetch import fetch_file, import_dataset
from pneumocli.core.official import SOURCES, WEIGHTS, Source, cache_directory, place_of
from pneumocli.core.progress import Progress

CONTENT = np.random.default_rng(0).bytes(200_000)


@dataclass
class Answer:
    """What the server answers to one request."""

    status: int = 200
    body: bytes = CONTENT
    claimed_bytes: int | None = None
    location: str | None = None
    act: Callable[[], Any] = lambda: None


@dataclass
class Server:
    """A web server on this machine: gives its answers in turn, the last one again and again."""

    url: str
    answers: list[Answer] = field(default_factory=lambda: [Answer()])
    requests: list[dict[str, str]] = field(default_factory=list)

    def source(self, content: bytes = CONTENT, path: str = "/file.npz") -> Source:
        md5 = hashlib.md5(content).hexdigest()
        return Source("data", "file.npz", self.url + path, md5, len(content))


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.requests.append(dict(self.headers))
            answer = served.answers.pop(0) if len(served.answers) > 1 else served.answers[0]
            answer.act()
            self.send_response(answer.status)
            if answer.location:
                self.send_header("Location", answer.location)
            self.send_header("Content-Length", str(answer.claimed_bytes or len(answer.body)))
            with suppress(ConnectionError):  # a client that gave up
                self.end_headers()
                self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None: ...

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Server(f"http://127.0.0.1:{listening.server_port}")
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PNEUMOCLI_DATA", "PNEUMOCLI_WEIGHTS", "PNEUMOCLI_CACHE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "RETRY_PAUSES", (0.0, 0.0))


def list_files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def fail_to_fetch(source: Source, directory: Path) -> str:
    """Return the error's text, having checked that it is one line that names the URL and the ways out."""
    with pytest.raises(DownloadError) as caught:
        fetch_file(source, directory)
    text = str(caught.value)
    assert "\n" not in text and "Error(" not in text and "object at" not in text
    assert len(text) < 420
    for part in (
        source.url,
        "pneumocli fetch --from FILE",
        "--data FILE",
        "PNEUMOCLI_DATA",
        "--data synthetic",
    ):
        assert part in text
    return text


def test_good_download_is_put_in_place(server: Server, tmp_path: Path) -> None:
    heard: list[Progress] = []
    told: list[str] = []
    path = fetch_file(server.source(), tmp_path, heard.append, told.append)
    assert path == tmp_path / "data" / "file.npz"
    assert path.read_bytes() == CONTENT
    assert list_files(tmp_path) == ["data/file.npz"]
    assert len(told) == 1 and "file.npz" in told[0] and "127.0.0.1" in told[0]
    assert [step.done for step in heard] == sorted(step.done for step in heard)
    assert len(heard) > 2
    assert heard[-1] == Progress("download file.npz", len(CONTENT), len(CONTENT), "bytes")


def test_request_names_the_tool(server: Server, tmp_path: Path) -> None:
    fetch_file(server.source(), tmp_path)
    assert server.requests[0]["User-Agent"].startswith(f"pneumocli/{__version__} (")


def test_nothing_is_printed(server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fetch_file(server.source(), tmp_path)
    assert capfd.readouterr() == ("", "")


def test_file_already_there_is_not_downloaded(server: Server, tmp_path: Path) -> None:
    told: list[str] = []
    fetch_file(server.source(), tmp_path)
    fetch_file(server.source(), tmp_path, notify=told.append)
    assert len(server.requests) == 1
    assert told == []


def test_damaged_file_is_replaced(server: Server, tmp_path: Path) -> None:
    told: list[str] = []
    path = place_of(server.source(), tmp_path)
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-1])
    assert fetch_file(server.source(), tmp_path, notify=told.append).read_bytes() == CONTENT
    assert "in place of a damaged" in told[0]
    assert list_files(tmp_path) == ["data/file.npz"]


def test_what_was_there_stays_if_the_download_fails(server: Server, tmp_path: Path) -> None:
    path = place_of(server.source(), tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"imported by hand")
    server.answers = [Answer(404)]
    fail_to_fetch(server.source(), tmp_path)
    assert path.read_bytes() == b"imported by hand"
    assert list_files(tmp_path) == ["data/file.npz"]


def test_nothing_lies_under_the_name_before_it_is_verified(server: Server, tmp_path: Path) -> None:
    seen: list[bool] = []
    path = place_of(server.source(), tmp_path)
    fetch_file(server.source(), tmp_path, lambda step: seen.append(path.exists()))
    assert seen and not any(seen)


@pytest.mark.parametrize("body", [CONTENT[:-1] + b"x", CONTENT[:100], b"<html>log in first</html>", b""])
def test_other_content_is_refused(server: Server, tmp_path: Path, body: bytes) -> None:
    server.answers = [Answer(body=body)]
    text = fail_to_fetch(server.source(), tmp_path)
    assert f"{len(body)} bytes of {len(CONTENT)}" in text
    assert list_files(tmp_path) == []
    assert len(server.requests) == 1


def test_cut_off_body_is_tried_again(server: Server, tmp_path: Path) -> None:
    server.answers = [Answer(body=CONTENT[:70_000], claimed_bytes=len(CONTENT)), Answer()]
    assert fetch_file(server.source(), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_body_cut_off_every_time(server: Server, tmp_path: Path) -> None:
    server.answers = [Answer(body=CONTENT[:70_000], claimed_bytes=len(CONTENT))]
    assert "the connection broke off" in fail_to_fetch(server.source(), tmp_path)
    assert list_files(tmp_path) == []
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("status", "words", "tries"),
    [
        (403, "403 Forbidden", 1),
        (404, "404 Not Found", 1),
        (429, "429 Too Many Requests", 3),
        (500, "500 Internal Server Error", 3),
    ],
)
def test_error_status(server: Server, tmp_path: Path, status: int, words: str, tries: int) -> None:
    server.answers = [Answer(status)]
    assert f"the server answers {words}" in fail_to_fetch(server.source(), tmp_path)
    assert len(server.requests) == tries
    assert list_files(tmp_path) == []


def test_server_in_trouble_is_asked_again(server: Server, tmp_path: Path) -> None:
    told: list[str] = []
    server.answers = [Answer(500), Answer(429), Answer()]
    assert fetch_file(server.source(), tmp_path, notify=told.append).read_bytes() == CONTENT
    assert len(server.requests) == 3
    assert any("500" in line and "trying again" in line for line in told)


def test_redirect_is_followed_within_the_scheme(server: Server, tmp_path: Path) -> None:
    server.answers = [Answer(302, b"", location="/elsewhere"), Answer()]
    assert fetch_file(server.source(), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("location", ["https://127.0.0.1:1/file.npz", "ftp://127.0.0.1:1/file.npz"])
def test_redirect_to_another_scheme_is_refused(server: Server, tmp_path: Path, location: str) -> None:
    server.answers = [Answer(302, b"", location=location)]
    assert f"sends on to {location}, which is not followed" in fail_to_fetch(server.source(), tmp_path)
    assert len(server.requests) == 1


def test_endless_redirect_is_given_up(server: Server, tmp_path: Path) -> None:
    server.answers = [Answer(302, b"", location="/file.npz")]
    assert "redirects" in fail_to_fetch(server.source(), tmp_path)


def test_refused_connection(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, never listening: nobody else gets the port
        source = Server(f"http://127.0.0.1:{taken.getsockname()[1]}").source()
        assert "Connection refused" in fail_to_fetch(source, tmp_path)
    assert list_files(tmp_path) == []


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_no_host(*args: Any, **kwargs: Any) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", find_no_host)
    assert ": Temporary failure in name resolution;" in fail_to_fetch(SOURCES[28], tmp_path)


def test_silent_server(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT", 0.2)
    monkeypatch.setattr(fetch, "RETRY_PAUSES", ())
    answered = threading.Event()
    server.answers = [Answer(body=b"", act=lambda: answered.wait(5))]
    assert "no answer within 0.2 s" in fail_to_fetch(server.source(), tmp_path)
    answered.set()


def test_unreachable_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert "Connection refused" in fail_to_fetch(Server("http://nowhere.invalid").source(), tmp_path)


def test_directory_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    text = fail_to_fetch(server.source(), tmp_path / "file")
    assert "cannot be used (Not a directory)" in text and "PNEUMOCLI_CACHE" in text
    assert server.requests == []


def test_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_no_space(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", find_no_space)
    assert "No space left on device" in fail_to_fetch(server.source(), tmp_path)
    assert list_files(tmp_path) == []


def test_interrupt_leaves_nothing(server: Server, tmp_path: Path) -> None:
    def interrupt(step: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_file(server.source(), tmp_path, interrupt)
    assert list_files(tmp_path) == []


def test_missing_weights_name_their_own_ways_out(server: Server, tmp_path: Path) -> None:
    server.answers = [Answer(404)]
    with pytest.raises(
        DownloadError, match=r"--weights FILE or PNEUMOCLI_WEIGHTS.* --weights none"
    ) as caught:
        fetch_file(replace(server.source(), folder="weights"), tmp_path)
    assert "--data" not in str(caught.value)


def test_weights_are_those_of_keras() -> None:
    from keras.src.applications import resnet

    assert WEIGHTS.url == resnet.BASE_WEIGHTS_PATH + WEIGHTS.name
    assert WEIGHTS.md5 == resnet.WEIGHTS_HASHES["resnet50"][1]
    assert WEIGHTS.name.endswith("_notop.h5")


def test_sources_are_complete() -> None:
    assert list(SOURCES) == [28, 64, 128, 224]
    for size, source in SOURCES.items():
        assert source.name == ("pneumoniamnist.npz" if size == 28 else f"pneumoniamnist_{size}.npz")
        assert source.url == f"https://zenodo.org/records/10519652/files/{source.name}?download=1"
        assert len(bytes.fromhex(source.md5)) == 16
    assert len({source.md5 for source in SOURCES.values()}) == 4


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, pneumocli.core.fetch; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert {"requests", "pooch", "numpy", "sklearn", "keras"}.isdisjoint(loaded.split())
    assert "pneumocli.core.fetch" in loaded.split()


# Which file is used.


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that would have been downloaded."""
    names: list[str] = []

    def pretend(source: Source, target: Path, listen: Any) -> None:
        names.append(source.name)

    monkeypatch.setattr(fetch, "_download", pretend)
    return names


def test_option_goes_before_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, downloads: list[str]
) -> None:
    given, named = tmp_path / "given", tmp_path / "named"
    given.touch()
    named.touch()
    monkeypatch.setenv("PNEUMOCLI_DATA", str(named))
    monkeypatch.setenv("PNEUMOCLI_WEIGHTS", str(named))
    assert fetch.locate_data(str(given), 28, tmp_path) == given
    assert fetch.locate_weights(str(given), tmp_path) == given
    assert fetch.locate_data(None, 28, tmp_path) == named
    assert fetch.locate_weights(None, tmp_path) == named
    assert downloads == []


def test_words_of_option_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, downloads: list[str]
) -> None:
    assert fetch.locate_data("synthetic", 28, tmp_path) == fetch.SYNTHETIC
    assert fetch.locate_weights("none", tmp_path) is None
    monkeypatch.setenv("PNEUMOCLI_DATA", "synthetic")
    monkeypatch.setenv("PNEUMOCLI_WEIGHTS", "none")
    assert fetch.locate_data(None, 28, tmp_path) == fetch.SYNTHETIC
    assert fetch.locate_weights(None, tmp_path) is None
    assert downloads == []
    assert fetch.locate_weights("imagenet", tmp_path) == place_of(WEIGHTS, tmp_path)
    assert downloads == [WEIGHTS.name]


@pytest.mark.parametrize("empty", [False, True])
def test_without_a_choice_the_official_files_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, downloads: list[str], empty: bool
) -> None:
    if empty:
        monkeypatch.setenv("PNEUMOCLI_DATA", "")
        monkeypatch.setenv("PNEUMOCLI_WEIGHTS", "")
    told: list[str] = []
    assert (
        fetch.locate_data(None, 64, tmp_path, notify=told.append) == tmp_path / "data/pneumoniamnist_64.npz"
    )
    assert fetch.locate_weights(None, tmp_path, notify=told.append) == place_of(WEIGHTS, tmp_path)
    assert downloads == ["pneumoniamnist_64.npz", WEIGHTS.name]
    assert len(told) == 2 and "zenodo.org" in told[0]


def test_cached_data_are_used_even_if_imported(tmp_path: Path, downloads: list[str]) -> None:
    cached = place_of(SOURCES[28], tmp_path)
    cached.parent.mkdir()
    cached.write_bytes(b"imported")
    assert fetch.locate_data(None, 28, tmp_path) == cached
    assert downloads == []


def test_damaged_weights_are_fetched_anew(tmp_path: Path, downloads: list[str]) -> None:
    cached = place_of(WEIGHTS, tmp_path)
    cached.parent.mkdir()
    cached.write_bytes(b"cut off")
    fetch.locate_weights("imagenet", tmp_path)
    assert downloads == [WEIGHTS.name]


@pytest.mark.parametrize("missing", ["nowhere.npz", "", ".", "a\0b"])
def test_missing_file_names_its_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def fail(error: type[PneumoError], call: Callable[[], object]) -> str:
        with pytest.raises(error) as caught:
            call()
        assert "\n" not in str(caught.value) and repr(missing) in str(caught.value)
        return str(caught.value)

    is_folder = missing == "."
    if not is_folder:
        assert fail(DataError, lambda: fetch.locate_data(missing, 28, tmp_path)).startswith("--data names")
    assert fail(WeightsError, lambda: fetch.locate_weights(missing, tmp_path)).startswith("--weights names")
    if missing and "\0" not in missing:
        monkeypatch.setenv("PNEUMOCLI_DATA", missing)
        monkeypatch.setenv("PNEUMOCLI_WEIGHTS", missing)
        if not is_folder:
            assert "variable PNEUMOCLI_DATA" in fail(DataError, lambda: fetch.locate_data(None, 28, tmp_path))
        assert "variable PNEUMOCLI_WEIGHTS" in fail(
            WeightsError, lambda: fetch.locate_weights(None, tmp_path)
        )


def test_folder_of_images_is_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetch.locate_data(str(tmp_path), 28, tmp_path / "cache") == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PNEUMOCLI_DATA", "~")
    assert fetch.locate_data(None, 28, tmp_path / "cache") == tmp_path


def test_unknown_size(tmp_path: Path, downloads: list[str]) -> None:
    with pytest.raises(DataError, match="32 px; choose from: 28, 64, 128, 224"):
        fetch.locate_data(None, 32, tmp_path)
    assert downloads == []


def test_cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_directory().name == "pneumocli"
    monkeypatch.setenv("PNEUMOCLI_CACHE", str(tmp_path))
    assert cache_directory() == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PNEUMOCLI_CACHE", "~/here")
    assert cache_directory() == tmp_path / "here"


# Import of a file one has.


def save_dataset(path: Path, pixels: int, rows: int = 4) -> Path:
    arrays: dict[str, Any] = {
        key: np.zeros((rows, pixels, pixels), np.uint8) if "images" in key else np.arange(rows)[:, None] % 2
        for key in KEYS
    }
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize("size", [28, 64, 128, 224])
def test_import_takes_the_name_of_its_size(tmp_path: Path, size: int) -> None:
    mine, cache = save_dataset(tmp_path / "mine.npz", size), tmp_path / "cache"
    path = import_dataset(mine, cache)
    assert path == place_of(SOURCES[size], cache)
    assert path.read_bytes() == mine.read_bytes()
    assert list_files(cache) == [f"data/{SOURCES[size].name}"]
    assert fetch.locate_data(None, size, cache) == path


def test_import_replaces_and_may_be_repeated(tmp_path: Path) -> None:
    import_dataset(save_dataset(tmp_path / "first.npz", 28), tmp_path)
    second = save_dataset(tmp_path / "second.npz", 28, rows=6)
    path = import_dataset(second, tmp_path, size=28)
    assert import_dataset(path, tmp_path) == path
    assert path.read_bytes() == second.read_bytes()
    assert list_files(tmp_path / "data") == ["pneumoniamnist.npz"]


@pytest.mark.parametrize(
    ("pixels", "size", "words"),
    [(28, 64, "of 28 px, not of 64"), (32, None, "of 32 px, not 28, 64"), (32, 28, "of 32 px, not of 28")],
)
def test_import_of_another_size(tmp_path: Path, pixels: int, size: int | None, words: str) -> None:
    mine = save_dataset(tmp_path / "mine.npz", pixels)
    with pytest.raises(DataError, match=words):
        import_dataset(mine, tmp_path / "cache", size)
    assert not (tmp_path / "cache").exists()


def test_import_of_a_wrong_file_keeps_the_cache(tmp_path: Path) -> None:
    kept = import_dataset(save_dataset(tmp_path / "mine.npz", 28), tmp_path)
    before = kept.read_bytes()
    wrong = tmp_path / "wrong.npz"
    wrong.write_bytes(b"not an archive")
    with pytest.raises(DataError, match=r"wrong\.npz"):
        import_dataset(wrong, tmp_path)
    assert kept.read_bytes() == before


def test_import_of_some_of_the_splits_is_refused(tmp_path: Path) -> None:
    whole, part = save_dataset(tmp_path / "whole.npz", 28), tmp_path / "part.npz"
    with np.load(whole) as arrays:
        np.savez(part, **{key: arrays[key] for key in arrays.files if key.startswith("test")})
    with pytest.raises(DataError, match=r"part\.npz has no train and val images"):
        import_dataset(part, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_import_onto_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_no_space(source: Path, target: Path) -> None:
        target.write_bytes(b"begun")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    mine = save_dataset(tmp_path / "mine.npz", 28)
    monkeypatch.setattr(shutil, "copyfile", find_no_space)
    with pytest.raises(DataError, match=r"could not be copied .*No space left .*PNEUMOCLI_CACHE"):
        import_dataset(mine, tmp_path / "cache")
    assert list_files(tmp_path / "cache") == []
