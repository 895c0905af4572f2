"""Images that belong together: intervals against a second way to get each, and how often they hold."""

import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, t
from written import write_run, write_scored

from pneumocli.core.clusters import (
    count_clusters,
    count_smaller_class,
    measure_effect,
    number_clusters,
    sum_clusters,
)
from pneumocli.core.comparison import compare_runs, compare_scores
from pneumocli.core.errors import RunError
from pneumocli.core.metrics import compute_metrics
from pneumocli.core.prevalence import project_values
from pneumocli.core.resampling import compute_resampled, draw_resamples, weigh_figures
from pneumocli.core.runs import Run
from pneumocli.core.scores import Scores, read_scores, write_scores
from pneumocli.core.summary import summarize_run
from pneumocli.core.uncertainty import bound_auc, bound_share, compute_auc_covariance, estimate_figures
from pneumocli.report.caveats import list_limits
from pneumocli.report.words import INDEPENDENT, describe_intervals


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
    assert count_clusters(None) is None
    assert count_clusters(np.array([4, 2, 9])) == 3
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
    """A cluster of equal images says what one of them says, and t stands for the normal quantile."""
    is_hit = np.random.default_rng(0).random(60) < 0.8
    times = 5
    effect = measure_effect(np.repeat(is_hit, times), np.repeat(np.arange(60), times))
    # Of 60 clusters the variance is estimated with 59 in the denominator.
    assert effect == pytest.approx(times * 60 / 59 * (t.ppf(0.975, 59) / norm.ppf(0.975)) ** 2)


@pytest.mark.parametrize("share", [0, 1])
def test_without_a_variance_a_clusters_images_are_alike(share: int) -> None:
    sizes = np.array([1, 2, 3, 4, 5])
    alike = (sizes**2).sum() / 15 * (t.ppf(0.975, 4) / norm.ppf(0.975)) ** 2
    assert measure_effect(np.full(15, share), np.repeat(np.arange(5), sizes)) == pytest.approx(alike)
    assert measure_effect(np.array([True, False, True]), np.zeros(3, int)) == 3


def test_belonging_together_never_narrows() -> None:
    is_hit = np.tile([True, False], 20)  # one of each in every pair: less spread than by chance
    assert measure_effect(is_hit, np.repeat(np.arange(20), 2)) >= 1
    assert measure_effect(is_hit, None) == 1


@pytest.mark.parametrize(("patients", "images"), [(2, 100), (10, 8), (60, 5)])
def test_one_error_less_never_lowers_the_bound(patients: int, images: int) -> None:
    groups = np.repeat(np.arange(patients), images)
    n = patients * images
    bounds = []
    for errors in range(4):
        is_hit = np.ones(n, bool)
        is_hit[np.arange(errors) * images % n] = False  # in as many patients as there are
        bounds.append(bound_share(n - errors, n, measure_effect(is_hit, groups)).low)
    assert bounds == sorted(bounds, reverse=True)


@pytest.mark.parametrize(
    ("share", "shared", "patients", "images"),
    [(0.97, 0.5, 60, 5), (0.95, 0.5, 30, 10), (0.8, 0.3, 10, 20), (0.9, 0.5, 100, 5), (0.8, 0.0, 40, 4)],
)
def test_shares_hold_the_truth_at_the_edge_and_of_few_patients(
    share: float, shared: float, patients: int, images: int
) -> None:
    """Each patient has a share of its own, beta-distributed with that correlation within patients."""
    rng = np.random.default_rng(11)
    groups = np.repeat(np.arange(patients), images)
    held = 0
    for _ in range(400):
        scale = 1 / shared - 1 if shared else 1e9
        own = rng.beta(share * scale, (1 - share) * scale, patients)
        is_hit = rng.random(patients * images) < np.repeat(own, images)
        bounds = bound_share(int(is_hit.sum()), len(is_hit), measure_effect(is_hit, groups))
        held += bounds.low <= share <= bounds.high
    assert held / 400 >= 0.91


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
    truth, scores, groups = draw_patients(np.random.default_rng(3), 30)
    names = np.unique(groups)
    drawn = draw_resamples(truth, 300, 5, groups)
    assert drawn.shape == (300, len(names))
    held = [tuple(np.unique(truth[groups == name])) for name in names]
    for kind in set(held):
        of_kind = [number for number, found in enumerate(held) if found == kind]
        assert (drawn[:, of_kind].sum(axis=1) == len(of_kind)).all()
    by_image = drawn[:, np.searchsorted(names, groups)]
    assert (by_image[:, truth == 0].sum(axis=1) > 0).all() and (by_image[:, truth == 1].sum(axis=1) > 0).all()
    compute = weigh_figures(truth, scores[0])["brier"]
    np.testing.assert_allclose(compute_resampled(compute, drawn, groups), compute(by_image.astype(np.int64)))
    alone = draw_resamples(truth, 20, 1, np.arange(len(truth)))
    np.testing.assert_array_equal(draw_resamples(truth, 20, 1), alone)


