"""Parts of a list of images side by side: the answers of one process, in the order of the list."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commandline import run

from pneumocli.core.errors import RunError
from pneumocli.core.images import Source
from pneumocli.core.progress import Progress, ignore
from pneumocli.core.runs import MODEL, Run
from pneumocli.core.workers import Backend, Workers

pytest_plugins = ["trained"]


class InThisProcess(Workers):
    """Does the tasks one after the other, last first, and notes how many came at once."""

    def __init__(self) -> None:
        super().__init__(Backend.DASK, lambda: 3, lambda jobs: {}, (), lambda jobs: 1)
        object.__setattr__(self, "rounds", [])

    def do(self, work: Any, tasks: Sequence[Any], *settings: object) -> list[Any]:
        self.rounds.append(len(tasks))  # type: ignore[attr-defined]
        return [work(task, ignore) for task in reversed(tasks)][::-1]


@pytest.fixture
def answer_alone(cv_run: Run) -> Callable[[Run | Path, Sequence[Source]], list[Any]]:
    from pneumocli.core.engine import open_predictor
    from pneumocli.core.prediction import predict_files

    def answer(found: Run | Path, sources: Sequence[Source]) -> list[Any]:
        opened = open_predictor(found)
        return list(predict_files(opened.scorer, opened.chosen.card, sources))

    return answer


def choose(found: Run | Path) -> Any:
    from pneumocli.core.engine import choose_predictor

    return choose_predictor(found)


def list_sources(xrays: list[Path], count: int) -> list[Source]:
    names = [str(xrays[number % len(xrays)]) for number in range(count)]
    names[count // 2] = str(xrays[0].with_name("missing.png"))
    return [Source(name) for name in names]


@pytest.mark.parametrize("count", [5, 32, 33, 64, 95, 97, 130])
def test_answers_are_those_of_one_process(
    count: int,
    cv_run: Run,
    xrays: list[Path],
    answer_alone: Callable[[Run | Path, Sequence[Source]], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pneumocli.core import shards

    monkeypatch.setattr(shards, "SHARD", 32)
    monkeypatch.setattr(shards, "ROUND", 1)
    sources = list_sources(xrays, count)
    workers, heard = InThisProcess(), list[Progress]()
    found: list[Run | Path] = [cv_run] if count != 97 else [cv_run, cv_run.fold_path(1) / MODEL]
    for each in found:
        answers = list(shards.predict_shards(each, choose(each), sources, workers, listen=heard.append))
        assert answers == answer_alone(each, sources)
        assert heard[-1].done == heard[-1].total == count
    assert max(workers.rounds) <= 3  # type: ignore[attr-defined]


def test_parts_are_whole_batches_and_the_last_is_no_smaller() -> None:
    from pneumocli.core.inference import BATCH_SIZE
    from pneumocli.core.session import Session
    from pneumocli.core.shards import BATCH, SHARD, _cut

    assert BATCH % BATCH_SIZE == BATCH % Session.batch_size == 0

    for count in range(1, 4 * SHARD, 7):
        sources = [Source(str(number)) for number in range(count)]
        parts = _cut(sources)
        assert [source for part in parts for source in part] == sources
        assert all(len(part) % BATCH == 0 for part in parts[:-1])
        assert len(parts) == 1 or all(len(part) >= BATCH for part in parts)
        assert max(map(len, parts)) < SHARD + BATCH


def test_a_process_loads_its_model_once(
    cv_run: Run, xrays: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pneumocli.core import shards

    loaded: list[object] = []
    load = shards.open_predictor
    monkeypatch.setattr(
        shards,
        "open_predictor",
        lambda found, engine, **more: loaded.append(found) or load(found, engine, **more),
    )
    monkeypatch.setattr(shards, "SHARD", 32)
    shards._load.cache_clear()
    list(shards.predict_shards(cv_run, choose(cv_run), list_sources(xrays, 96), InThisProcess()))
    assert len(loaded) == 1


def test_files_of_a_folder_without_an_image_are_counted_once(cv_run: Run, tmp_path: Path) -> None:
    from scans import write_dicom

    from pneumocli.core import shards

    report = write_dicom(tmp_path / "report.dcm", None)
    told: list[str] = []
    sources = [Source(str(report), found=True)] * 40
    assert (
        list(shards.predict_shards(cv_run, choose(cv_run), sources, InThisProcess(), notify=told.append))
        == []
    )
    assert told == ["passed over 40 DICOM files without an image"]


def test_what_is_forced_is_told_by_the_first_process(cv_run: Run, xrays: list[Path]) -> None:
    from pneumocli.core import shards

    chosen = choose(cv_run)
    chosen = replace(chosen, card=chosen.card.model_copy(update={"preparation": 99}))
    told: list[str] = []
    with pytest.raises(RunError, match="--force"):
        list(shards.predict_shards(cv_run, chosen, list_sources(xrays, 5), InThisProcess()))
    forced: dict[str, Any] = {"force": True, "warn": told.append}
    answers = list(shards.predict_shards(cv_run, chosen, list_sources(xrays, 5), InThisProcess(), **forced))
    assert len(answers) == 5
    assert len(told) == 1 and "--force" in told[0]


def test_a_worker_with_another_model_refuses(cv_copy: Run, xrays: list[Path]) -> None:
    from pneumocli.core import shards

    shards._load.cache_clear()
    shard = shards._Shard(cv_copy.path, True, "keras", "0" * 64, (Source(str(xrays[0])),), False)
    with pytest.raises(RunError, match="another model"):
        shards._answer_shard(shard, ignore)


def test_what_does_not_go_with_several_processes(cv_copy: Run, xrays: list[Path], tmp_path: Path) -> None:
    for words in (("--explain", tmp_path / "maps", "--jobs", "2"), ("--address", "tcp://here:1")):
        result = run("predict", xrays[0], *words)
        assert result.exit_code == 2
        assert "--jobs" in result.stderr or "--backend" in result.stderr
    assert not (tmp_path / "maps").exists()


@pytest.mark.slow
def test_the_same_bytes_by_two_processes(cv_copy: Run, xrays: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"broken")
    names = [*xrays, broken, *xrays] * 8
    (tmp_path / "list.txt").write_text("\n".join(map(str, names)))
    common = ("predict", "--files-from", tmp_path / "list.txt", "--format", "csv")
    one, two = run(*common), run(*common, "--jobs", "2", "--deterministic")
    assert one.exit_code == two.exit_code == 4, two.output
    assert two.stdout == one.stdout
    assert len(one.stdout.splitlines()) == 1 + len(names)
