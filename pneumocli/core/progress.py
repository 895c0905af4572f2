"""How long work tells its listener where it stands; the core never prints."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """One step of long work.

    Attributes:
        stage: what is being done, in words for a person, such as "fold 2 of 3, head".
        done: units finished so far, 0 to `total`.
        total: units of the whole stage.
        unit: "images" or "bytes".
        facts: figures so far, such as the loss, by name.
    """

    stage: str
    done: int
    total: int
    unit: str = "images"
    facts: Mapping[str, float] = field(default_factory=dict)


Listener = Callable[[Progress], None]
Notice = Callable[[str], None]


def ignore(progress: Progress) -> None:
    """Listen to nothing."""


def keep_quiet(line: str) -> None:
    """Tell nobody."""
