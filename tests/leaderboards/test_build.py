"""leaderboards.build: who is ranked against whom, what the tables say, same bytes, refusals."""

from __future__ import annotations

import csv
import filecmp
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

import leaderboards.charts
from bench.aggregate import OUT_OF_DOMAIN
from bench.synthetic import FINGERPRINT, write_run
from leaderboards import hub
from leaderboards.build import MARK, build, main
from leaderboards.tables import model_index
from rewards.errors import UserError

TASKS = ("ct", "derm", "fundus", "oct", "path")
BEST = {"base": 0.4, "same": 0.4, "better": 0.75}


def answers(share, name, n=120, tasks=TASKS):
    shared = np.random.default_rng(5)
    own = np.random.default_rng(list(name.encode()))
    found = {t: 0.8 * shared.random(n) + 0.2 * own.random(n) < share for t in tasks}
    return {t: swapped(v) for t, v in answers(share, "base", n, tasks).items()} if name == "same" else found


def swapped(verdicts):
    """Other answers, hardly another accuracy: five right ones become wrong, four wrong ones right."""
    made = verdicts.copy()
    made[np.flatnonzero(verdicts)[:5]] = False
    made[np.flatnonzero(~verdicts)[:4]] = True
    return made


def judged(row):
    return {"format": 1.0, "process": 0.9 if row["correct"]["letter"] else 0.5}


def make(tmp_path, shares=BEST, **settings):
    return [
        str(write_run(tmp_path / name, answers(share, name), model=f"models/{name}", results=True, **settings))
        for name, share in shares.items()
    ]


def read_lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def table(folder, name="leaderboard.csv"):
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_ranks_are_shared_where_no_difference_is_shown(tmp_path):
    boards = build(make(tmp_path), tmp_path / "out", resamples=1000)
    assert len(boards) == 1
    rows = {r["variant"]: r for r in table(tmp_path / "out")}
    assert {name: r["rank"] for name, r in rows.items()} == {"better": "1", "base": "2", "same": "2"}
    assert set(rows["better"]["better_than"].split("; ")) == {"base", "same"}
    assert rows["base"]["better_than"] == ""
    right = answers(0.75, "better")
    mean = np.mean([np.mean(v) for v in right.values()])
    assert float(rows["better"]["accuracy.mean.letter"]) == pytest.approx(mean, abs=1e-6)
    outside = np.mean([np.mean(right[t]) for t in OUT_OF_DOMAIN])
    assert float(rows["better"]["accuracy.out_of_domain.letter"]) == pytest.approx(outside, abs=1e-6)
    assert float(rows["better"]["accuracy.mean.letter.low"]) < mean < float(rows["better"]["accuracy.mean.letter.high"])


def test_pairs_csv_holds_every_pair_and_task(tmp_path):
    build(make(tmp_path), tmp_path / "out", resamples=500)
    pairs = table(tmp_path / "out", "pairs.csv")
    assert len(pairs) == 3 * (len(TASKS) + 1)
    row = next(r for r in pairs if (r["a"], r["b"], r["task"]) == ("base", "better", "mean of tasks"))
    assert row["significant"] == "true"
    assert float(row["low"]) < float(row["difference"]) < float(row["high"]) < 0


def test_phantom_other_data_other_prompts_and_other_rewards_are_other_boards(tmp_path):
    small = {"ct": [True, False] * 20}
    made = {
        "plain": {}, "phantom": {"suite": "phantom"}, "data": {"data_seed": 1}, "prompts": {"prompts": {"version": 2}},
        "decoding": {"config": {"decoding": {"do_sample": True}}}, "scored": {"rewards": judged},
    }
    runs = [str(write_run(tmp_path / n, small, model=n, results=True, **how)) for n, how in made.items()]
    other = write_run(tmp_path / "other", small, model="other", rewards=judged)
    lines = (other / "scores.jsonl").read_text().replace(FINGERPRINT, "another-reward")
    (other / "scores.jsonl").write_text(lines)
    from bench.aggregate import write_results

    write_results(other / "samples.jsonl", other / "results.csv", model="other", scores_path=other / "scores.jsonl")
    build([*runs, str(other)], tmp_path / "out", resamples=200)
    boards = {r["variant"]: r["board"] for r in table(tmp_path / "out")}
    assert len(set(boards.values())) == 7
    assert all(r["rank"] == "1" for r in table(tmp_path / "out"))


