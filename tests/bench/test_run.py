"""`bench.run` from the outside: files, exit codes, one line for a mistake, and the same numbers through lm-eval."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import run
from rewards.errors import UserError, run_cli
from rewards.types import CONTRACTS

FIELDS = {"suite", "task", "id", "group", "condition", "question", "options", "answer_index", "question_type",
          "image_sha256", "prompt_sha256", "completion", "finish_reason", "tokens_in", "tokens_out", "latency_s",
          "error", "parsed", "correct"}


def call(argv: list[str], capsys) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        run_cli(run.main, argv)
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(tiny, data_root, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "r"
    run.main(["--model", str(tiny), "--data", str(data_root), "--tasks", "all", "--controls",
              "blind,shuffled-image,rotated-options", "--max-new-tokens", "16", "--out", str(out), "--quiet"])
    return out


def test_every_sample_stands_once_in_every_condition(finished, data_facts):
    found = rows(finished)
    keys = {(row["task"], row["id"], row["condition"]) for row in found}
    assert len(keys) == len(found) == 4 * sum(data_facts.usable.values())
    for task, count in data_facts.usable.items():
        assert sum(row["task"] == task and row["condition"] == "plain" for row in found) == count
    assert set(FIELDS) <= set(found[0])
    assert set(found[0]["parsed"]["letters"]) == set(found[0]["correct"]) == set(CONTRACTS)


def test_conditions_show_what_they_say(finished):
    for row in rows(finished):
        if row["condition"] == "blind":
            assert row["shown_image_sha256"] is None
        elif row["condition"] == "shuffled-image":
            assert row["shown_image_sha256"] not in (None, row["image_sha256"])
        else:
            assert row["shown_image_sha256"] == row["image_sha256"]


def test_left_out_rows_are_counted_and_listed(finished, data_facts):
    manifest = json.loads((finished / "manifest.json").read_text())
    for task, reasons in data_facts.dropped.items():
        assert manifest["data"][task]["dropped"] == reasons
        assert len(manifest["data"][task]["dropped_rows"]) == sum(reasons.values())


def test_results_have_every_number_of_the_contract(finished):
    with (finished / "results.csv").open() as lines:
        found = list(csv.DictReader(lines))
    assert {"accuracy", "parse_rate", "cap_rate", "format_rate", "tokens_mean"} <= {row["metric"] for row in found}
    for row in found:
        if row["metric"] == "accuracy" and not row["by"]:
            assert float(row["ci_low"]) <= float(row["value"]) <= float(row["ci_high"]) and row["ci_method"]


def test_a_finished_run_is_not_repeated(finished, tiny, data_root, capsys, monkeypatch):
    before = (finished / "samples.jsonl").read_bytes()
    from bench.models.hf import HFModel

    def asked(self, requests):
        raise AssertionError("asked again")

    monkeypatch.setattr(HFModel, "generate", asked)
    run.main(["--model", str(tiny), "--data", str(data_root), "--tasks", "all", "--controls",
              "blind,shuffled-image,rotated-options", "--max-new-tokens", "16", "--out", str(finished)])
    assert (finished / "samples.jsonl").read_bytes() == before
    assert "report.html" in capsys.readouterr().out


@pytest.mark.parametrize(("change", "names"), [
    (["--max-new-tokens", "17"], ["config.decoding.max_new_tokens is 16 there and 17 now"]),
    (["--seed", "5"], ["config.seed"]),
    (["--tasks", "ct"], ["config.tasks"]),
    (["--limit", "2"], ["config.limit"]),
    (["--controls", "blind"], ["config.conditions"]),
    (["--dtype", "bfloat16"], ["model.dtype"]),
])
def test_another_configuration_in_the_same_folder_is_refused(finished, tiny, data_root, capsys, change, names):
    before = contents(finished)
    given = {"--model": str(tiny), "--data": str(data_root), "--tasks": "all", "--controls":
             "blind,shuffled-image,rotated-options", "--max-new-tokens": "16", "--out": str(finished)}
    given[change[0]] = change[1]
    code, _, err = call([part for pair in given.items() for part in pair], capsys)
    assert code == 2 and err.count("\n") <= 7
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: ") and all(name in last for name in names)
    assert contents(finished) == before


def test_another_model_in_the_same_folder_is_refused(finished, talkative, data_root, capsys):
    code, _, err = call(["--model", str(talkative), "--data", str(data_root), "--tasks", "all", "--controls",
                         "blind,shuffled-image,rotated-options", "--max-new-tokens", "16", "--out", str(finished)],
                        capsys)
    assert code == 2 and "model.fingerprint" in err


def test_changed_data_are_refused(finished, tiny, data_root, tmp_path, capsys):
    import shutil

    copy = tmp_path / "data"
    shutil.copytree(data_root, copy)
    path = copy / "omnimedvqa" / "QA_information" / "Open-access" / "ISIC2020.json"
    path.write_text(path.read_text().replace("What is shown?", "What is seen?"))
    code, _, err = call(["--model", str(tiny), "--data", str(copy), "--tasks", "all", "--controls",
                         "blind,shuffled-image,rotated-options", "--max-new-tokens", "16", "--out", str(finished)],
                        capsys)
    assert code == 2 and "data.derm.data_sha256" in err


MISTAKES = [
    (["--tasks", "pth"], "unknown task 'pth' (did you mean 'path'?)"),
    (["--tasks", ""], "names no task"),
    (["--tasks", ","], "names no task"),
    (["--data", "no/such/folder"], "does not exist"),
    (["--data", None], "--data is missing"),
    (["--controls", "blnd"], "did you mean 'blind'"),
    (["--limit", "0"], "whole number of 1 or more"),
    (["--limit", "many"], "whole number of 1 or more"),
    (["--batch-size", "-1"], "whole number of 1 or more"),
    (["--max-new-tokens", "1.5"], "whole number of 1 or more"),
    (["--temperature", "-1"], "expected 0 (greedy), or a number from 0.01 to 10"),
    (["--temperature", "1e-300"], "expected 0 (greedy), or a number from 0.01 to 10"),
    (["--temperature", "nan"], "expected 0 (greedy), or a number from 0.01 to 10"),
    (["--temperature", "hot"], "invalid float value"),
    (["--top-p", "0"], "expected a number from 0.001 to 1"),
    (["--top-p", "1e-300"], "expected a number from 0.001 to 1"),
    (["--max-usd", "-1"], "expected an amount of 0 or more"),
    (["--max-usd", "1"], "--max-usd 1.0 needs --judge"),
    (["--reward", "outcome"], "--reward outcome needs --judge"),
    (["--base-url", "http://localhost:1"], "--base-url is for API backends"),
    (["--max-new-tokens", "999999999"], "leaves no room for a question"),
    (["--out", ""], "--out is empty"),
    (["--out", "a" * 300], "no usable name for a folder"),
    (["--out", "/proc/r"], "cannot be "),
    (["--dtype", "int3"], "expected one of float32"),
    (["--device", "warp9"], "not usable here"),
    (["--device", "meta"], "not usable here"),
    (["--model", "no/such/model/here"], "no such folder"),
    (["--model", "gtp:x"], "no backend 'gtp'"),
    (["--out", "/dev/null/x"], "cannot be written"),
    (["--split", "tset"], "tset"),
    (["--colour", "red"], "unrecognized arguments"),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES,
                         ids=[" ".join(map(str, change))[:40] for change, _ in MISTAKES])
def test_mistakes_are_one_line_and_exit_2(tiny, data_root, tmp_path, capsys, monkeypatch, change, message):
    monkeypatch.delenv("PATHVLM_DATA", raising=False)
    given = {"--model": str(tiny), "--data": str(data_root), "--tasks": "ct", "--out": str(tmp_path / "r"),
             "--max-new-tokens": "2"}
    given[change[0]] = change[1]
    code, out, err = call([part for pair in given.items() if pair[1] is not None for part in pair], capsys)
    lines = [line for line in err.splitlines() if not line.endswith("manifest.json lists them")]
    assert code == 2 and out == "" and len(lines) == 1, err
    assert lines[0].startswith("error: ") and message in lines[0]
    assert not (tmp_path / "r").exists(), "nothing half-written"


def test_a_checkpoint_whose_chat_template_fails_leaves_no_folder_behind(tiny, data_root, tmp_path, capsys):
    import shutil

    copy = tmp_path / "tiny"
    shutil.copytree(tiny, copy)
    (copy / "chat_template.jinja").write_text("{{ raise_exception('text only') }}")
    code, _, err = call(["--model", str(copy), "--data", str(data_root), "--tasks", "ct", "--out", str(tmp_path / "r")],
                        capsys)
    assert code == 2 and "no chat template that works (text only)" in err and not (tmp_path / "r").exists()


def test_a_folder_where_a_file_should_be_is_one_line(tiny, data_root, tmp_path, capsys):
    (tmp_path / "r" / "samples.jsonl").mkdir(parents=True)
    code, _, err = call(["--model", str(tiny), "--data", str(data_root), "--tasks", "ct", "--max-new-tokens", "2",
                         "--out", str(tmp_path / "r")], capsys)
    assert code == 2 and err.splitlines()[-1].startswith("error: cannot write") and "Traceback" not in err


def test_a_checkpoint_that_moved_is_the_same_run_under_its_first_name(tiny, data_root, tmp_path):
    import shutil

    moved, out = tmp_path / "moved", tmp_path / "r"
    shutil.copytree(tiny, moved)
    given = ["--data", str(data_root), "--tasks", "ct", "--max-new-tokens", "2", "--out", str(out), "--quiet"]
    run.main(["--model", str(tiny), *given])
    before = (out / "results.csv").read_bytes()
    run.main(["--model", str(moved), *given])
    assert (out / "results.csv").read_bytes() == before


def test_the_manifest_says_how_a_resumed_part_was_executed(tiny, data_root, tmp_path, monkeypatch):
    out = tmp_path / "r"
    given = ["--model", str(tiny), "--data", str(data_root), "--tasks", "ct", "--max-new-tokens", "2", "--quiet",
             "--out", str(out)]
    run.main(given)
    whole = (out / "samples.jsonl").read_bytes()
    for parts, versions in ((None, {}), (1, {"torch": "9"}), (1, {"torch": "9"}), (2, {"torch": "10"})):
        if versions:
            (out / "samples.jsonl").write_bytes(whole.partition(b"\n")[0] + b"\n")
            monkeypatch.setattr(run.manifest, "versions", lambda found=versions: found)
        run.main(given)
        stored = json.loads((out / "manifest.json").read_text())
        assert len(stored.get("continued", ())) == (parts or 0) and stored["versions"].get("platform")
    assert [part["versions"]["torch"] for part in stored["continued"]] == ["9", "10"]


def test_an_unwritable_folder_and_a_file_in_its_place_are_named(tiny, data_root, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    code, _, err = call(["--model", str(tiny), "--data", str(data_root), "--tasks", "ct", "--out",
                         str(tmp_path / "file")], capsys)
    assert code == 2 and "is a file" in err and (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_is_one_line_and_resumable(tiny, data_root, tmp_path, capsys, monkeypatch):
    from bench import journal

    arguments = ["--model", str(tiny), "--data", str(data_root), "--tasks", "ct", "--max-new-tokens", "4", "--quiet",
                 "--out", str(tmp_path / "r")]
    append = journal.Journal.append

    def full(self, row):
        if len(self.done) >= 3:
            raise OSError(28, "No space left on device", "samples.jsonl")
        append(self, row)

    monkeypatch.setattr(journal.Journal, "append", full)
    code, _, err = call(arguments, capsys)
    assert code == 2 and err.startswith("error: cannot write (samples.jsonl): No space left") and err.count("\n") == 1
    assert len(rows(tmp_path / "r")) == 3
    monkeypatch.setattr(journal.Journal, "append", append)
    run.main(arguments)
    assert len(rows(tmp_path / "r")) == 6


def test_ctrl_c_is_130_and_resumable(tiny, data_root, tmp_path, capsys, monkeypatch):
    from bench import journal

    arguments = ["--model", str(tiny), "--data", str(data_root), "--tasks", "ct", "--max-new-tokens", "4", "--quiet",
                 "--out", str(tmp_path / "r")]
    append = journal.Journal.append

    def interrupted(self, row):
        append(self, row)
        raise KeyboardInterrupt

    monkeypatch.setattr(journal.Journal, "append", interrupted)
    code, _, err = call(arguments, capsys)
    assert code == 130 and "run the same command again" in err
    monkeypatch.setattr(journal.Journal, "append", append)
    run.main(arguments)
    assert len(rows(tmp_path / "r")) == 6


def test_a_task_without_a_usable_row_is_an_error(tiny, data_root, tmp_path, write_file, capsys):
    write_file(tmp_path / "d" / "pathmmu" / "data.json", {"PubMed": {"test": [{"No": 1, "img": "x.png", "question": "q",
               "options": ["A) a", "B) b"], "answer": "A"}]}})
    (tmp_path / "d" / "pathmmu" / "images").mkdir()
    code, _, err = call(["--model", str(tiny), "--data", str(tmp_path / "d"), "--tasks", "path", "--out",
                         str(tmp_path / "r")], capsys)
    assert code == 2 and "no usable row" in err and "missing image" in err


def test_help_is_quick_and_imports_nothing_heavy():
    probe = ("import sys, runpy; sys.argv = ['bench.run', '--help']\n"
             "try: runpy.run_module('bench.run', run_name='__main__')\n"
             "except SystemExit: pass\n"
             "print([name for name in ('torch', 'transformers', 'lm_eval', 'numpy', 'pandas') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "examples:" in done.stdout and done.stdout.strip().endswith("[]")


def test_rows_that_failed_can_be_asked_again(tiny, data_root, tmp_path, monkeypatch):
    from bench.models.hf import HFModel
    from rewards.types import Completion

    arguments = ["--model", str(tiny), "--data", str(data_root), "--tasks", "ct", "--max-new-tokens", "4", "--quiet",
                 "--out", str(tmp_path / "r")]
    generate = HFModel.generate

    def failing(self, requests):
        yield from ((index, Completion("", "error", error="lost") if index == 1 else answer)
                    for index, answer in generate(self, requests))

    monkeypatch.setattr(HFModel, "generate", failing)
    run.main(arguments)
    bad = [row for row in rows(tmp_path / "r") if row["finish_reason"] == "error"]
    assert len(bad) == 1 and bad[0]["parsed"] is None and bad[0]["correct"] is None
    assert any("no answer" in text for text in json.loads((tmp_path / "r" / "manifest.json").read_text())["warnings"])
    monkeypatch.setattr(HFModel, "generate", generate)
    run.main(arguments)
    assert sum(row["finish_reason"] == "error" for row in rows(tmp_path / "r")) == 1, "kept unless asked for"
    run.main([*arguments, "--retry-errors"])
    assert not [row for row in rows(tmp_path / "r") if row["finish_reason"] == "error"]


def test_two_suites_of_names_do_not_leak_paths_into_prompts(finished, data_root):
    for row in rows(finished):
        assert row["id"] not in row["question"] and str(data_root) not in json.dumps(row["question"])


@pytest.mark.parametrize(("arguments", "message"), [
    ({}, "no model given"),
    ({"pretrained": "x", "batch_size": "auto"}, "no whole number"),
    ({"pretrained": "x", "max_pixels": "many"}, "no whole number"),
    ({"pretrained": "x", "colour": "red"}, "unknown model argument"),
    ({"pretrained": "x"}, "no such folder"),
])
def test_wrong_model_arguments_in_lm_eval_are_named(arguments, message):
    from bench.harness import PathVLM

    with pytest.raises(UserError, match=message):
        PathVLM(**arguments)


@pytest.mark.slow
def test_lm_eval_gives_the_accuracy_of_bench_run(talkative, data_root, tmp_path):
    tasks_folder = Path(run.__file__).parent.parent / "tasks"
    done = subprocess.run(
        [sys.executable, "-m", "bench.lm_eval", "run", "--model", "pathvlm", "--model_args",
         f"pretrained={talkative},dtype=float32", "--include_path", str(tasks_folder),
         "--tasks", "path,ct,derm,fundus,oct", "--metadata", json.dumps({"data": str(data_root)}), "--gen_kwargs",
         "max_gen_toks=48", "--batch_size", "4", "--output_path", str(tmp_path / "h"), "--log_samples"],
        capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(next((tmp_path / "h").rglob("results_*.json")).read_text())["results"]
    run.main(["--model", str(talkative), "--data", str(data_root), "--tasks", "all", "--max-new-tokens", "48",
              "--dtype", "float32", "--device", "cpu", "--quiet", "--out", str(tmp_path / "r")])
    with (tmp_path / "r" / "results.csv").open() as lines:
        ours = [row for row in csv.DictReader(lines) if row["metric"] == "accuracy" and not row["by"]
                and row["task"] in found]
    assert len({row["task"] for row in ours}) == 5
    for row in ours:
        assert found[row["task"]][f"accuracy_{row['contract']},none"] == pytest.approx(float(row["value"]), abs=1e-5)
    texts = {(row["task"], row["id"]): row["completion"] for row in rows(tmp_path / "r")}
    for path in (tmp_path / "h").rglob("samples_*.jsonl"):
        for line in path.read_text().splitlines():
            logged = json.loads(line)
            assert logged["resps"][0][0] == texts[logged["doc"]["task"], logged["doc"]["id"]]


def test_judges_leave_their_name_their_scores_and_thumbnails_for_the_leaderboard(tiny, tmp_path):
    arguments = ["--model", str(tiny), "--data", "phantom", "--tasks", "ct", "--limit", "4", "--max-new-tokens", "4",
                 "--controls", "blind", "--quiet", "--out", str(tmp_path / "r"), "--judge", "rules"]
    run.main(arguments)
    scores = [json.loads(line) for line in (tmp_path / "r" / "scores.jsonl").read_text().splitlines()]
    assert len(scores) == 4 and {score["condition"] for score in scores} == {"plain"}, "controls are not judged"
    told = json.loads((tmp_path / "r" / "manifest.json").read_text())["rewards"]
    assert [entry["fingerprint"] for entry in told] == [scores[0]["fingerprint"]]
    assert told[0]["reward"] == "dual" and told[0]["judge"]["backend"].startswith("rules")
    images = {row["image_sha256"] for row in rows(tmp_path / "r")}
    assert {path.stem for path in (tmp_path / "r" / "thumbnails").iterdir()} == images
    before = (tmp_path / "r" / "scores.jsonl").read_bytes()
    run.main(arguments[:-2])  # without a judge: earlier scores stay
    assert (tmp_path / "r" / "scores.jsonl").read_bytes() == before
    assert json.loads((tmp_path / "r" / "manifest.json").read_text())["rewards"] == told


def test_the_judge_that_trained_a_checkpoint_is_named(tiny, tmp_path, capsys):
    import shutil

    from rewards import load

    trained = tmp_path / "trained"
    shutil.copytree(tiny, trained)
    (trained / "manifest.json").write_text(json.dumps({"reward": {"judge": load("dual", "rules").judge_identity}}))
    run.main(["--model", str(trained), "--data", "phantom", "--tasks", "ct", "--limit", "2", "--max-new-tokens", "2",
              "--out", str(tmp_path / "r"), "--judge", "rules"])
    assert "judged this checkpoint during training" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert any("no independent evidence" in text for text in manifest["warnings"])
