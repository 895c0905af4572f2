"""How progress is told in words, on a terminal and in plain lines alike."""

from collections.abc import Mapping


def count_done(done: float, total: float, unit: str, speed: float | None) -> str:
    """Return how much of how much is done, and how fast; `speed` is in units a second."""
    if unit == "bytes":
        return f"{done / 1e6:.1f}/{total / 1e6:.1f} MB {tell_rate(unit, speed)}".rstrip()
    return f"{done:.0f}/{total:.0f} {tell_rate(unit, speed)}".rstrip()


def tell_rate(unit: str, speed: float | None) -> str:
    """Return a speed in units a second, nothing if it is not known."""
    if not speed:
        return ""
    return f"{speed / 1e6:.1f} MB/s" if unit == "bytes" else f"{speed:.0f}/s"


def tell_facts(facts: Mapping[str, float]) -> str:
    """Return epoch, loss and AUC, as far as they are known."""
    words = []
    if "epoch" in facts:
        words.append(f"epoch {facts['epoch']:.0f}")
    for name, shown in (("loss", "loss"), ("val_auc", "AUC")):
        if name in facts:
            words.append(f"{shown} {facts[name]:.4f}")
    return " ".join(words)


def tell_clock(seconds: float) -> str:
    """Return a time as hours, minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