def test_an_unscored_run_is_ranked_with_scored_ones_of_a_single_reward(tmp_path):
    small = {"ct": [True, False] * 20}
    runs = [str(write_run(tmp_path / n, small, model=n, results=True, rewards=r)) for n, r in
            (("a", judged), ("b", None))]
    build(runs, tmp_path / "out", resamples=200)
    rows = {r["variant"]: r for r in table(tmp_path / "out")}
    assert rows["a"]["board"] == rows["b"]["board"]
    assert float(rows["a"]["reward.process [synthetic]"]) == pytest.approx(0.7)
    assert rows["b"]["reward.process [synthetic]"] == ""
    assert rows["a"]["reward.process [synthetic].n"] == "40/40"


def test_several_seeds_are_one_row_with_a_hierarchical_interval(tmp_path):
    runs = [str(write_run(tmp_path / f"s{i}", answers(p, f"s{i}"), model="r1", results=True))
            for i, p in enumerate((0.5, 0.6, 0.7))]
    base = make(tmp_path, {"base": 0.4})
    build([f"r1={','.join(runs)}", *base], tmp_path / "out", resamples=500)
    row = next(r for r in table(tmp_path / "out") if r["variant"] == "r1")
    assert row["runs"] == "3"
    assert row["accuracy.ct.letter.method"].startswith("hierarchical bootstrap")
    expected = np.mean([np.mean(answers(p, f"s{i}")["ct"]) for i, p in enumerate((0.5, 0.6, 0.7))])
    assert float(row["accuracy.ct.letter"]) == pytest.approx(expected, abs=1e-6)


def test_the_same_runs_give_the_same_bytes_and_replace_only_what_was_built(tmp_path):
    runs = make(tmp_path, rewards=judged)
    build(runs, tmp_path / "one", resamples=300, reference="base")
    build(runs, tmp_path / "two", resamples=300, reference="base")
    build(runs, tmp_path / "two", resamples=300, reference="base")
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "two") for p in (tmp_path / "two").rglob("*") if p.is_file())
    names = [str(f) for f in files]
    same, different, errors = filecmp.cmpfiles(tmp_path / "one", tmp_path / "two", names, shallow=False)
    assert (different, errors, len(same)) == ([], [], len(files))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is no leaderboard"):
        build(runs, mine)
    assert (mine / "thesis.txt").read_text() == "years of work"
    assert (tmp_path / "two" / MARK).is_file()


def test_a_failed_build_leaves_the_old_one(tmp_path):
    runs = make(tmp_path)
    build(runs, tmp_path / "out", resamples=200)
    before = (tmp_path / "out" / "leaderboard.csv").read_bytes()
    Path(runs[0], "results.csv").unlink()
    with pytest.raises(UserError, match=r"no results.csv"):
        build(runs, tmp_path / "out", resamples=200)
    assert (tmp_path / "out" / "leaderboard.csv").read_bytes() == before
    assert not (tmp_path / "out.part").exists()


def test_markdown_latex_and_model_index_say_the_same(tmp_path):
    boards = build(make(tmp_path), tmp_path / "out", resamples=300)
    row = boards[0].rows[0]
    text = f"{100 * row.accuracy['ct', 'letter'].value:.1f} ["
    markdown = (tmp_path / "out" / "leaderboard.md").read_text()
    latex = (tmp_path / "out" / "leaderboard.tex").read_text()
    assert f"| 1 | {row.entry.variant.name} |" in markdown
    assert text in markdown
    assert text in latex
    lines = [line for line in latex.splitlines() if line.endswith("\\\\")]
    assert len(lines) == 4
    assert len({line.count("&") for line in lines}) == 1
    card = yaml.safe_load(model_index(boards[0], row).strip("-\n"))
    results = card["model-index"][0]["results"]
    ct = next(r for r in results if r["dataset"]["config"] == "ct")
    letter = next(m for m in ct["metrics"] if m["config"] == "letter")
    assert letter["value"] == pytest.approx(row.accuracy["ct", "letter"].value, abs=1e-6)
    assert letter["args"]["ci_low"] < letter["value"] < letter["args"]["ci_high"]


