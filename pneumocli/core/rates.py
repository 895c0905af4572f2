"""How fast work went on this machine, kept from run to run, so that the next can say how long it takes."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pneumocli.core.files import write_json
from pneumocli.core.hardware import count_cores, read_processor
from pneumocli.core.official import cache_directory
from pneumocli.core.plan import Plan
from pneumocli.core.reading import read_json
from pneumocli.core.steps import Step

LAST = 5  # measurements of a kind of work that are kept


@dataclass(frozen=True)
class Rate:
    """How fast one step went: seconds until its first batch was done, then images a second."""

    start: float
    speed: float

    def time(self, images: float) -> float:
        """Return the seconds that so many images take."""
        return self.start + images / self.speed


@dataclass(frozen=True)
class Rates:
    """What was measured before: rates by kind of step, the latest last, and own memory in bytes."""

    steps: Mapping[str, tuple[Rate, ...]] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)


def rates_path() -> Path:
    """Return the file that rates are kept in."""
    return cache_directory() / "rates.json"


def name_work(plan: Plan, step: Step, gpu: bool) -> str:
    """Return the words under which a step's rate is kept: all that its speed depends on."""
    config = plan.config
    facts = [
        _name_machine(gpu),
        # Of the same work, whether the trunk has a part in it.
        f"{step.work} in {step.precision.value}, {step.operations / 1e9:.2f} billion operations",
        f"{config.image_size} px, cut behind {plan.cut}",
        f"batches of {config.batch_size}",
        f"{config.head_units} units",
        "features kept" if plan.feature_bytes else "nothing kept",
        f"{'plain images' if not config.views else 'views'}, {plan.jobs} side by side",
    ]
    return "; ".join(facts)


def name_memory(plan: Plan, gpu: bool) -> str:
    """Return the words under which a run's own memory is kept."""
    config = plan.config
    n = sum(plan.splits["train"])
    return "; ".join(
        (
            _name_machine(gpu),
            f"{plan.kind} on {n} images in {plan.precision.value}",
            f"{config.image_size} px, cut behind {plan.cut}",
            f"batches of {config.batch_size}",
            "features kept" if plan.feature_bytes else "nothing kept",
        )
    )


def read_rates(path: Path) -> Rates:
    """Return what was measured before; nothing if there is no file or it is damaged."""
    try:
        facts = read_json(path)
        steps = {
            str(name): tuple(Rate(float(start), float(speed)) for start, speed in measured if speed > 0)
            for name, measured in facts["steps"].items()
        }
        memory = {str(name): int(size) for name, size in facts["memory"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Rates()
    return Rates({name: measured for name, measured in steps.items() if measured}, memory)


def keep_rates(path: Path, measured: Mapping[str, Rate], memory: Mapping[str, int]) -> None:
    """Add what this run measured; where nothing can be written, nothing is kept."""
    if not measured and not memory:
        return
    before = read_rates(path)
    steps: dict[str, tuple[Rate, ...]] = dict(before.steps)
    for name, rate in measured.items():
        steps[name] = (*steps.get(name, ()), rate)[-LAST:]
    content: dict[str, Any] = {
        "schema_version": 1,
        "steps": {name: [[rate.start, rate.speed] for rate in rates] for name, rates in steps.items()},
        "memory": {**before.memory, **memory},
    }
    with suppress(OSError):
        write_json(path, content)


def _name_machine(gpu: bool) -> str:
    return f"{read_processor().name}, {count_cores()} cores{', GPU' if gpu else ''}"
