"""What the machine is said to be able to do, and the arithmetic that follows from it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pneumocli.core import hardware
from pneumocli.core.config import Precision, TrainConfig
from pneumocli.core.errors import PneumoError
from pneumocli.core.hardware import Processor, choose_jobs, choose_precision, count_cores, read_processor

X86 = """\
processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 9R14
flags\t\t: fpu sse2 avx2 {flags}
bugs\t\t: spectre_v1

processor\t: 1
model name\t: another
flags\t\t: none
"""
INTEL = X86.replace("AuthenticAMD", "GenuineIntel").replace("AMD EPYC 9R14", "Intel(R) Xeon(R) Processor")
ARM = """\
processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd {flags}
CPU part\t: 0xd0c
"""

Describe = Callable[[str], None]


@pytest.fixture
def describe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Describe:
    """Let the machine describe its processor in these words."""

    def write(text: str) -> None:
        (tmp_path / "cpuinfo").write_text(text)

    monkeypatch.setattr(hardware, "Path", lambda name: tmp_path / "cpuinfo")
    return write


def test_processor_is_named_with_its_instruction_sets(describe: Describe) -> None:
    describe(X86.format(flags="avx512_bf16"))
    instructions = frozenset({"fpu", "sse2", "avx2", "avx512_bf16"})
    assert read_processor() == Processor("AMD EPYC 9R14", "AuthenticAMD", instructions)
    describe(ARM.format(flags="bf16"))
    assert read_processor().instructions == {"fp", "asimd", "bf16"}


@pytest.mark.parametrize("text", ["", "\n\n", "no colon here\n", "flags:\n"])
def test_processor_that_says_little_has_no_instruction_sets(describe: Describe, text: str) -> None:
    describe(text)
    assert read_processor().instructions == frozenset()
    assert not read_processor().has_bfloat16


def test_system_without_a_description_of_the_processor(describe: Describe) -> None:
    processor = read_processor()
    assert isinstance(processor.name, str)
    assert processor.instructions == frozenset()


@pytest.mark.parametrize(
    ("text", "flags", "native", "faster"),
    [
        (X86, "avx512_bf16", True, True),
        (X86, "amx_tile amx_bf16 amx_int8", True, True),
        (INTEL, "avx512_bf16 amx_tile amx_bf16", True, True),
        (INTEL, "avx512_bf16 avx512_fp16", True, False),
        (ARM, "bf16", True, True),
        (ARM, "svebf16", True, True),
        (X86, "avx512f avx512_vnni", False, False),
        (X86, "avx512_bf16x my_bf16", False, False),
        (ARM, "sve fphp", False, False),
    ],
)
def test_auto_is_bfloat16_where_it_is_the_faster(
    describe: Describe, text: str, flags: str, native: bool, faster: bool
) -> None:
    describe(text.format(flags=flags))
    assert read_processor().has_bfloat16 == native
    expected = Precision.BFLOAT16 if faster else Precision.FLOAT32
    assert choose_precision(Precision.AUTO, has_gpu=False) is expected


def test_auto_is_mixed_on_a_gpu_whatever_the_processor(describe: Describe) -> None:
    describe(X86.format(flags=""))
    assert choose_precision(Precision.AUTO, has_gpu=True) is Precision.BFLOAT16


@pytest.mark.parametrize("has_gpu", [False, True])
@pytest.mark.parametrize("asked", [Precision.FLOAT32, Precision.BFLOAT16])
def test_what_was_asked_for_is_taken(describe: Describe, asked: Precision, has_gpu: bool) -> None:
    for flags in ("", "avx512_bf16"):
        describe(X86.format(flags=flags))
        assert choose_precision(asked, has_gpu) is asked


def test_float16_is_for_gpus() -> None:
    assert choose_precision(Precision.FLOAT16, has_gpu=True) is Precision.FLOAT16
    with pytest.raises(PneumoError, match="float16") as caught:
        choose_precision(Precision.FLOAT16, has_gpu=False)
    assert len(str(caught.value).splitlines()) == 1
    assert "bfloat16" in str(caught.value)


def test_precision_is_chosen_by_the_machine_unless_it_is_named() -> None:
    assert TrainConfig().precision is Precision.AUTO
    assert {precision.value for precision in Precision} == {"auto", "float32", "bfloat16", "float16"}


def test_cores_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert count_cores() >= 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5}, raising=False)
    assert count_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert count_cores() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert count_cores() == 1


@pytest.mark.parametrize(
    ("cores", "folds", "jobs"),
    [(1, 1, 1), (1, 3, 1), (2, 1, 1), (2, 2, 2), (2, 3, 3), (2, 5, 2), (4, 3, 3), (4, 10, 4), (8, 3, 3)],
)
def test_folds_of_one_thread_leave_no_core_and_no_last_fold_alone(
    monkeypatch: pytest.MonkeyPatch, cores: int, folds: int, jobs: int
) -> None:
    monkeypatch.setattr(hardware, "count_cores", lambda: cores)
    assert choose_jobs(folds, deterministic=True, gpus=0) == jobs
    assert choose_jobs(folds, deterministic=False, gpus=0) == 1
    for deterministic in (True, False):
        assert choose_jobs(folds, deterministic, gpus=1) == 1
        assert choose_jobs(folds, deterministic, gpus=2) == min(folds, 2)
