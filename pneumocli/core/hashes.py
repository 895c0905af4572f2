"""Which model files a run wrote: `hashes.json` beside them, the SHA-256 of each by its name."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pneumocli import DISCLAIMER
from pneumocli.core.errors import RunError
from pneumocli.core.files import hash_file, write_json
from pneumocli.core.progress import Notice, keep_quiet
from pneumocli.core.reading import read_json

HASHES = "hashes.json"


class Hashes(BaseModel):
    """What `hashes.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    files: dict[str, str]
    disclaimer: str = DISCLAIMER


def record_hash(path: Path) -> None:
    """Add a file that was just written to its folder's `hashes.json`, in place of an earlier one's entry.

    Raises:
        RunError: the `hashes.json` that is there is damaged.
    """
    kept = read_hashes(path.parent)
    files = {} if kept is None else kept.files
    content = Hashes(files={**files, path.name: hash_file(path)})
    write_json(path.parent / HASHES, content.model_dump(mode="json"))


def read_hashes(folder: Path) -> Hashes | None:
    """Read a folder's `hashes.json`; None if there is none, as in runs of earlier versions.

    Raises:
        RunError: it is damaged.
    """
    path = folder / HASHES
    try:
        return Hashes.model_validate(read_json(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ValidationError) as error:
        raise RunError(f"{path} cannot be read ({type(error).__name__}); the run folder is damaged") from None


def check_hash(path: Path, *, force: bool = False, notify: Notice = keep_quiet) -> None:
    """Check that a file is the one whose hash stands in its folder's `hashes.json`.

    A file that is not named there, such as a model that was moved elsewhere, is not checked.

    Args:
        force: take another file all the same; `notify` is told so.

    Raises:
        RunError: it is another.
    """
    kept = read_hashes(path.parent)
    expected = None if kept is None else kept.files.get(path.name)
    if expected is None:
        return
    found = hash_file(path)
    if found == expected:
        return
    what = (
        f"{path} is not the file that its run wrote (SHA-256 {found[:12]}..., "
        f"{HASHES} has {expected[:12]}...)"
    )
    if not force:
        raise RunError(f"{what}; put the right one back, make it anew, or take it as it is with --force")
    notify(f"warning: {what}; taken because of --force")
