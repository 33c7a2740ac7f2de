"""results.csv: what counts how, both intervals, breakdowns, the out-of-domain mean, warnings, safe cells."""

from __future__ import annotations

import csv
import doctest
import json

import numpy as np
import pytest

import bench.inert
from bench import stats
from bench.aggregate import COLUMNS, aggregate, warnings, write_results
from bench.inert import csv_cell, latex_cell, markdown_cell, one_line, script_json, visible
from bench.synthetic import answer_row, write_run
from rewards.errors import UserError
from rewards.types import CONTRACTS


def rows_of(verdicts, task="ct", suite="omnimedvqa", per_image=1, **changes):
    return [answer_row(task, i, v, suite=suite, group=f"{task}{i // per_image}", **changes)
            for i, v in enumerate(verdicts)]


def pick(found, **wanted):
    hits = [r for r in found if all(r[k] == v for k, v in wanted.items())]
    assert len(hits) == 1, (wanted, len(hits))
    return hits[0]


def error_row(number):
    return answer_row("ct", number, False, suite="omnimedvqa", group=f"ct{number}", finish_reason="error",
                      completion="", error="timeout", parsed=None, correct=None, tokens_out=None)


def test_accuracy_comes_with_wilson_and_cluster_interval_for_each_contract():
    found = aggregate(rows_of([True] * 30 + [False] * 10, per_image=4), model="m", resamples=2000)
    for contract in CONTRACTS:
        independent = pick(found, metric="accuracy", contract=contract, by="", ci_method=stats.WILSON)
        clustered = pick(found, metric="accuracy", contract=contract, by="", ci_method=stats.BOOTSTRAP)
        assert independent["value"] == clustered["value"] == 0.75
        assert (independent["ci_low"], independent["ci_high"]) == stats.wilson(30, 40)
        assert clustered["ci_high"] - clustered["ci_low"] > independent["ci_high"] - independent["ci_low"]
    assert pick(found, metric="tokens_mean", by="")["value"] == pytest.approx(np.mean([40 + i % 30 for i in range(40)]))


def test_unread_and_cut_off_answers_are_wrong_but_errors_are_missing():
    unread = {"letters": dict.fromkeys(CONTRACTS), "well_formed": False, "think": None, "answer": None}
    rows = rows_of([True] * 6)
    rows.append(answer_row("ct", 6, False, suite="omnimedvqa", group="g6", parsed=unread))
    rows.append(answer_row("ct", 7, False, suite="omnimedvqa", group="g7", parsed=unread, finish_reason="length"))
    rows += [error_row(8), error_row(9)]
    found = aggregate(rows, model="m", resamples=500)
    accuracy = pick(found, metric="accuracy", contract="letter", by="", ci_method=stats.WILSON)
    assert (accuracy["value"], accuracy["n"], accuracy["n_scored"]) == (6 / 8, 10, 8)
    assert pick(found, metric="parse_rate", contract="letter", by="", ci_method=stats.WILSON)["value"] == 6 / 8
    assert pick(found, metric="cap_rate", by="", ci_method=stats.WILSON)["value"] == 1 / 8
    assert pick(found, metric="format_rate", by="", ci_method=stats.WILSON)["value"] == 6 / 8
    assert pick(found, metric="error_rate", by="")["value"] == pytest.approx(0.2)


def test_nothing_answered_is_missing_not_zero():
    found = aggregate([error_row(0), error_row(1)], model="m")
    accuracy = pick(found, metric="accuracy", contract="letter", by="")
    assert (accuracy["value"], accuracy["n"], accuracy["n_scored"]) == (None, 2, 0)
    assert accuracy["ci_method"].startswith("none")
    assert any("2 of 2 rows have no answer" in w for w in warnings(found))


def test_breakdowns_by_question_type_and_subset_add_up():
    found = aggregate(rows_of([True, False] * 12), model="m", resamples=500)
    for by, levels in (("question_type", 3), ("subset", 2)):
        cells = [r for r in found if r["by"] == by and r["metric"] == "error_rate"]
        assert len(cells) == levels
        assert sum(r["n"] for r in cells) == 24
    assert pick(found, by="subset", level="first", metric="accuracy", contract="letter",
                ci_method=stats.WILSON)["value"] == 1.0


def test_order_of_lines_and_other_tasks_do_not_change_a_number():
    ct, derm = rows_of([True, False, True] * 10, per_image=3), rows_of([True] * 9 + [False], task="derm")
    alone = aggregate(ct, model="m", resamples=500)
    mixed = aggregate(list(reversed(ct)) + derm, model="m", resamples=500)
    assert alone == [r for r in mixed if r["task"] == "ct"]


