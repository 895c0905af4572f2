"""What a run keeps of how it came about."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError
from test_runs import OTHER_WORK, make_record

from pneumocli.core.records import RunRecord, describe_versions, stamp_time


def test_time_alone_makes_no_other_work() -> None:
    assert make_record().same_work(make_record(created="2024-01-01T00:00:00.000000+00:00"))


@pytest.mark.parametrize("changes", OTHER_WORK.values(), ids=OTHER_WORK.keys())
def test_whatever_else_differs_is_other_work(changes: dict[str, Any]) -> None:
    assert not make_record().same_work(make_record(**changes))


def test_images_that_changed_under_the_same_name_are_told_as_such() -> None:
    record = make_record()
    edited = record.data.model_copy(update={"digest": "1" * 64, "train_images": 7})
    words = record.find_other_inputs(make_record(data=edited))
    assert words is not None and words.startswith(f"other images of {record.data.name} than it has now")
    assert words.endswith(f"({record.data.train_images} training images then, 7 now)")
    other = record.find_other_inputs(make_record(data=edited.model_copy(update={"name": "b.npz"})))
    assert other == f"the images of {record.data.name}, not those of b.npz"


def test_record_is_the_same_after_json() -> None:
    record = make_record()
    assert RunRecord.model_validate_json(record.model_dump_json()) == record


def test_field_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        RunRecord.model_validate(make_record().model_dump() | {"mood": "good"})


def test_versions_name_what_a_result_depends_on() -> None:
    assert {"pneumocli", "python", "backend", "tensorflow", "keras", "numpy", "pillow"} <= set(
        describe_versions()
    )


def test_time_is_the_present_in_utc_and_sorts_as_text() -> None:
    before = datetime.now(UTC)
    first, second = stamp_time(), stamp_time()
    assert first <= second
    assert before <= datetime.fromisoformat(first) <= datetime.now(UTC)
