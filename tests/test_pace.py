"""How long the rest takes, with a clock that the test turns."""

from dataclasses import replace
from pathlib import Path

import pytest
from small import TINY

from pneumocli.core.config import Precision
from pneumocli.core.data import Dataset
from pneumocli.core.pace import Pace, TimeSpan
from pneumocli.core.plan import Plan, plan_run
from pneumocli.core.progress import Progress
from pneumocli.core.rates import Rate, Rates, keep_rates, name_work, read_rates

SECONDS = {
    "frozen layers": 0.5,
    "pooled features": 0.25,
    "head": 0.125,
    "tune": 1.0,
    "scores": 0.25,
    "likeness": 0.5,
}
START = 4.0


@pytest.fixture
def plan(small_dataset: Dataset, tmp_path: Path) -> Plan:
    from pneumocli.core.cache import Cache

    return plan_run(small_dataset, TINY, Precision.FLOAT32, folds=3, cache=Cache(tmp_path / "bank"))


def time_step(plan: Plan, stage: str) -> float:
    step = next(step for step in plan.steps if step.stage == stage)
    return START + SECONDS[step.work] * step.images


def work_through(plan: Plan, pace: Pace, until: str | None = None) -> float:
    """Do the work at the speeds above, each step after a start of four seconds; return the time."""
    now = 0.0
    pace.begin(now)
    for step in plan.steps:
        if step.stage == until:
            return now
        now += START
        for done in range(1, step.images + 1):
            now += SECONDS[step.work]
            pace.hear(Progress(step.stage, done, step.images), now)
    return now


def know(plan: Plan) -> Rates:
    rates = {name_work(plan, step, False): (Rate(START, 1 / SECONDS[step.work]),) for step in plan.steps}
    return Rates(rates)


def test_nothing_is_known_before_anything_was_measured(plan: Plan) -> None:
    assert Pace(plan, Rates()).left(0.0) is None


def test_earlier_rates_tell_the_time_before_the_work_begins(plan: Plan) -> None:
    pace = Pace(plan, know(plan))
    span = pace.left(0.0)
    assert span is not None
    whole = sum(time_step(plan, step.stage) for step in plan.steps)
    assert span.low < whole < span.high
    assert span.high / span.low < 1.5


def test_first_batches_tell_a_wide_span_that_narrows(plan: Plan) -> None:
    pace = Pace(plan, Rates())
    now = work_through(plan, pace, until=plan.steps[1].stage)
    early = pace.left(now)
    assert early is not None
    truth = sum(time_step(plan, step.stage) for step in plan.steps[1:])
    pace = Pace(plan, Rates())
    now = work_through(plan, pace, until="fold 2 of 3, head")
    late = pace.left(now)
    assert late is not None
    rest = sum(time_step(plan, step.stage) for step in plan.steps if step.title[:6] in ("fold 2", "fold 3"))
    assert late.low < rest < late.high
    assert late.high / late.low < 1.5 < early.high / early.low
    assert early.high > truth


def test_a_busier_machine_than_before_shows_in_what_is_to_come(plan: Plan) -> None:
    faster = {
        name: (Rate(rates[0].start / 3, 3 * rates[0].speed),) for name, rates in know(plan).steps.items()
    }
    pace = Pace(plan, Rates(faster))
    whole = pace.left(0.0)
    now = work_through(plan, pace, until="fold 1 of 3, head")
    rest = pace.left(now)
    truth = sum(time_step(plan, step.stage) for step in plan.steps if step.title)
    assert whole is not None
    assert rest is not None
    assert whole.high < truth
    assert rest.low < truth < rest.high


