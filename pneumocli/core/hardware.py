"""What the machine can do: its processor, its cores, and arithmetic it has natively."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from pneumocli.core.config import Precision
from pneumocli.core.errors import PneumoError

# Instruction sets with bfloat16 products: x86 as Linux names them, and Arm.
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})
# On Intel only the matrix unit, AMX, makes bfloat16 the faster: ResNet-50 at 112 px took 16.4 ms an image in
# bfloat16 and 9.7 in float32 on a Xeon with avx512_bf16 and without AMX. On an AMD EPYC a training step took
# 8.5 against 12.3.
INTEL_BFLOAT16_FLAGS = frozenset({"amx_bf16"})


@dataclass(frozen=True)
class Processor:
    """What the system says of its processor; empty where it does not tell.

    Attributes:
        maker: as Linux names it, "GenuineIntel" for example.
        instructions: its instruction sets, as Linux names them.
    """

    name: str
    maker: str
    instructions: frozenset[str]

    @property
    def has_bfloat16(self) -> bool:
        """Whether it multiplies bfloat16 numbers itself."""
        return not self.instructions.isdisjoint(BFLOAT16_FLAGS)

    @property
    def is_faster_in_bfloat16(self) -> bool:
        """Whether it does so faster than it multiplies float32 numbers."""
        flags = INTEL_BFLOAT16_FLAGS if self.maker == "GenuineIntel" else BFLOAT16_FLAGS
        return not self.instructions.isdisjoint(flags)


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_threads() -> int | None:
    """Return how many threads a process is to have by OMP_NUM_THREADS; None if that does not say."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else None


def measure_memory() -> int | None:
    """Return this process's own memory, mapped files not counted, in bytes; None where it is not told."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def read_processor() -> Processor:
    """Return what Linux says of the first processor, elsewhere the name that Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    facts: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        facts.setdefault(name.strip().lower(), value.strip())
    return Processor(
        name=facts.get("model name") or platform.processor() or platform.machine(),
        maker=facts.get("vendor_id", ""),
        instructions=frozenset((facts.get("flags") or facts.get("features") or "").split()),
    )


def choose_precision(precision: Precision, has_gpu: bool) -> Precision:
    """Return the arithmetic to train in: what was asked for, or for `auto` the fastest here.

    Raises:
        PneumoError: float16 without a GPU; processors train in it slowly and wrongly.
    """
    if precision is Precision.FLOAT16 and not has_gpu:
        raise PneumoError("--precision float16 needs a GPU; here take bfloat16 or float32")
    if precision is not Precision.AUTO:
        return precision
    return Precision.BFLOAT16 if has_gpu or read_processor().is_faster_in_bfloat16 else Precision.FLOAT32


def choose_jobs(folds: int, deterministic: bool, gpus: int) -> int:
    """Return how many folds to train side by side.

    On two cores one fold on both is about as fast as three on a thread each (1 to 1.04, ResNet-50 at
    224 px), in 1.9 GB of own memory instead of 5.1 GB.
    A deterministic fold has one thread, so that there the folds themselves divide the cores: as many
    as there are cores, and one more where that leaves none behind. A GPU is not divided: each takes a fold.

    Args:
        gpus: how many there are.
    """
    if gpus:
        return max(1, min(folds, gpus))
    if not deterministic:
        return 1
    cores = count_cores()
    return folds if folds <= cores + 1 else cores
