"""The audit's command line: tables, comparison, penalty sweeps without a call, and mistakes in one line."""

import json
import re
import subprocess
import sys

import pytest
from reward_cases import ANSWERS, row, write_rows

from rewards import audit
from rewards.errors import UserError

EVENT = {"evidence": "", "verdict": "no"}


@pytest.fixture
def folder(tmp_path):
    write_rows(tmp_path / "samples.jsonl", [row(name, text) for name, text in ANSWERS.items()])
    return tmp_path


def script(path, **by_words):
    """A scripted judge's file: events that are "yes", by words of the user message."""
    names = ("image_features", "options_eliminated", "knowledge_cited", "definition_violated", "contradiction",
             "outdated_criterion")
    made = [{"when": words, "text": json.dumps({name: {**EVENT, "verdict": "yes" if name in yes else "no"}
                                                for name in names})} for words, yes in by_words.items()]
    path.write_text("".join(json.dumps(line) + "\n" for line in made), encoding="utf-8")
    return f"scripted:{path}"


def table(text):
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if re.match(r"[a-z_.]+ +[\d-]", line)}


def test_outcome(folder, capsys):
    assert audit.main([str(folder / "samples.jsonl"), "--reward", "outcome", "--quiet"]) == 0
    shown = table(capsys.readouterr().out)
    assert shown["format"] == ["0.5714", "7/7"] and shown["accuracy"] == ["0.1429", "7/7"]
    assert not (folder / "scores.jsonl").exists(), "nothing is written without --out"


def test_a_folder_is_enough_and_out_resumes(folder, capsys):
    out = folder / "mine.jsonl"
    command = [str(folder), "--reward", "outcome", "--out", str(out), "--quiet"]
    audit.main(command)
    assert "7 scored now, 0 kept" in capsys.readouterr().out
    audit.main(command)
    assert "0 scored now, 7 kept" in capsys.readouterr().out
    assert len(out.read_text().splitlines()) == 7


def test_a_penalty_sweep_costs_no_call(folder, capsys):
    judge = script(folder / "judge.jsonl", Even=["image_features"], **{"": ["image_features", "contradiction"]})
    cache = str(folder / "cache.sqlite")
    found = {}
    for penalty in ("0.4", "0.3", "0.5"):
        audit.main([str(folder), "--reward", "dual", "--judge", judge, "--penalty", penalty, "--cache", cache,
                    "--quiet"])
        text = capsys.readouterr().out
        calls = int(re.search(r"judge calls (\d+)", text)[1])
        assert calls == (7 if penalty == "0.4" else 0)
        found[penalty] = [table(text)[part][0] for part in ("integrity", "knowledge")]
    even = sum("Even" in text for text in ANSWERS.values())
    for penalty, (integrity, knowledge) in found.items():
        cost = float(penalty)
        assert float(integrity) == pytest.approx(1 - 2 * cost, abs=1e-4)
        assert float(knowledge) == pytest.approx((7 - (7 - even) * cost) / 7, abs=1e-4)


def test_comparison_with_stored_scores(folder, capsys):
    stored = ["--out", str(folder / "scores.jsonl"), "--quiet"]
    judge = script(folder / "judge.jsonl", **{"": ["image_features", "contradiction"]})
    command = [str(folder), "--reward", "dual", "--judge", judge]
    audit.main([*command, *stored])
    assert "stored mean" not in capsys.readouterr().out, "a file is not compared with itself"
    audit.main([*command, "--quiet"])
    text = capsys.readouterr().out
    assert "the same reward, 0 part values differ" in text
    assert table(text)["knowledge"][2:] == ["0.6000", "0/7", "0.0000"]
    audit.main([*command, "--penalty", "0.3", "--quiet"])
    text = capsys.readouterr().out
    assert table(text)["knowledge"] == ["0.7000", "7/7", "0.6000", "7/7", "0.1000"]
    assert "another reward" in text and "14 part values differ" in text
    audit.main([str(folder), "--reward", "outcome", "--quiet", "--compare", str(folder / "scores.jsonl")])
    assert table(capsys.readouterr().out)["format"] == ["0.5714", "7/7", "0.5714", "0/7", "0.0000"]


def test_missing_verdicts_are_named(folder, capsys):
    judge = script(folder / "judge.jsonl", Even=["image_features"])
    audit.main([str(folder), "--reward", "dual", "--judge", judge, "--quiet"])
    text = capsys.readouterr().out
    even = sum("Even" in text_ for text_ in ANSWERS.values())
    assert table(text)["integrity"][1] == f"{even}/7"
    assert f"missing: integrity {7 - even} of 7 (no-script)" in text


@pytest.mark.parametrize(("arguments", "message"), [
    (["--reward", "dul"], "no reward spec 'dul' (did you mean 'dual'?)"),
    (["--reward", "dual"], "has judged parts (integrity, knowledge): name a judge with --judge"),
    (["--reward", "outcome", "--judge", "rules"], "has no judged part; leave --judge out"),
    (["--reward", "outcome", "--penalty", "0.3"], "no part of this reward has a penalty"),
    (["--reward", "dual", "--judge", "scripted:honest", "--penalty", "2"], "penalty for"),
    (["--reward", "dual", "--judge", "openia:x"], "no judge backend 'openia' (did you mean 'openai'?)"),
    (["--reward", "dual", "--judge", "openai:x@http://127.0.0.1:9/v1"], "the image of 'gold' is not at hand: add"),
    (["--reward", "outcome", "--compare", "none.jsonl"], "no stored scores at 'none.jsonl'"),
    (["--reward", "outcome", "--images", "nowhere"], "no image folder 'nowhere'"),
    (["--reward", "outcome", "--penalty", "much"], "invalid float value: 'much'"),
    (["--rewrd", "outcome"], "the following arguments are required: --reward"),
    ([], "the following arguments are required: --reward"),
])
def test_mistakes(folder, arguments, message):
    with pytest.raises(UserError) as caught:
        audit.main([str(folder), *arguments])
    assert message in str(caught.value)


def test_mistakes_exit_2_in_one_line(tmp_path):
    found = subprocess.run([sys.executable, "-m", "rewards.audit", str(tmp_path / "no.jsonl"), "--reward", "outcome"],
                           capture_output=True, text=True, check=False)
    assert found.returncode == 2 and found.stdout == ""
    assert found.stderr.count("\n") == 1 and found.stderr.startswith("error: no stored answers at ")


def test_an_empty_file_of_answers(tmp_path, capsys):
    (tmp_path / "samples.jsonl").write_text("", encoding="utf-8")
    assert audit.main([str(tmp_path), "--reward", "outcome", "--quiet"]) == 0
    assert table(capsys.readouterr().out)["format"] == ["-", "0/0"]
