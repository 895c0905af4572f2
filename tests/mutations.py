"""Files mutated by Hypothesis, and the guard that a parser is run under: time, memory, kinds of outcome."""

import io
import json
import re
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from hypothesis import strategies as st

from pneumocli.core.errors import PneumoError

SECONDS = 10  # of the processor, whatever else the machine does
WAITING = 60  # seconds of the clock, for what waits and does nothing
BYTES = 10**9

EXTREMES = [
    bytes.fromhex(text)
    for text in (
        "00000000",
        "ffffffff",
        "7fffffff",
        "ffffff7f",
        "80000000",
        "00000080",
        "0000ffff",
        "01000000",
    )
]
JSON_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([[], {}, "\x1b[2J", "\ud800", "../../x", "/etc/passwd", 10**400, [[[[]]]], "a\nb"]),
)


class TooLongError(BaseException):
    """A parser took more than its time; no `except Exception` holds this up."""


@contextmanager
def watched() -> Iterator[None]:
    """Fail where the block takes more than 10 s or more than 1 GB over what the process had."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLongError(f"more than {SECONDS} s of work, or {WAITING} s of waiting")

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, SECONDS), signal.SIGALRM: (signal.ITIMER_REAL, WAITING)}
    before = {number: signal.signal(number, stop) for number in timers}
    baseline = reset_peak()
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
    taken = read_memory("VmHWM") - baseline
    assert taken < BYTES, f"{taken / 1e9:.2f} GB"


def reset_peak() -> int:
    """Begin anew with the peak of this process's memory; return what it has now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return read_memory("VmRSS")


def read_memory(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def parse_watched(parse: Callable[[Path], object], path: Path) -> str | None:
    """Return the line of a refusal, None for an answer; whatever else happens is a failure."""
    with watched():
        try:
            parse(path)
        except PneumoError as error:
            line = str(error)
            assert line.isprintable()
            assert line
            return line
    return None


@st.composite
def mutate_bytes(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A file with a few places overwritten, cut out, doubled, or cut off."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        if not content:
            break
        # Headers are at the ends.
        near = draw(st.integers(0, min(len(content), 400) - 1))
        place = draw(st.sampled_from([near, len(content) - 1 - near, draw(st.integers(0, len(content) - 1))]))
        length = draw(st.integers(1, 64))
        match draw(st.sampled_from(["bit", "byte", "extreme", "cut", "double", "end", "zero"])):
            case "bit":
                content[place] ^= 1 << draw(st.integers(0, 7))
            case "byte":
                content[place] = draw(st.integers(0, 255))
            case "extreme":
                content[place : place + 4] = draw(st.sampled_from(EXTREMES))
            case "cut":
                del content[place : place + length]
            case "double":
                content[place:place] = content[place : place + length]
            case "end":
                del content[place:]
            case _:
                content[place : place + length] = bytes(len(content[place : place + length]))
    return bytes(content)


@st.composite
def mutate_archive(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A zip archive whose entries are mutated, with directory and checksums that fit them."""
    with zipfile.ZipFile(io.BytesIO(draw(st.sampled_from(seeds)))) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = draw(st.sampled_from(sorted(entries)))
    if name.endswith(".json"):
        entries[name] = draw(mutate_json([entries[name]]))
    else:
        entries[name] = draw(mutate_bytes([entries[name]]))
    if draw(st.booleans()):
        del entries[draw(st.sampled_from(sorted(entries)))]
    return pack(entries)


def pack(entries: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


@st.composite
def mutate_json(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """JSON with values replaced, taken out or wrapped; or with its text mutated."""
    text = draw(st.sampled_from(seeds))
    if draw(st.integers(0, 3)) == 0:
        return draw(mutate_bytes([text]))
    content = json.loads(text)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_list_places(content))
        if not places:
            break
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        match draw(st.sampled_from(["replace", "remove", "wrap", "add"])):
            case "replace":
                holder[key] = draw(JSON_VALUES)
            case "remove":
                del holder[key]
            case "wrap":
                holder[key] = [holder[key]]
            case _ if isinstance(holder, dict):
                holder[draw(st.text(max_size=8))] = draw(JSON_VALUES)
            case _:
                holder.append(draw(JSON_VALUES))
    return json.dumps(content).encode("utf-8", "surrogatepass")


def _list_places(content: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(content, (dict, list)):
        for key in list(content) if isinstance(content, dict) else range(len(content)):
            yield content, key
            yield from _list_places(content[key])


@st.composite
def mutate_table(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A CSV file with cells replaced, or with its bytes mutated."""
    text = draw(st.sampled_from(seeds))
    if draw(st.booleans()):
        return draw(mutate_bytes([text]))
    lines = [line.split(",") for line in text.decode().splitlines()]
    for _ in range(draw(st.integers(1, 3))):
        row = draw(st.integers(0, len(lines) - 1))
        cell = draw(st.integers(0, len(lines[row]) - 1))
        odd = st.sampled_from(
            ["", '"', "\0", "..", "/etc/passwd", "9" * 5000, "-1", "1e3", "\r", "a\nb", "\x1b[2J"]
        )
        lines[row][cell] = draw(st.one_of(odd, st.text(st.characters(codec="utf-8"), max_size=12)))
    return "\n".join(map(",".join, lines)).encode()
