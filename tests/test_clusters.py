"""Images that belong together: intervals against a second way to get each, and how often they hold."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest
from written import write_run, write_scored

from pneumocli.core.clusters import (
    count_clusters,
    count_smaller_class,
    measure_effect,
    number_clusters,
    sum_clusters,
)
from pneumocli.core.comparison import compare_scores
from pneumocli.core.metrics import compute_metrics
from pneumocli.core.prevalence import project_values
from pneumocli.core.resampling import draw_resamples
from pneumocli.core.scores import Scores, pool_scores, read_scores, write_scores
from pneumocli.core.summary import summarize_run
from pneumocli.core.uncertainty import bound_auc, bound_share, compute_auc_covariance, estimate_figures
from pneumocli.report.words import INDEPENDENT, describe_independence, list_limits


def draw_patients(
    rng: np.random.Generator, patients: int, models: int = 1, shared: float = 1.0
) -> tuple[NDArray, NDArray, NDArray]:
    """Return truth, scores and patients of 1 to 4 images each, two fifths normal; in disorder."""
    sizes = rng.integers(1, 5, patients)
    groups = np.repeat(np.arange(patients) * 7 + 3, sizes)
    truth = np.repeat(np.arange(patients) % 5 >= 2, sizes).astype(int)
    # A few have both.
    truth[rng.random(len(truth)) < 0.1] ^= 1
    own = shared * np.repeat(rng.normal(size=(models, patients)), sizes, axis=1)
    logits = own + 1.5 * truth + rng.normal(size=(models, len(truth))) - 0.7
    order = rng.permutation(len(truth))
    return truth[order], (1 / (1 + np.exp(-logits)))[:, order], groups[order]


def test_images_on_their_own_are_no_clusters() -> None:
    assert number_clusters(None) is None
    assert number_clusters(np.array([4, 2, 9])) is None
    assert count_clusters(np.array([4, 2, 9])) is None
    found = number_clusters(np.array([9, 2, 9, 4]))
    assert found is not None and found.tolist() == [2, 0, 2, 1]
    assert count_clusters(np.array([9, 2, 9, 4])) == 3
    assert sum_clusters([[1.0, 2.0, 3.0, 4.0]], found).tolist() == [[2.0, 4.0, 4.0]]


def test_smaller_class_is_counted_in_groups() -> None:
    truth = np.array([0, 0, 0, 1, 1])
    assert count_smaller_class(truth, None) == 2
    assert count_smaller_class(truth, np.array([1, 2, 3, 4, 4])) == 1
    assert count_smaller_class(truth, np.array([1, 1, 1, 4, 5])) == 1


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (5, 10), (380, 390), (1, 1), (233, 234)])
def test_share_of_independent_images_is_scipys(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(0.95, "wilson")
    found = bound_share(hits, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_each_image_several_times_is_one_image() -> None:
    """A cluster of equal images says what one of them says."""
    is_hit = np.random.default_rng(0).random(60) < 0.8
    once = bound_share(int(is_hit.sum()), 60)
    times = 5
    effect = measure_effect(np.repeat(is_hit, times), np.repeat(np.arange(60), times))
    found = bound_share(times * int(is_hit.sum()), times * 60, effect)
    # Of 60 clusters the variance is estimated with 59 in the denominator.
    assert effect == pytest.approx(times * 60 / 59)
    assert (found.low, found.high) == pytest.approx((once.low, once.high), abs=2e-3)


@pytest.mark.parametrize("share", [0, 1])
def test_without_a_variance_a_cluster_is_one_image(share: int) -> None:
    groups = np.repeat(np.arange(5), [1, 2, 3, 4, 5])
    assert measure_effect(np.full(15, share), groups) == pytest.approx(3)
    assert measure_effect(np.array([True, False, True]), np.zeros(3, int)) == 3


def test_belonging_together_never_narrows() -> None:
    is_hit = np.tile([True, False], 20)  # one of each in every pair: less spread than by chance
    assert measure_effect(is_hit, np.repeat(np.arange(20), 2)) == 1
    assert measure_effect(is_hit, None) == 1


def test_auc_covariance_is_obuchowskis_by_counting_pairs() -> None:
    truth, scores, groups = draw_patients(np.random.default_rng(1), 25, models=2)
    auc, covariance = compute_auc_covariance(truth, scores, groups)
    positive, negative = np.flatnonzero(truth == 1), np.flatnonzero(truth == 0)
    parts = []
    for row in scores:
        sick, well = row[positive, None], row[None, negative]
        pairs = (sick > well) + 0.5 * (sick == well)
        v10 = dict(zip(positive, pairs.mean(1), strict=True))
        v01 = dict(zip(negative, pairs.mean(0), strict=True))
        parts.append((pairs.mean(), v10, v01))
    assert auc == pytest.approx([part[0] for part in parts])
    names = np.unique(groups)
    with_positive = len({groups[row] for row in positive})
    with_negative = len({groups[row] for row in negative})
    m, n, patients = len(positive), len(negative), len(names)
    for one in range(2):
        for other in range(2):
            s10 = s01 = s11 = 0.0
            for name in names:
                (theta, v10, v01), (theta2, w10, w01) = parts[one], parts[other]
                inside = np.flatnonzero(groups == name)
                x = sum(v10[row] - theta for row in inside if row in v10)
                x2 = sum(w10[row] - theta2 for row in inside if row in w10)
                y = sum(v01[row] - theta for row in inside if row in v01)
                y2 = sum(w01[row] - theta2 for row in inside if row in w01)
                s10 += x * x2
                s01 += y * y2
                s11 += x * y2 + y * x2
            expected = (
                with_positive / (with_positive - 1) * s10 / m**2
                + with_negative / (with_negative - 1) * s01 / n**2
                + patients / (patients - 1) * s11 / (m * n)
            )
            assert covariance[one, other] == pytest.approx(expected)


def test_groups_of_one_image_are_delongs() -> None:
    truth, scores, _ = draw_patients(np.random.default_rng(2), 30, models=2)
    alone = np.arange(len(truth))
    alone_but_two = alone.copy()
    first, second = np.flatnonzero(truth == 0)[:2]
    alone_but_two[second] = alone_but_two[first]
    expected = compute_auc_covariance(truth, scores)[1]
    assert compute_auc_covariance(truth, scores, alone)[1] == pytest.approx(expected)
    assert compute_auc_covariance(truth, scores, alone_but_two)[1] == pytest.approx(expected, rel=0.15)


def test_one_group_of_a_class_has_no_variance() -> None:
    with pytest.raises(ValueError, match="in two groups"):
        compute_auc_covariance([0, 0, 1, 1], [[0.1, 0.2, 0.3, 0.4]], np.array([1, 1, 2, 3]))
    found = estimate_figures([0, 0, 1, 1], [0.1, 0.6, 0.3, 0.4], 0.5, np.array([1, 1, 2, 3]))["roc_auc"]
    assert (found.low, found.high) == (None, None)


def test_whole_groups_are_drawn_and_no_class_is_lost() -> None:
    truth, _, groups = draw_patients(np.random.default_rng(3), 30)
    drawn = draw_resamples(truth, 300, 5, groups)
    assert drawn.shape == (300, len(truth))
    for name in np.unique(groups):
        inside = drawn[:, groups == name]
        assert (inside == inside[:, :1]).all()
    held = {name: tuple(np.unique(truth[groups == name])) for name in groups}
    for kind in set(held.values()):
        names = [name for name, found in held.items() if found == kind]
        firsts = [np.flatnonzero(groups == name)[0] for name in names]
        assert (drawn[:, firsts].sum(axis=1) == len(names)).all()
    assert (drawn[:, truth == 0].sum(axis=1) > 0).all() and (drawn[:, truth == 1].sum(axis=1) > 0).all()
    np.testing.assert_array_equal(
        draw_resamples(truth, 20, 1), draw_resamples(truth, 20, 1, np.arange(len(truth)))
    )


def test_intervals_hold_the_truth_where_images_belong_together() -> None:
    """Of 200 data sets of 60 patients; intervals that take each image as independent hold it too seldom."""
    rng = np.random.default_rng(4)
    truth, scores, _ = draw_patients(np.random.default_rng(5), 40_000, shared=2.0)
    everyone = compute_metrics(truth, scores[0])
    held = {name: np.zeros(2) for name in ("roc_auc", "sensitivity", "brier")}
    brier = float(((scores[0] - truth) ** 2).mean())
    expected = {"roc_auc": everyone.roc_auc, "sensitivity": everyone.sensitivity, "brier": brier}
    for _ in range(200):
        truth, scores, groups = draw_patients(rng, 60, shared=2.0)
        for number, known in enumerate((groups, None)):
            found = estimate_figures(truth, scores[0], 0.5, known, resamples=200)
            for name, value in expected.items():
                low, high = found[name].low, found[name].high
                assert low is not None and high is not None
                held[name][number] += low <= value <= high
    for name, (together, apart) in held.items():
        assert 0.90 <= together / 200 <= 0.985, name
        assert apart / 200 < 0.90, name
        assert together > apart + 10, name


def test_models_alike_differ_about_5_times_of_100() -> None:
    rng = np.random.default_rng(6)
    calls = np.zeros(2)
    for _ in range(400):
        truth, scores, groups = draw_patients(rng, 60, models=2, shared=2.0)
        found = compare_scores(truth, scores[0], scores[1], (0.5, 0.5), groups, resamples=2)
        p_values = [found[name].p_value for name in ("roc_auc", "accuracy")]
        calls += [p is not None and p < 0.05 for p in p_values]
    assert (calls / 400 > 0.02).all() and (calls / 400 < 0.085).all()


def test_equal_models_do_not_differ() -> None:
    truth, scores, groups = draw_patients(np.random.default_rng(7), 20)
    assert (
        compare_scores(truth, scores[0], scores[0], (0.5, 0.5), groups, resamples=2)["accuracy"].p_value
        == 1.0
    )


def test_predictive_values_widen_with_the_design_effect() -> None:
    truth, scores, _ = draw_patients(np.random.default_rng(8), 40)
    metrics = compute_metrics(truth, scores[0])
    apart, together = project_values(metrics, 0.3), project_values(metrics, 0.3, (4.0, 4.0))
    assert together.ppv == apart.ppv
    for name in ("ppv", "npv"):

        def width(values: object, name: str = name) -> float:
            low, high = (getattr(values, f"{name}_{end}") for end in ("low", "high"))
            return math.log(high / (1 - high)) - math.log(low / (1 - low))

        # A variance four times as large.
        assert width(together) == pytest.approx(2 * width(apart))


def test_groups_travel_with_the_scores(tmp_path: Path) -> None:
    truth, scores, groups = draw_patients(np.random.default_rng(9), 20)
    whole = Scores(np.arange(len(truth)), truth, scores[0].astype(np.float32), groups)
    write_scores(tmp_path, "test", whole, "hospital.csv")
    kept = read_scores(tmp_path, "test")
    assert kept.group is not None
    np.testing.assert_array_equal(kept.group, groups)
    rows = np.random.default_rng(0).permutation(len(truth))
    pooled = pool_scores([whole.take(rows[:9]), whole.take(rows[9:])])
    np.testing.assert_array_equal(pooled.group, groups)
    write_scores(tmp_path, "val", replace(whole, group=None), "hospital.csv")
    assert read_scores(tmp_path, "val").group is None


def test_what_is_taken_as_independent_is_told(tmp_path: Path) -> None:
    assert describe_independence(None) == INDEPENDENT
    assert describe_independence(17).startswith("17 groups of images, such as patients, taken as independent")
    run = write_run(tmp_path)
    write_scored(run)
    summary = summarize_run(run)
    assert summary.best is not None
    assert any("take each image as independent" in limit for limit in list_limits(summary))
    known = replace(summary.best, figures=summary.best.figures.model_copy(update={"groups": 17}))
    assert not any(
        "as independent" in limit for limit in list_limits(replace(summary, scored={"test": known}))
    )


def test_bound_auc_widens_where_images_belong_together() -> None:
    truth, scores, groups = draw_patients(np.random.default_rng(10), 60, shared=2.0)
    apart, together = bound_auc(truth, scores[0]), bound_auc(truth, scores[0], groups)
    assert together.low < apart.low < apart.high < together.high
