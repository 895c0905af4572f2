"""One line of the benchmark's table, and how its figures are said."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table: what was compared, both sides in words, the ratio, the floor in words."""

    name: str
    ours: str
    theirs: str
    ratio: float
    floor: str = ""


def compare(name: str, theirs: float, ours: float, floor: str = "") -> Row:
    return Row(name, tell(ours), tell(theirs), theirs / ours, floor)


def compare_memory(name: str, memory: int) -> Row:
    return Row(name, tell_memory(memory), "4 GB", 4e9 / max(memory, 1))


def tell_memory(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


def tell(seconds: float) -> str:
    return (
        f"{seconds / 60:.1f} min"
        if seconds > 100
        else f"{seconds:.1f} s"
        if seconds > 1
        else f"{1000 * seconds:.1f} ms"
    )