def test_the_page_shows_transfer_only_against_a_named_reference(tmp_path):
    runs = make(tmp_path)
    build(runs, tmp_path / "out", resamples=300)
    assert "No reference variant was named" in (tmp_path / "out" / "index.html").read_text()
    build(runs, tmp_path / "out", resamples=300, reference="base")
    page = (tmp_path / "out" / "index.html").read_text()
    for name in (*OUT_OF_DOMAIN, "mean of four"):
        assert f"Out of domain against base: {name}" in page
    lone = write_run(tmp_path / "lone", {"ct": [True, False]}, model="lone", suite="phantom", results=True)
    build([*runs, str(lone)], tmp_path / "out", resamples=300, reference="base")
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("is not on this board, so no transfer is shown here") == 1


def test_controls_costs_training_and_judges_reach_the_page(tmp_path):
    def edit(row):
        return row

    folder = write_run(tmp_path / "r1", {"ct": [True, False] * 30}, model="r1", rewards=judged, edit=edit)
    rows = read_lines(folder / "samples.jsonl")
    with (folder / "samples.jsonl").open("a") as file:
        file.writelines(json.dumps({**r, "condition": "blind"}) + "\n" for r in rows)
    lines = read_lines(folder / "scores.jsonl")
    with (folder / "scores.jsonl").open("a") as file:
        for number, line in enumerate(lines):
            line["fingerprint"], line["judge"] = "second", {"backend": "openai", "model": "m"}
            line["usage"] = {"calls": 1, "cost_usd": 0.01}
            line["scores"][1]["value"] = number / 100
            file.write(json.dumps(line) + "\n")
    from bench.aggregate import write_results

    write_results(folder / "samples.jsonl", folder / "results.csv", model="r1", scores_path=folder / "scores.jsonl")
    training = {"variant": "r1", "parent": "beta", "stage": "grpo", "order": 3, "recipe": {"kl_beta": 0.04},
                "curves": {"reward": [[0, 0.1], [10, 0.5], ["x", 1]]}}
    (folder / "variant.json").write_text(json.dumps(training))
    build([str(folder)], tmp_path / "out", resamples=200)
    row = table(tmp_path / "out")[0]
    assert row["control.blind.ct"] == "0.5"
    assert row["cost_usd"] == "0.6"
    assert "reward.process [openai:m]" in row
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Judge consistency" in page
    variant = (tmp_path / "out" / "variants" / "v000.html").read_text()
    assert "recipe.kl_beta" in variant
    assert "<polyline" in variant
    assert "blind" in variant


def test_the_browser_holds_a_bounded_and_equal_choice_and_says_so(tmp_path):
    runs = make(tmp_path, {"a": 0.5, "b": 0.6})
    build(runs, tmp_path / "out", resamples=200, browse=2 * 5 * 30)
    meta = json.loads((tmp_path / "out" / "data" / "meta.js").read_text()[len('PVB("meta",'):-3])
    assert [(t["kept"], t["total"]) for t in meta["boards"][0]["tasks"]] == [(30, 120)] * 5
    files = {p.name for p in (tmp_path / "out" / "data").iterdir()}
    assert {"b0-q-0-0.js", "b0-q-0-1.js", "b0-v000-0-1.js", "b0-v001-flags.js"} <= files
    assert "b0-q-0-2.js" not in files
    flags = [json.loads(re.search(r"\[.*\]", (tmp_path / "out/data" / f"b0-{v}-flags.js").read_text())[0])
             for v in ("v000", "v001")]
    assert all(len(f) == 60 for f in flags[0] + flags[1])
    build(runs, tmp_path / "none", resamples=200, browse=0)
    files = {p.name for p in (tmp_path / "none" / "data").iterdir()}
    assert files == {"meta.js", "b0-v000-flags.js", "b0-v001-flags.js"}


