"""Timings of the comparison and the leaderboard on synthetic runs, side by side with scipy.stats.bootstrap.

    python benchmarks/evidence.py pairs              20 variants, all pairs, 8,518 samples, 10,000 resamples
    python benchmarks/evidence.py build              200 runs of 8,518 samples into one leaderboard
    python benchmarks/evidence.py paint              first paint of the page with 20 variants (needs Chromium)

Aims: pairs <= 10 s and >= 20 x scipy with the same interval; build <= 60 s and <= 2 GB; paint <= 1.5 s. Sizes can be
made smaller with --variants, --runs and --samples. Writing the synthetic runs is not part of any figure.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from bench import stats
from bench.aggregate import COLUMNS, aggregate
from bench.effects import MEAN, compare
from bench.pairing import Variant, align
from bench.runfolder import read_jsonl, write_csv
from bench.synthetic import write_run

SHARES = {"ct": 871, "derm": 1580, "fundus": 2051, "oct": 4016}
"""The four OmniMedVQA sets: 8,518 questions."""


def sizes(samples: int) -> dict[str, int]:
    """`samples` spread over the four tasks as in OmniMedVQA."""
    return {task: max(2, round(n * samples / sum(SHARES.values()))) for task, n in SHARES.items()}


def make(folder: Path, number: int, samples: int, results: bool) -> Path:
    """One synthetic run; its results.csv has few resamples, for that is bench.run's work and not timed here."""
    rng = np.random.default_rng(number)
    right = {task: rng.random(n) < 0.4 + 0.3 * rng.random() for task, n in sizes(samples).items()}
    path = write_run(folder / f"run{number:03d}", right, model=f"model-{number:03d}", per_image=2)
    if results:
        rows = aggregate(read_jsonl(path / "samples.jsonl"), model=f"model-{number:03d}", resamples=100)
        write_csv(path / "results.csv", COLUMNS, rows)
    return path


def pairs(variants: int, samples: int) -> None:
    """All pairs, against scipy.stats.bootstrap on pairs of the same data."""
    from scipy.stats import bootstrap

    with tempfile.TemporaryDirectory() as name:
        runs = [make(Path(name), i, samples, False) for i in range(variants)]
        start = time.perf_counter()
        table = align([Variant(f"v{i}", (str(run),)) for i, run in enumerate(runs)])
        read = time.perf_counter() - start
    compare(table, breakdowns=False, resamples=100)  # imports are not timed, neither here nor of scipy below
    ours_times = []
    for _ in range(3):
        start = time.perf_counter()
        found = compare(table, breakdowns=False)
        ours_times.append(time.perf_counter() - start)
    whole = min(ours_times)
    start = time.perf_counter()
    compare(table)
    apart = time.perf_counter() - start
    print(f"{variants} variants, {variants * (variants - 1) // 2} pairs, {len(table.keys)} samples, 10,000 resamples; "
          "the best of three")
    print(f"  reading and aligning the runs                  {read:8.2f} s")
    print(f"  all pairs on every task and their mean         {whole:8.2f} s")
    print(f"  ... with question types and subsets as well    {apart:8.2f} s")

    # The same question asked of both: the paired difference on each task of one pair, by image.
    effects = [e for e in found.effects if (e.a, e.b) == (0, 1) and e.task != MEAN]
    theirs, apart_most = [], 0.0
    for effect in effects:
        rows = [i for i, key in enumerate(table.keys) if key.task == effect.task]
        code, count = stats.codes([table.groups[i] for i in rows])
        difference = table.correct["letter"][rows][:, 0] - table.correct["letter"][rows][:, 1]
        sums, ns = np.bincount(code, weights=difference, minlength=count), np.bincount(code, minlength=count)
        once = []
        for _ in range(3):
            start = time.perf_counter()
            limits = bootstrap((sums, ns), lambda s, n, axis=-1: s.sum(axis=axis) / n.sum(axis=axis), paired=True,
                               n_resamples=10_000, method="percentile", batch=500, vectorized=True,
                               rng=np.random.default_rng(1)).confidence_interval
            once.append(time.perf_counter() - start)
        theirs.append(min(once))
        ours = effect.difference
        assert ours is not None and ours.low is not None and ours.high is not None
        apart_most = max(apart_most, abs(limits.low - ours.low), abs(limits.high - ours.high))
    all_theirs = sum(theirs) * variants * (variants - 1) / 2
    print(f"  scipy.stats.bootstrap, one pair on every task  {sum(theirs):8.2f} s  (x pairs: {all_theirs:.0f} s)")
    print(f"  ratio {all_theirs / whole:.0f} x; ends of the intervals differ by at most {100 * apart_most:.2f} points")


def build(runs: int, samples: int) -> None:
    """Time and memory of one build, all processes together."""
    place = Path(tempfile.mkdtemp())
    try:
        start = time.perf_counter()
        folders = [make(place, i, samples, True) for i in range(runs)]
        print(f"{runs} runs x {samples} samples written in {time.perf_counter() - start:.0f} s (not counted)")
        start, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "leaderboards.build", *map(str, folders), "--out", str(place / "out")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        peak = [0]
        watcher = threading.Thread(target=_memory, args=(process, peak))
        watcher.start()
        code = process.wait()
        watcher.join()
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
        written = sum(p.stat().st_size for p in (place / "out").rglob("*") if p.is_file()) / 2**20
        print(f"  build {seconds:.1f} s ({cpu:.1f} CPU-seconds), at most {peak[0] / 2**30:.2f} GiB in all processes "
              f"together, {written:.0f} MiB written, exit {code}")
    finally:
        shutil.rmtree(place)


def _memory(process: subprocess.Popen, peak: list[int]) -> None:
    while process.poll() is None:
        try:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            peak[0] = max(peak[0], sum(p.memory_info().rss for p in family))
        except psutil.NoSuchProcess:
            continue
        time.sleep(0.2)


def paint(variants: int, samples: int) -> None:
    """First contentful paint of index.html from disk, median of five fresh browser contexts."""
    from playwright.sync_api import sync_playwright

    from leaderboards.build import build as build_board

    with tempfile.TemporaryDirectory() as name:
        folders = [str(make(Path(name), i, samples, True)) for i in range(variants)]
        build_board(folders, Path(name) / "out", resamples=1000, reference="run000")
        times = []
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            for _ in range(5):
                page = browser.new_page()
                page.goto((Path(name) / "out" / "index.html").as_uri())
                page.wait_for_timeout(300)
                times.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
                page.close()
            browser.close()
        size = (Path(name) / "out" / "index.html").stat().st_size / 1024
        print(f"{variants} variants: first contentful paint {statistics.median(times):.0f} ms "
              f"(of {min(times):.0f} to {max(times):.0f}), index.html {size:.0f} KiB")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pairs", "build", "paint"))
    parser.add_argument("--variants", type=int, default=20)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--samples", type=int, default=8518)
    arguments = parser.parse_args()
    if arguments.what == "pairs":
        pairs(arguments.variants, arguments.samples)
    elif arguments.what == "build":
        build(arguments.runs, arguments.samples)
    else:
        paint(arguments.variants, arguments.samples)


if __name__ == "__main__":
    main()