def test_reward_parts_keep_their_fingerprint_and_say_what_is_missing(tmp_path):
    def half(row):
        return {"format": 1.0, "process": None if row["id"].endswith("0") else 0.6}

    folder = write_run(tmp_path / "r", {"ct": [True, False] * 20}, model="m", rewards=half, results=True)
    with (folder / "results.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert tuple(found[0]) == COLUMNS
    process = pick(found, metric="reward.process", by="")
    assert (process["n"], process["n_scored"], process["value"]) == ("40", "36", "0.6")
    assert process["fingerprint"] == "reward-synthetic-1"
    assert process["ci_method"] == stats.CONSTANT
    assert pick(found, metric="reward.total", by="")["n_scored"] == "36"
    assert any("reward.process is missing for 4 of 40" in w for w in warnings(found))


def test_out_of_domain_mean_needs_all_four_and_is_the_plain_mean():
    shares = {"ct": 0.5, "derm": 0.8, "fundus": 0.2, "oct": 0.6}
    rows = [r for t, s in shares.items() for r in rows_of([i < 40 * s for i in range(40)], task=t)]
    found = aggregate(rows, model="m", resamples=2000)
    mean = pick(found, task="out_of_domain", contract="letter")
    assert mean["value"] == pytest.approx(0.525)
    assert mean["ci_low"] < 0.525 < mean["ci_high"]
    three = aggregate([r for r in rows if r["task"] != "oct"], model="m", resamples=100)
    assert not [r for r in three if r["task"] == "out_of_domain"]


def test_conditions_and_suites_stay_apart():
    rows = rows_of([True] * 4) + rows_of([False] * 4, condition="blind") + rows_of([True] * 4, suite="phantom")
    found = [r for r in aggregate(rows, model="m", resamples=100) if r["metric"] == "error_rate" and not r["by"]]
    assert {(r["suite"], r["condition"], r["n"]) for r in found} == {
        ("omnimedvqa", "plain", 4), ("omnimedvqa", "blind", 4), ("phantom", "plain", 4)}


def test_warnings_for_cap_rate_and_disagreeing_contracts():
    assert warnings(aggregate(rows_of([True] * 50), model="m", resamples=100)) == []
    rows = rows_of([True] * 50)
    for row in rows[:2]:
        row["finish_reason"] = "length"
    for row in rows[2:4]:
        row["correct"] = {"strict": False, "letter": True, "omnimed": True}
    said = warnings(aggregate(rows, model="m", resamples=100))
    assert len(said) == 2
    assert "4.0% of the answers were cut off" in said[0]
    assert "contracts disagree by 4.0 points (strict 96.0%, letter 100.0%)" in said[1]


def test_a_double_row_a_missing_field_and_broken_lines_are_named(tmp_path):
    with pytest.raises(UserError, match=r"'ct-00000' of task 'ct' .* stands twice"):
        aggregate(rows_of([True]) * 2, model="m")
    with pytest.raises(UserError, match="has no field 'group'"):
        aggregate([{k: v for k, v in rows_of([True])[0].items() if k != "group"}], model="m")
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps(rows_of([True])[0]) + "\n{\"suite\": ")
    with pytest.raises(UserError, match="line 2 is not valid JSON"):
        write_results(path, tmp_path / "results.csv", model="m")
    assert not (tmp_path / "results.csv").exists()


def test_results_csv_is_the_same_bytes_twice_and_holds_no_formula(tmp_path):
    bad = "=cmd|'/C calc'!A0"
    folder = write_run(tmp_path / "r", {"ct": [True, False] * 5}, model=bad, results=True,
                       edit=lambda row: {**row, "subset": "@SUM(1)", "question_type": "+1;-2"})
    first = (folder / "results.csv").read_bytes()
    write_results(folder / "samples.jsonl", folder / "results.csv", model=bad)
    assert (folder / "results.csv").read_bytes() == first
    with (folder / "results.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for name in ("model", "level"):
                assert not row[name].startswith(("=", "+", "-", "@"))


def test_inert_examples_and_characters():
    assert doctest.testmod(bench.inert).failed == 0
    assert visible("a\u202eb\x00\ud800") == "a[U+202E]b␀\ufffd"
    assert one_line("x\n\r\ty" * 200, 10).endswith("…")
    assert csv_cell(-0.25) == "-0.25"
    assert csv_cell(1e-9) == "0"
    assert csv_cell(" \t=1+1") == "'=1+1"
    assert csv_cell("x;=1+1") == "x;'=1+1"
    assert markdown_cell("[x](javascript:1) _a_ a_b www.x.y") == \
        "&#91;x&#93;&#40;javascript&#58;1&#41; &#95;a&#95; a_b www&#46;x.y"
    assert latex_cell(r"\input{/etc/passwd}") == r"\textbackslash{}input\{/etc/passwd\}"
    assert "<" not in script_json({"a": "</script>\u2028"})


def test_the_terminal_table_shows_intervals_and_warnings_without_obeying_the_data():
    import io

    from rich.console import Console

    from bench.report import print_table

    rows = rows_of([True] * 30 + [False] * 10)
    rows[0]["finish_reason"] = rows[1]["finish_reason"] = "length"
    out = io.StringIO()
    print_table(aggregate(rows, model="[red]x\x1b[2J", resamples=500), Console(file=out, width=200))
    text = out.getvalue()
    assert "[red]x␛[2J" in text
    assert "\x1b[2J" not in text
    assert "omnimedvqa, accuracy in %" in text
    assert "75.0 [" in text
    assert "warning: omnimedvqa/ct (plain): 5.0% of the answers were cut off" in text


def test_a_narrow_terminal_cuts_no_column_off():
    import io

    from rich.console import Console

    from bench.report import print_table

    rows = [{**row, "suite": suite, "task": task, "condition": condition}
            for suite, task in (("pathmmu", "path"), ("omnimedvqa", "fundus")) for row in rows_of([True, False] * 20)
            for condition in ("plain", "shuffled-image")]
    out = io.StringIO()
    print_table(aggregate(rows, model="m", resamples=500), Console(file=out, width=80))
    title, _, table = out.getvalue().partition("\n")
    assert "m: omnimedvqa, pathmmu, accuracy in %" in title and max(map(len, table.splitlines())) <= 80
    header, _, *lines = [line for line in table.splitlines() if line.strip()][:6]
    assert header.split() == ["task", "condition", "n", "letter", "strict", "omnimed", "read", "cap"]
    assert [line.split()[:3] for line in lines] == [
        [task, condition, "40"] for task in ("fundus", "path") for condition in ("plain", "shuffled-image")]
    whole = io.StringIO()
    print_table(aggregate(rows, model="m", resamples=500), Console(file=whole, width=200))
    assert "tokens" in whole.getvalue()