def test_one_group_of_a_class_bounds_nothing_that_it_is_in() -> None:
    rng = np.random.default_rng(12)
    truth = np.repeat([0, 1], 40)
    score = np.clip(0.3 + 0.4 * truth + rng.normal(0, 0.25, 80), 0, 1)
    found = estimate_figures(truth, score, 0.5, np.r_[np.zeros(40, int), np.arange(1, 41)], resamples=50)
    for name in ("roc_auc", "average_precision", "balanced_accuracy", "f1", "brier"):
        assert found[name].value is not None
        assert (found[name].low, found[name].high) == (None, None), name
    assert found["specificity"].high - found["specificity"].low > 0.5
    assert found["sensitivity"].high - found["sensitivity"].low < 0.4


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


def flip_signs(gains: NDArray) -> float:
    """The share of all signs of the gains whose sum is as far from zero as theirs."""
    signs = np.array(list(product([-1, 1], repeat=len(gains))))
    return float((np.abs(signs @ gains) >= abs(gains.sum())).mean())


def test_gains_in_right_calls_are_tested_over_all_signs() -> None:
    truth, scores, groups = draw_patients(np.random.default_rng(7), 14, models=2)
    is_right = (scores >= 0.5) == truth
    gains = [
        int(is_right[1][groups == name].sum()) - int(is_right[0][groups == name].sum()) for name in {*groups}
    ]
    assert len({abs(gain) for gain in gains}) > 2
    found = compare_scores(truth, scores[0], scores[1], (0.5, 0.5), groups, resamples=2)
    assert found["accuracy"].p_value == pytest.approx(flip_signs(np.array(gains)))
    same = compare_scores(truth, scores[0], scores[0], (0.5, 0.5), groups, resamples=2)
    assert same["accuracy"].p_value == 1.0


def test_groups_without_a_difference_leave_mcnemars_exact_test() -> None:
    truth = np.repeat([0, 1], 50)
    first, second = np.full(100, 0.9), np.full(100, 0.9)
    second[:5] = 0.1  # five right calls more
    groups = np.arange(100)
    groups[99] = groups[98]
    for known in (None, groups):
        found = compare_scores(truth, first, second, (0.5, 0.5), known, resamples=2)
        assert found["accuracy"].p_value == pytest.approx(binomtest(0, 5).pvalue)


def set_groups(run: Run, groups: NDArray | None) -> None:
    write_scores(run.path, "test", replace(read_scores(run.path, "test"), group=groups), "x")


@pytest.mark.parametrize("order", [1, -1])
def test_groups_of_either_run_are_taken_and_others_are_refused(order: int, tmp_path: Path) -> None:
    runs = [write_run(tmp_path, name=name) for name in "ab"]
    groups = np.arange(60) // 3
    for number, run in enumerate(runs):
        write_scored(run)
        scores = read_scores(run.path, "test")
        # The same groups by other numbers are the same.
        write_scores(
            run.path, "test", replace(scores, group=(groups * 3 + 1) * order if number else None), "x"
        )
    found = [compare_runs(*pair, "test") for pair in (runs, runs[::-1])]
    assert [comparison.groups for comparison in found] == [20, 20]
    p_values = [comparison.differences["accuracy"].p_value for comparison in found]
    assert p_values[0] == p_values[1]
    set_groups(runs[0], groups)
    assert compare_runs(*runs, "test").groups == 20
    write_scores(
        runs[0].path, "test", replace(read_scores(runs[0].path, "test"), group=np.arange(60) // 2), "x"
    )
    with pytest.raises(RunError, match="other groups of the same images; score both again"):
        compare_runs(*runs, "test")


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
    np.testing.assert_array_equal(whole.take(rows).group, groups[rows])
    write_scores(tmp_path, "val", replace(whole, group=None), "hospital.csv")
    assert read_scores(tmp_path, "val").group is None


def test_what_is_taken_as_independent_is_told(tmp_path: Path) -> None:
    assert describe_intervals(None).endswith(INDEPENDENT)
    assert "17 groups of images, such as patients, taken as independent" in describe_intervals(17)
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
