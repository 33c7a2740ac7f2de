"""Intervals and tests against scipy and statsmodels, known answers, and the cases where there is nothing to say."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from bench import interval, significance, stats


def test_examples_in_the_docstring_hold():
    assert [doctest.testmod(module).failed for module in (interval, stats, significance)] == [0, 0, 0]


@pytest.mark.parametrize(("k", "n"), [(0, 5), (5, 5), (1, 3), (50, 100), (4000, 8518), (0, 1), (1, 1)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_wilson_is_statsmodels_wilson(k, n, level):
    low, high = proportion_confint(k, n, alpha=1 - level, method="wilson")
    assert stats.wilson(k, n, level) == pytest.approx((max(0, low), min(1, high)), abs=1e-12)


def test_wilson_of_nothing_is_everything():
    assert stats.wilson(0, 0) == (0.0, 1.0)


def test_without_clusters_it_agrees_with_scipy_bootstrap():
    values = (np.random.default_rng(3).random(400) < 0.63).astype(float)
    ours = stats.cluster_bootstrap(values, range(400), seed=5)
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(5), batch=1000
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)
    assert ours.method == stats.BOOTSTRAP


def test_with_clusters_it_agrees_with_a_plain_loop():
    rng = np.random.default_rng(11)
    groups = rng.integers(0, 60, size=300)
    values = (rng.random(300) < rng.random(60)[groups]).astype(float)
    present = np.unique(groups)
    members = {g: values[groups == g] for g in present}
    loop = []
    for _ in range(4000):
        drawn = [members[g] for g in rng.choice(present, size=len(present))]
        loop.append(np.concatenate(drawn).mean())
    ours = stats.resample(values, list(groups), resamples=4000)
    assert np.std(ours.draws[0]) == pytest.approx(np.std(loop), rel=0.06)
    assert np.mean(ours.draws[0]) == pytest.approx(np.mean(loop), abs=0.003)


def test_clusters_widen_the_interval():
    values = np.repeat([1.0, 0.0] * 25, 8)
    alone = stats.cluster_bootstrap(values, range(len(values)))
    shared = stats.cluster_bootstrap(values, np.repeat(np.arange(50), 8).tolist())
    assert shared.high - shared.low > 2.5 * (alone.high - alone.low)
    assert (alone.n_groups, shared.n_groups) == (400, 50)


def test_same_seed_same_interval_and_chunks_do_not_matter(monkeypatch):
    values, groups = [0, 1, 1, 0, 1, 1] * 30, list(range(60)) * 3
    first = stats.cluster_bootstrap(values, groups, seed=4)
    assert stats.cluster_bootstrap(values, groups, seed=4) == first
    assert stats.cluster_bootstrap(values, groups, seed=5) != first
    monkeypatch.setattr(stats, "CHUNK_CELLS", 7 * 60)
    assert stats.cluster_bootstrap(values, groups, seed=4) == first


def test_few_groups_widen_the_tails_as_the_t_distribution_does():
    draws = np.linspace(-1, 1, 10_001)
    few = stats.interval_of(0.0, draws, n=5, n_groups=5)
    many = stats.interval_of(0.0, draws, n=5, n_groups=5000)
    assert few.high > many.high
    assert many.high == pytest.approx(0.95, abs=0.001)


@pytest.mark.parametrize(("values", "low_is", "high_is"), [([1] * 10, None, 1.0), ([0] * 10, 0.0, None)])
def test_no_variation_is_wilson_over_images_under_its_own_name(values, low_is, high_is):
    found = stats.cluster_bootstrap(values, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    expected = stats.wilson(5 * values[0], 5)
    assert (found.low, found.high) == expected
    assert found.method == stats.WILSON_GROUPS
    assert low_is is None or found.low == low_is
    assert high_is is None or found.high == high_is


def test_one_image_and_constant_rewards_have_no_interval():
    one = stats.cluster_bootstrap([1, 0, 1], ["a", "a", "a"])
    assert (one.low, one.high, one.method) == (None, None, stats.TOO_FEW)
    same = stats.cluster_bootstrap([0.6, 0.6, 0.6], ["a", "b", "c"])
    assert (same.low, same.high, same.method) == (None, None, stats.CONSTANT)
    assert not one.excludes_zero


def test_paired_is_narrower_than_unpaired_and_signed():
    rng = np.random.default_rng(0)
    b = (rng.random(500) < 0.6).astype(float)
    a = np.where(rng.random(500) < 0.05, 1.0, b)
    groups = list(range(500))
    paired = stats.paired_cluster_bootstrap(a, b, groups)
    assert paired.value == pytest.approx(a.mean() - b.mean())
    assert paired.excludes_zero
    back = stats.paired_cluster_bootstrap(b, a, groups)
    assert (back.low, back.high) == pytest.approx((-paired.high, -paired.low))
    alone = stats.cluster_bootstrap(a, groups)
    assert paired.high - paired.low < alone.high - alone.low


def test_identical_and_opposite_runs():
    same = stats.paired_cluster_bootstrap([1, 0, 1], [1, 0, 1], ["a", "b", "c"])
    assert same.value == 0
    assert same.low == pytest.approx(-same.high)
    assert not same.excludes_zero
    worst = stats.paired_cluster_bootstrap([0] * 20, [1] * 20, list(range(20)))
    assert worst.high == pytest.approx(-stats.wilson(20, 20)[0])
    assert worst.low == -1


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (5, 1), (12, 12), (13, 12), (40, 20), (300, 260)])
def test_mcnemar_is_statsmodels_mcnemar(gained, lost):
    a = np.array([1] * gained + [0] * lost + [1] * 50 + [0] * 50)
    b = np.array([0] * gained + [1] * lost + [1] * 50 + [0] * 50)
    found = stats.mcnemar(a, b)
    assert (found.gained, found.lost) == (gained, lost)
    exact = gained + lost < significance.EXACT_BELOW
    assert found.exact is exact
    expected = 1.0 if gained + lost == 0 else reference_mcnemar([[50, gained], [lost, 50]], exact=exact).pvalue
    assert found.p_value == pytest.approx(min(1.0, float(expected)))


def test_many_pairs_at_once_are_the_same_as_one_by_one():
    rng = np.random.default_rng(8)
    table = (rng.random((120, 6)) < 0.5).astype(float)
    table[:, 5] = table[:, 4]
    drawn = stats.resample(table, list(rng.integers(0, 40, 120)), resamples=1000)
    pairs = [(a, b) for a in range(6) for b in range(6) if a != b]
    for (a, b), found in zip(pairs, stats.intervals(drawn, pairs), strict=True):
        difference = drawn.draws[a] - drawn.draws[b]
        expected = stats.interval_of(float(drawn.value[a] - drawn.value[b]), difference, n=120,
                                     n_groups=drawn.n_groups, paired=True)
        assert (found.method, found.n_groups) == (expected.method, expected.n_groups)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_holm_is_statsmodels_holm_and_by_hand():
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    p = [0.2, 0.001, 0.01, 0.04, 0.9]
    assert stats.holm(p) == pytest.approx(list(multipletests(p, method="holm")[1]))
    assert stats.holm([]) == []


def test_combined_strata_are_resampled_apart():
    rng = np.random.default_rng(1)
    parts = [
        stats.resample((rng.random(200) < p).astype(float), list(range(200)), seed=(0, i))
        for i, p in enumerate((0.3, 0.7))
    ]
    both = stats.combine(parts)
    assert both.value[0] == pytest.approx((parts[0].value[0] + parts[1].value[0]) / 2)
    expected = np.sqrt(np.var(parts[0].draws) + np.var(parts[1].draws)) / 2
    assert np.std(both.draws) == pytest.approx(expected, rel=0.05)


def test_seeds_that_differ_widen_the_hierarchical_interval():
    rng = np.random.default_rng(2)
    groups = list(range(400))
    b = np.array([(rng.random(400) < 0.5) for _ in range(4)], dtype=float)
    steady = np.array([(rng.random(400) < 0.6) for _ in range(4)], dtype=float)
    unsteady = np.array([(rng.random(400) < p) for p in (0.4, 0.8, 0.45, 0.75)], dtype=float)
    calm, wild = stats.hierarchical_bootstrap(steady, b, groups), stats.hierarchical_bootstrap(unsteady, b, groups)
    assert wild.high - wild.low > 1.5 * (calm.high - calm.low)
    assert calm.method == "hierarchical bootstrap (seed, image)"
    single = stats.hierarchical_bootstrap(steady[0], b[0], groups)
    plain = stats.paired_cluster_bootstrap(steady[0], b[0], groups)
    assert (single.low, single.high) == pytest.approx((plain.low, plain.high), abs=1e-9)
    assert single.method == stats.BOOTSTRAP
    assert "one side a single seed" in stats.hierarchical_bootstrap(steady, b[0], groups).method


def test_detectable_difference_is_found_about_as_often_as_promised():
    rng = np.random.default_rng(9)
    n, base = 600, 0.5
    pilot = stats.resample(np.column_stack([rng.random(n) < base, rng.random(n) < base]), list(range(n)))
    size = stats.detectable_difference(np.std(pilot.draws[0] - pilot.draws[1]))
    found = 0
    for _ in range(300):
        difference = (rng.random(n) < base + size).astype(float) - (rng.random(n) < base)
        found += abs(difference.mean()) > 1.96 * difference.std(ddof=1) / np.sqrt(n)
    assert 0.70 < found / 300 < 0.90


@pytest.mark.parametrize(("values", "groups"), [([1.0], ["a", "b"]), ([], []), ([float("nan"), 1.0], ["a", "b"])])
def test_inputs_that_cannot_be_meant_are_refused(values, groups):
    with pytest.raises(ValueError, match="values"):
        stats.cluster_bootstrap(values, groups)


def test_few_and_many_columns_are_summed_over_the_same_draws():
    rng = np.random.default_rng(6)
    table = (rng.random((150, 6)) < 0.5).astype(float)
    groups = list(rng.integers(0, 50, 150))
    many = stats.resample(table, groups, resamples=300)
    few = stats.resample(table[:, :2], groups, resamples=300)
    assert np.array_equal(many.draws[:2], few.draws)
