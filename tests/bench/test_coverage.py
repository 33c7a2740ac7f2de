"""95 % intervals hold the truth 95 times in 100, clustered or not: the simulation of benchmarks/coverage.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "coverage.py"


@pytest.fixture(scope="module")
def simulation():
    spec = importlib.util.spec_from_file_location("coverage_simulation", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("case", [("clustered", 30, 5, 0.55, 0.20), ("independent", 400, 1, 0.6, 0.0)])
def test_cluster_and_paired_intervals_hold_the_truth_95_times_in_100(simulation, case):
    found = simulation.coverage(case, datasets=2000, resamples=600)
    assert found["cluster"] == pytest.approx(0.95, abs=0.015)
    assert found["paired"] == pytest.approx(0.95, abs=0.015)
    if case[2] > 1:
        assert found["wilson"] < 0.92
    else:
        assert found["wilson"] == pytest.approx(0.95, abs=0.015)