def test_in_the_middle_of_a_step_what_is_left_of_it_counts(plan: Plan) -> None:
    pace = Pace(plan, know(plan))
    tune = next(step for step in plan.steps if step.stage == "fold 3 of 3, tune")
    now = work_through(plan, pace, until=tune.stage) + START
    for done in range(1, tune.images // 2 + 1):
        now += 1.0
        pace.hear(Progress(tune.stage, done, tune.images), now)
    span = pace.left(now)
    assert span is not None
    rest = tune.images - tune.images // 2
    rest += sum(time_step(plan, f"fold 3 of 3, {stage}") for stage in ("probe", "held out"))
    assert span.low < rest < span.high
    # A batch that takes its time is time that is gone.
    later = pace.left(now + 2.0)
    assert later is not None
    assert later.low < span.low


def test_at_the_end_nothing_is_left(plan: Plan) -> None:
    pace = Pace(plan, Rates())
    now = work_through(plan, pace)
    assert pace.left(now) == TimeSpan(0.0, 0.0)
    assert pace.share(now) == 1.0


def test_measured_rates_are_those_of_the_work(plan: Plan) -> None:
    pace = Pace(plan, Rates())
    work_through(plan, pace)
    measured = pace.measured()
    for step in plan.steps:
        rate = measured[name_work(plan, step, False)]
        assert rate.speed == pytest.approx(1 / SECONDS[step.work])
        assert rate.start == pytest.approx(START)
        assert pace.speed(step.stage) == pytest.approx(1 / SECONDS[step.work])


def test_training_that_stops_early_was_not_fast(plan: Plan) -> None:
    pace = Pace(plan, Rates())
    pace.begin(0.0)
    for now, done in ((1.0, 10), (2.0, 20), (3.0, 30), (3.1, 1000)):
        pace.hear(Progress("fold 1 of 3, head", done, 1000), now)
    assert pace.speed("fold 1 of 3, head") == pytest.approx(10.0)


def test_kept_features_and_finished_folds_take_no_time(plan: Plan) -> None:
    known = know(plan)
    whole = Pace(plan, known).left(0.0)
    kept = Pace(plan, known)
    for step in plan.steps:
        if not step.title:
            kept.hear(Progress(f"{step.stage}, kept", step.images, step.images), 0.0)
    finished = replace(
        plan,
        steps=tuple(replace(step, is_kept=step.title == "fold 1 of 3") for step in plan.steps),
    )
    spans = [whole, kept.left(0.0), Pace(finished, known).left(0.0)]
    assert all(span is not None for span in spans)
    features = sum(time_step(plan, step.stage) for step in plan.steps if not step.title)
    fold = sum(time_step(plan, step.stage) for step in plan.steps if step.title == "fold 1 of 3")
    assert spans[0].high - spans[1].high == pytest.approx(1.15 * features)  # type: ignore[union-attr]
    assert spans[0].high - spans[2].high == pytest.approx(1.15 * fold)  # type: ignore[union-attr]


def test_folds_side_by_side_share_the_time(plan: Plan) -> None:
    beside = replace(plan, jobs=3)
    one, three = (Pace(each, know(each)).left(0.0) for each in (plan, beside))
    assert one is not None
    assert three is not None
    features = 1.15 * sum(time_step(plan, step.stage) for step in plan.steps if not step.title)
    assert three.high == pytest.approx(features + (one.high - features) / 3)


def test_folds_are_whole_so_that_two_processes_take_two_turns_for_three(plan: Plan) -> None:
    plan = replace(plan, jobs=2)
    fold = 1.15 * sum(time_step(plan, step.stage) for step in plan.steps if step.title == "fold 1 of 3")
    features = 1.15 * sum(time_step(plan, step.stage) for step in plan.steps if not step.title)
    span = Pace(plan, know(plan)).left(0.0)
    assert span is not None
    assert span.high == pytest.approx(features + 2 * fold)
    # With the others finished the last one is alone, and nobody shares its time.
    rest = tuple(replace(step, is_kept=step.title != "fold 3 of 3") for step in plan.steps)
    span = Pace(replace(plan, steps=rest), know(plan)).left(0.0)
    assert span is not None
    assert span.high == pytest.approx(fold)


def test_the_same_work_through_the_trunk_is_other_work(small_dataset: Dataset, tmp_path: Path) -> None:
    """With views, `cv` scores held-out images through the whole network, `train` val behind the trunk."""
    from pneumocli.core.cache import Cache

    config, cache = TINY.model_copy(update={"views": 2}), Cache(tmp_path / "bank")
    names = []
    for folds, stage in ((3, "fold 1 of 3, held out"), (None, "scores on val")):
        found = plan_run(small_dataset, config, Precision.FLOAT32, folds=folds, cache=cache)
        (step,) = (step for step in found.steps if step.stage == stage)
        names.append(name_work(found, step, False))
    assert names[0] != names[1]


def test_rates_are_kept_the_latest_five(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "rates.json"
    assert read_rates(path) == Rates()
    keep_rates(path, {}, {})
    assert not path.exists()
    for speed in range(1, 8):
        keep_rates(path, {"a": Rate(0.5, float(speed)), "b": Rate(0.0, 2.0)}, {"m": speed})
    found = read_rates(path)
    assert [rate.speed for rate in found.steps["a"]] == [3.0, 4.0, 5.0, 6.0, 7.0]
    assert found.memory == {"m": 7}


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"steps": {"a": [[0, "x"]]}, "memory": {}}', '{"steps": 3}']
)
def test_damaged_rates_are_none(content: str, tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    path.write_text(content)
    assert read_rates(path) == Rates()
    keep_rates(path, {"a": Rate(0.0, 1.0)}, {})
    assert read_rates(path).steps == {"a": (Rate(0.0, 1.0),)}


def test_work_on_another_machine_or_of_another_depth_is_other_work(plan: Plan) -> None:
    step = plan.steps[0]
    others = [
        replace(plan, cut="conv3_block4_out"),
        replace(plan, jobs=2),
        replace(plan, config=TINY.model_copy(update={"image_size": 64})),
        replace(plan, config=TINY.model_copy(update={"batch_size": 8})),
        replace(plan, feature_bytes=0),
    ]
    names = {name_work(each, step, False) for each in (plan, *others)}
    names.add(name_work(plan, step, True))
    names.add(name_work(plan, replace(step, precision=Precision.BFLOAT16), False))
    assert len(names) == len(others) + 3


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (4, 9, "4 to 9 s"),
        (9.7, 10.2, "about 10 s"),
        (90, 130, "2 to 2 min"),
        (600, 900, "10 to 15 min"),
        (3600 * 2.5, 3600 * 3.25, "2.5 to 3.2 h"),
    ],
)
def test_a_span_in_words(low: float, high: float, shown: str) -> None:
    assert str(TimeSpan(low, high)) == shown.replace("2 to 2", "about 2")