def test_thumbnails_are_taken_from_the_runs_and_re_encoded(tmp_path):
    import io

    from PIL import Image

    from bench.thumbnail import store_thumbnails

    class Drawn:
        def __init__(self, digest, data):
            self.sha256, self.data = digest, data

        def read(self):
            return self.data

    folder = write_run(tmp_path / "a", {"ct": [True, False]}, model="a", results=True, per_image=1)
    rows = read_lines(folder / "samples.jsonl")
    buffer = io.BytesIO()
    Image.new("RGB", (900, 600), "tan").save(buffer, "PNG")
    images = [Drawn(rows[0]["image_sha256"], buffer.getvalue()), Drawn("f" * 64, b"no image")]
    assert store_thumbnails(folder, images) == 1
    with Image.open(folder / "thumbnails" / f"{rows[0]['image_sha256']}.jpg") as small:
        assert small.size == (192, 128)
    build([str(folder)], tmp_path / "out", resamples=200)
    stored = list((tmp_path / "out" / "images").iterdir())
    assert [p.name for p in stored] == [f"{rows[0]['image_sha256']}.jpg"]
    with Image.open(stored[0]) as small:
        assert small.format == "JPEG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "'nowhere' is not a folder"),
        (["{a}", "{a}"], "two variants are called 'a'"),
        (["{a}", "--reference", "aa"], r"none of the variants \(a\) \(did you mean 'a'\?\)"),
        (["{a}", "--resamples", "1"], "too few"),
        (["{a}", "--browse", "-1"], "is negative"),
        (["{broken}"], "line 1 is not valid JSON"),
    ],
)
def test_a_users_mistake_is_named_and_nothing_is_written(tmp_path, arguments, message):
    write_run(tmp_path / "a", {"ct": [True, False]}, model="a", results=True)
    write_run(tmp_path / "broken", {"ct": [True, False]}, model="b", results=True)
    (tmp_path / "broken" / "samples.jsonl").write_text("{\n")
    places = {"a": tmp_path / "a", "broken": tmp_path / "broken"}
    with pytest.raises(UserError, match=message):
        main([*(a.format(**places) for a in arguments), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_the_hub_is_asked_only_when_told_to(tmp_path, monkeypatch, capsys):
    asked = []

    class Api:
        def create_repo(self, repo, **how):
            asked.append(("create", repo, how["repo_type"], how["space_sdk"]))
            return f"address/{repo}"

        def upload_file(self, **how):
            asked.append(("file", how["path_in_repo"]))

        def upload_folder(self, **how):
            asked.append(("folder", how["folder_path"]))

    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    run = write_run(tmp_path / "a", {"ct": [True, False]}, model="a", results=True)
    main([str(run), "--out", str(tmp_path / "out"), "--resamples", "100"])
    assert asked == []
    main([str(run), "--out", str(tmp_path / "out"), "--resamples", "100", "--push-to-hub", "me/board"])
    uploaded = ("folder", str(tmp_path / "out"))
    assert asked == [("create", "me/board", "space", "static"), ("file", "README.md"), uploaded]
    assert "pushed to address/me/board" in capsys.readouterr().out
    monkeypatch.setattr(Api, "create_repo", lambda self, repo, **how: (_ for _ in ()).throw(OSError("offline")))
    with pytest.raises(UserError, match="the hub refused 'me/board': offline"):
        hub.push(tmp_path / "out", "me/board")


def test_charts_stand_up_to_odd_numbers():
    import doctest

    assert doctest.testmod(leaderboards.charts).failed == 0
    odd = ([("a", 0.5, None, None)], [("a", 0.0, 0.0, 0.0)], [("x" * 200, 1e9, -1e9, 2e9)], [("a", 1e-12, 0, 1)])
    for rows in ([], *odd):
        for zero in (False, True):
            chart = str(leaderboards.charts.whiskers("t", rows, zero=zero))
            assert "nan" not in chart
            assert chart.count("<text") < 80
    assert "nan" not in str(leaderboards.charts.curves("t", {"a": [(0, float("nan")), (1, 2)], "b": []}))
    assert "1.00" in str(leaderboards.charts.matrix("m", ["a", "b"], {("a", "b"): -0.2}))
