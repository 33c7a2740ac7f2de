"""bench.compare: known answers, refusals that say where, missing answers, seeds, transfer, and the command."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from bench import stats
from bench.compare import as_dict, main, print_comparison
from bench.effects import MEAN, compare, flips
from bench.pairing import Variant, align, variants_of
from bench.synthetic import write_run
from rewards.errors import UserError
from rewards.types import CONTRACTS

RNG = np.random.default_rng(20)
BASE = {"ct": RNG.random(300) < 0.5, "derm": RNG.random(200) < 0.6}
BETTER = {"ct": BASE["ct"] | (RNG.random(300) < 0.25), "derm": BASE["derm"]}
PAPER = {  # percent of 500 questions a set: ct, derm, oct, fundus
    "base": (48.6, 56.6, 57.2, 70.8), "gamma": (40.6, 45.4, 45.8, 32.0), "r1": (44.0, 80.0, 49.2, 59.8),
}


def runs(tmp_path, **answers):
    return [Variant(name, (str(write_run(tmp_path / name, right, model=name)),)) for name, right in answers.items()]


def effect(found, a, b, task, level=""):
    names = [v.name for v in found.pairs.variants]
    return next(e for e in found.effects if (names[e.a], names[e.b], e.task, e.level) == (a, b, task, level))


def test_differences_flips_tests_and_holm_are_the_known_ones(tmp_path):
    third = {t: RNG.random(len(v)) < 0.5 for t, v in BASE.items()}
    pairs = align(runs(tmp_path, better=BETTER, base=BASE, third=third))
    found = compare(pairs, resamples=2000)
    e = effect(found, "better", "base", "ct")
    assert e.difference.value == pytest.approx(np.mean(BETTER["ct"]) - np.mean(BASE["ct"]))
    assert e.significant
    assert (e.accuracy_a, e.accuracy_b) == (pytest.approx(np.mean(BETTER["ct"])), pytest.approx(np.mean(BASE["ct"])))
    gained, lost = flips(found, e)
    assert [pairs.keys[r].id for r in gained] == [f"ct-{i:05d}" for i in np.flatnonzero(BETTER["ct"] & ~BASE["ct"])]
    assert lost == []
    whole = [e for e in found.effects if not e.by and e.task != MEAN]
    assert len(whole) == 6
    tables = []
    for e in whole:
        a, b = ({"better": BETTER, "base": BASE, "third": third}[pairs.variants[v].name][e.task] for v in (e.a, e.b))
        g, x = int((a & ~b).sum()), int((~a & b).sum())
        tables.append(1.0 if g + x == 0 else reference_mcnemar([[0, g], [x, 0]], exact=g + x < 25).pvalue)
        assert (e.test.gained, e.test.lost) == (g, x)
    assert [e.test.p_value for e in whole] == pytest.approx(tables)
    assert [e.p_holm for e in whole] == pytest.approx(list(multipletests(tables, method="holm")[1]))


def test_the_interval_is_that_of_the_paired_bootstrap(tmp_path):
    pairs = align(runs(tmp_path, a=BETTER, b=BASE))
    e = effect(compare(pairs, resamples=4000), "a", "b", "ct")
    rows = [i for i, k in enumerate(pairs.keys) if k.task == "ct"]
    table = pairs.correct["letter"][rows]
    groups = [pairs.groups[r] for r in rows]
    alone = stats.paired_cluster_bootstrap(table[:, 0], table[:, 1], groups, resamples=4000, seed=9)
    assert (e.difference.low, e.difference.high) == pytest.approx((alone.low, alone.high), abs=0.006)
    assert e.difference.n_groups == alone.n_groups < 300
    spread = (alone.high - alone.low) / (2 * 1.96)
    assert e.detectable == pytest.approx(2.8 * spread, rel=0.1)


def test_identical_runs_are_never_significant(tmp_path):
    found = compare(align(runs(tmp_path, a=BASE, b=BASE)), resamples=500)
    assert all(not e.significant and e.difference.value == 0 and e.p == 1 for e in found.effects)


def test_the_mean_over_tasks_resamples_every_task_apart(tmp_path):
    found = compare(align(runs(tmp_path, a=BETTER, b=BASE)), resamples=4000)
    e = effect(found, "a", "b", MEAN)
    parts = [effect(found, "a", "b", t).difference for t in ("ct", "derm")]
    assert e.difference.value == pytest.approx(sum(p.value for p in parts) / 2)
    assert (e.n, e.test) == (500, None)
    spread = (parts[0].high - parts[0].low) / 2
    assert e.difference.high - e.difference.low == pytest.approx(spread, rel=0.1)
    assert e.significant
    assert e.p < 1e-6


def test_breakdowns_follow_question_type_and_subset_in_a_family_of_their_own(tmp_path):
    found = compare(align(runs(tmp_path, a=BETTER, b=BASE)), resamples=500)
    e = effect(found, "a", "b", "ct", "Modality Recognition")
    rows = np.arange(300) % 3 == 1
    assert e.n == rows.sum()
    assert e.difference.value == pytest.approx(np.mean(BETTER["ct"][rows]) - np.mean(BASE["ct"][rows]))
    apart = [e for e in found.effects if e.by]
    assert {e.level for e in apart} >= {"first", "second", "Disease Diagnosis"}
    assert [e.p_holm for e in apart] == pytest.approx(stats.holm([e.test.p_value for e in apart]))


def test_the_papers_transfer_arithmetic_is_reproduced_by_the_command(tmp_path, capsys):
    for name, percents in PAPER.items():
        tasks = zip(("ct", "derm", "oct", "fundus"), percents, strict=True)
        right = {t: np.arange(500) < round(5 * p) for t, p in tasks}
        write_run(tmp_path / name, right, model=name, per_image=1)
    folders = [str(tmp_path / n) for n in PAPER]
    for reference, expected in (("gamma", 17.30), ("base", -0.05)):
        out = tmp_path / f"{reference}.json"
        main([*folders, "--reference", reference, "--json", str(out), "--resamples", "1000"])
        shown = capsys.readouterr().out
        r1 = next(t for t in json.loads(out.read_text())["transfer"] if t["variant"] == "r1")
        assert r1["reference"] == reference
        assert r1["mean"]["value"] == pytest.approx(expected, abs=1e-6)
        assert r1["mean"]["low"] < expected < r1["mean"]["high"]
        assert f"{expected:+.2f} [" in shown
        assert set(r1["modalities"]) == {"ct", "derm", "oct", "fundus"}
    base = json.loads((tmp_path / "base.json").read_text())["transfer"]
    falls = [t for t, i in next(t for t in base if t["variant"] == "r1")["modalities"].items() if i["value"] < 0]
    assert sorted(falls) == ["ct", "fundus", "oct"]


def test_transfer_with_a_missing_modality_has_no_mean_and_says_which(tmp_path):
    found = compare(align(runs(tmp_path, a=BETTER, b=BASE)), resamples=300, reference="b")
    assert len(found.transfers) == 1
    assert found.transfers[0].mean is None
    assert found.transfers[0].missing == ("fundus", "oct")
    out = io.StringIO()
    print_comparison(found, Console(file=out, width=140))
    assert "no mean: fundus, oct missing" in out.getvalue()


def test_without_a_named_reference_there_is_no_transfer(tmp_path):
    assert compare(align(runs(tmp_path, a=BETTER, b=BASE)), resamples=300).transfers == ()
    with pytest.raises(UserError, match=r"reference 'bb' is none of .* \(did you mean"):
        compare(align(runs(tmp_path, aa=BETTER, bbb=BASE)), resamples=300, reference="bb")


def test_a_pair_is_compared_on_what_both_answered_and_others_lose_nothing(tmp_path):
    def fail(row):
        if row["task"] == "ct" and int(row["id"][-3:]) < 50:
            return {**row, "finish_reason": "error", "correct": None, "parsed": None, "completion": ""}
        return row

    variants = runs(tmp_path, a=BETTER, b=BASE)
    variants.append(Variant("c", (str(write_run(tmp_path / "c", BETTER, model="c", edit=fail)),)))
    found = compare(align(variants), resamples=500)
    assert effect(found, "a", "b", "ct").n_paired == 300
    e = effect(found, "b", "c", "ct")
    assert (e.n, e.n_paired) == (300, 250)
    assert e.difference.value == pytest.approx(np.mean(BASE["ct"][50:]) - np.mean(BETTER["ct"][50:]))
    assert e.test.lost == int((~BASE["ct"] & BETTER["ct"])[50:].sum())


def test_nothing_answered_by_both_is_missing(tmp_path):
    def fail(row):
        return {**row, "finish_reason": "error", "correct": None, "parsed": None}

    variants = runs(tmp_path, a={"ct": BASE["ct"]})
    variants.append(Variant("dead", (str(write_run(tmp_path / "dead", {"ct": BASE["ct"]}, model="d", edit=fail)),)))
    found = compare(align(variants), resamples=300)
    e = effect(found, "a", "dead", "ct")
    assert (e.difference, e.test, e.significant) == (None, None, False)
    print_comparison(found, Console(file=io.StringIO()))
    json.dumps(as_dict(found), allow_nan=False)


def test_seeds_are_resampled_with_the_images(tmp_path):
    rng = np.random.default_rng(4)
    seeds = [{"ct": rng.random(300) < p} for p in (0.45, 0.75, 0.5, 0.7)]
    base = {"ct": RNG.random(300) < 0.5}
    paths = [str(write_run(tmp_path / f"s{i}", r, model="v")) for i, r in enumerate(seeds)]
    lone = str(write_run(tmp_path / "base", base, model="base"))
    found = compare(align(variants_of([f"v={','.join(paths)}", lone])), resamples=2000)
    e = effect(found, "v", "base", "ct")
    assert e.test is None
    assert e.difference.method.startswith(stats.HIERARCHICAL)
    assert e.difference.value == pytest.approx(np.mean([r["ct"] for r in seeds]) - np.mean(base["ct"]))
    single = effect(compare(align(variants_of([paths[0], lone])), resamples=2000), "s0", "base", "ct").difference
    assert e.difference.high - e.difference.low > 1.3 * (single.high - single.low)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edit": lambda r: {**r, "question": r["question"] + "?"}}, "'question' of sample 'ct-00000'"),
        ({"edit": lambda r: {**r, "prompt_sha256": "0"}}, "'prompt_sha256' of sample"),
        ({"edit": lambda r: {**r, "image_sha256": "0"}}, "'image_sha256' of sample"),
        ({"edit": lambda r: {**r, "options": [*r["options"][1:], "x"]}}, "'options' of sample"),
        ({"edit": lambda r: {**r, "answer_index": 3 - r["answer_index"]}}, "'answer_index' of sample"),
        ({"data_seed": 1}, "'group' of sample"),
        ({"prompts": {"version": 2}}, r"prompts.version is 1 and 2"),
        ({"parser": {"version": "9"}}, r"parser.version is null and \"9\""),
        ({"config": {"decoding": {"do_sample": True}}}, "decoding.do_sample is false and true"),
        ({"edit": lambda r: {**r, "id": r["id"] + "x"}}, r"300 samples of ct \(first 'ct-00000'\) are only in"),
        ({"edit": lambda r: {**r, "condition": "blind"}}, "no answer in condition 'plain'"),
        ({"edit": lambda r: {**r, "id": "same"}}, "'same' of task 'ct' stands twice"),
    ],
)
def test_runs_that_differ_are_refused_saying_where(tmp_path, change, message):
    right = {"ct": BASE["ct"]}
    write_run(tmp_path / "a", right, model="a")
    write_run(tmp_path / "b", right, model="b", **change)
    with pytest.raises(UserError, match=message):
        align(variants_of([str(tmp_path / "a"), str(tmp_path / "b")]))


def test_a_seed_of_decoding_is_free_and_tasks_restrict(tmp_path):
    decoding = {"do_sample": False, "max_new_tokens": 512}
    write_run(tmp_path / "a", BASE, model="a", config={"decoding": {**decoding, "seed": 0}})
    write_run(tmp_path / "b", {"ct": BETTER["ct"]}, model="b", config={"decoding": {**decoding, "seed": 1}})
    both = variants_of([str(tmp_path / "a"), str(tmp_path / "b")])
    with pytest.raises(UserError, match=r"samples of derm .* use --tasks ct"):
        align(both)
    assert {k.task for k in align(both, tasks=["ct"]).keys} == {"ct"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "{a}"], "'nowhere' is not a folder"),
        (["{a}"], "at least two"),
        (["{a}", "{a}"], "two variants are called 'a'"),
        (["x=", "{a}"], "'x=' is no variant"),
        (["{a}", "{b}", "--contract", "lose"], "invalid choice"),
        (["{a}", "{b}", "--resamples", "5"], "too few"),
        (["{a}", "{b}", "--tasks", "oct"], "no answer in condition 'plain'"),
        (["{a}", "{empty}"], "holds no samples.jsonl"),
    ],
)
def test_a_users_mistake_is_named(tmp_path, arguments, message):
    for name in "ab":
        write_run(tmp_path / name, {"ct": [True, False]}, model=name)
    (tmp_path / "empty").mkdir()
    places = {name: str(tmp_path / name) for name in ("a", "b", "empty")}
    with pytest.raises(UserError, match=message):
        main([a.format(**places) for a in arguments])


def test_the_command_prints_flips_with_their_places_and_json_is_reproducible(tmp_path, capsys):
    for name, right in (("a", BETTER), ("b", BASE)):
        write_run(tmp_path / name, right, model=name, edit=lambda r: {**r, "subset": "[bold]\x1b[2J"})
    arguments = [str(tmp_path / "a"), str(tmp_path / "b"), "--resamples", "300", "--contract", CONTRACTS[0], "--json"]
    main([*arguments, str(tmp_path / "1.json")])
    shown = capsys.readouterr().out
    main([*arguments, str(tmp_path / "2.json")])
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    first = int(np.flatnonzero(BETTER["ct"] & ~BASE["ct"])[0])
    assert f"a/samples.jsonl:{first + 1}" in shown
    assert "\x1b[2J" not in shown
    written = json.loads((tmp_path / "1.json").read_text())["effects"][0]
    assert len(written["flips"][0]) == written["mcnemar"]["gained"]
    with open(written["flips"][0][0]["a"].rsplit(":", 1)[0], encoding="utf-8") as file:
        line = file.readlines()[int(written["flips"][0][0]["a"].rsplit(":", 1)[1]) - 1]
    assert json.loads(line)["id"] == written["flips"][0][0]["id"]
