"""A server that goes wrong in 30 % of its answers, processes that die, a key that is refused."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import pytest

from rewards.errors import UserError
from rewards.judges import RESUMABLE, protocols, resolve

PROGRAM = Path(__file__).parent / "run_judge.py"
VENDORS = {"openai": "openai:gpt-test@{url}/v1", "anthropic": "anthropic:claude-test@{url}"}
NETWORK = ("429", "429-retry-after", "500", "529", "reset", "hang", "drip", "truncated-body", "html", "empty",
           "wrong-envelope")
REASONS = {"refusal", "truncated", "missing-keys"}  # what is left when the re-ask meets a second bad reply


def judge_all(reference, cases, **settings):
    protocol = protocols.load("events")

    async def run():
        settings_ = {"concurrency": 32, "timeout_s": 2.5, "backoff_s": 0.05, **settings}
        async with resolve(reference, **settings_) as judge:
            return await asyncio.gather(*(protocol.judge(judge, *one) for one in cases)), judge

    return asyncio.run(run())


@pytest.mark.slow
@pytest.mark.parametrize("vendor", sorted(VENDORS))
def test_with_30_percent_faults_every_score_is_the_fault_free_one_or_missing_with_its_reason(
    vendor, judge_server, case, keys, tmp_path
):
    cases = [case(f"Chain {n}: pink nuclei are seen, A is excluded.", n=n) for n in range(300)]
    with judge_server.JudgeServer() as server:
        truth, _ = judge_all(VENDORS[vendor].format(url=server.url), cases)
    assert all(one.failure is None for one in truth)
    # a whole reply without a verdict gets one re-ask, so the share that stays missing is the square of theirs
    kinds = NETWORK * 2 + judge_server.DELIVERED
    with judge_server.JudgeServer(faults=0.3, kinds=kinds) as server:
        reference = VENDORS[vendor].format(url=server.url)
        judged, _ = judge_all(reference, cases, cache=tmp_path / "c.sqlite", ledger=tmp_path / "l.jsonl")
        stats = server.stats()
        again, _ = judge_all(reference, cases, cache=tmp_path / "c.sqlite")
        assert [one.values for one in again] == [one.values for one in judged]
        assert server.stats()["requests"] == stats["requests"], "nothing is asked twice"
    wrong = [n for n, one in enumerate(judged) if one.values is not None and one.values != truth[n].values]
    missing = [one for one in judged if one.values is None]
    assert wrong == []
    assert len(missing) <= 0.01 * len(cases), Counter(one.failure for one in missing)
    assert {one.failure for one in missing} <= REASONS
    assert set(judge_server.FAULTS) <= set(stats["outcomes"]), "every kind of fault was met"
    assert stats["asked_after_delivery"] == 0
    outcomes = Counter(json.loads(line)["outcome"] for line in (tmp_path / "l.jsonl").read_text().splitlines())
    assert sum(outcomes.values()) == stats["requests"], "the ledger has a line for every attempt"
    assert outcomes["ok"] == stats["delivered"]


@pytest.mark.parametrize("vendor", sorted(VENDORS))
@pytest.mark.parametrize(
    "fault, failure",
    [("429", "rate-limited"), ("500", "server-error"), ("529", "overloaded"), ("reset", "connection"),
     ("hang", "timeout"), ("drip", "timeout"), ("truncated-body", "bad-response"), ("html", "bad-response"),
     ("empty", "bad-response"), ("wrong-envelope", "bad-response"), ("refusal", "refusal"),
     ("truncated-verdict", "truncated"), ("wrong-verdict", "missing-keys")],
)
def test_each_fault_has_its_name_when_nothing_else_comes(vendor, fault, failure, judge_server, case, keys):
    with judge_server.JudgeServer(faults=1, kinds=(fault,)) as server:
        patience = 0.2 if fault in ("hang", "drip") else 20
        (judged,), _ = judge_all(VENDORS[vendor].format(url=server.url), [case()], max_attempts=2, backoff_s=0.01,
                                 timeout_s=patience)
        assert (judged.values, judged.failure) == (None, failure)
        assert server.requests == 2, "two attempts, or the first ask and the one re-ask"
    assert (failure in RESUMABLE) == (fault in NETWORK)


def test_a_server_that_is_not_there_gives_missing_with_the_reason(case, keys):
    (judged,), _ = judge_all("openai:m@http://127.0.0.1:9/v1", [case()], max_attempts=2, backoff_s=0.01)
    assert (judged.values, judged.failure) == (None, "connection")


def program(reference, n, folder, *more):
    """stderr is quiet: a debug log that nobody reads would fill its pipe and stop the program."""
    files = [str(folder / "c.sqlite"), str(folder / "l.jsonl")]
    command = [sys.executable, str(PROGRAM), reference, str(n), *files, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_lines(path, n, process):
    deadline = time.monotonic() + 30
    while not path.exists() or len(path.read_text().splitlines()) < n:
        assert process.poll() is None and time.monotonic() < deadline, "the program did not get going"
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle_and_resumed_nothing_finished_is_paid_again(how, judge_server, keys, tmp_path):
    with judge_server.JudgeServer(latency_s=0.1) as server:
        reference = VENDORS["openai"].format(url=server.url)
        first = program(reference, 60, tmp_path, "4")
        wait_for_lines(tmp_path / "l.jsonl", 12, first)
        first.send_signal(how)
        _, errors = first.communicate(timeout=20)
        assert first.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL), errors[-2000:]
        if how == signal.SIGINT:
            assert "Traceback" not in errors.rpartition("interrupted:")[2]
        finished = sum(json.loads(line)["outcome"] == "ok" for line in (tmp_path / "l.jsonl").read_text().splitlines())
        assert 12 <= finished < 60
        started = time.monotonic()
        second = program(reference, 60, tmp_path, "16")
        out, errors = second.communicate(timeout=30)
        assert time.monotonic() - started < 10, "claims of a dead process must not be waited for"
        result = json.loads(out)
        assert result["failures"] == [None] * 60, errors[-2000:]
        assert result["cached"] >= finished and result["calls"] == 60 - result["cached"]
        assert server.requests <= 60 + 4, "at most the calls in flight are repeated"


def test_two_processes_on_one_cache_make_no_error_and_no_double_call(judge_server, keys, tmp_path):
    with judge_server.JudgeServer(latency_s=0.05) as server:
        reference = VENDORS["anthropic"].format(url=server.url)
        both = [program(reference, 80, tmp_path) for _ in range(2)]
        results = []
        for one in both:
            out, errors = one.communicate(timeout=60)
            assert one.returncode == 0, errors[-2000:]
            results.append(json.loads(out))
        assert results[0]["values"] == results[1]["values"] and None not in results[0]["values"]
        assert results[0]["calls"] + results[1]["calls"] == 80
        assert server.requests == server.stats()["distinct"] == 80


@pytest.mark.parametrize("vendor", sorted(VENDORS))
def test_a_bad_key_is_one_clear_error_within_two_seconds(vendor, judge_server, keys, tmp_path):
    with judge_server.JudgeServer(latency_s=0.2, key="another key") as server:
        # the interpreter and the SDK take their time to start; what counts is the time after that
        script = f"import {vendor}, time, sys; sys.path.insert(0, {str(PROGRAM.parent)!r}); import run_judge; " \
                 "from rewards.errors import run_cli\nstarted = time.monotonic()\ntry:\n run_cli(run_judge.main)\n" \
                 "finally: print('seconds', time.monotonic() - started)"
        done = subprocess.run(
            [sys.executable, "-c", script, VENDORS[vendor].format(url=server.url), "1000", str(tmp_path / "c.sqlite"),
             str(tmp_path / "l.jsonl")], capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "JUDGE_TEST_DEBUG": "1"},
        )
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2 and len(errors) == 1 and "Traceback" not in done.stderr
    assert f"refuses the key of judge {vendor}:" in errors[0] and f"set {vendor.upper()}_API_KEY" in errors[0]
    assert float(done.stdout.split("seconds")[1]) < 2.0
    assert server.requests <= 16, "no more than were in flight when the answer came"
    everything = done.stdout + done.stderr + (tmp_path / "l.jsonl").read_text()
    assert not any(key in everything for key in keys), "the server repeats the key in its answer, we do not"


def test_keys_are_nowhere(judge_server, case, keys, tmp_path, caplog):
    caplog.set_level("DEBUG")
    seen = []
    with judge_server.JudgeServer(faults=0.5, seed=3) as server:
        for vendor, reference in VENDORS.items():
            judged, judge = judge_all(
                reference.format(url=server.url), [case(f"{n}") for n in range(20)], timeout_s=0.3,
                cache=tmp_path / f"{vendor}.sqlite", ledger=tmp_path / f"{vendor}.jsonl",
            )
            seen += [repr(judge), repr(judge.backend), str(judge.identity()), repr(vars(judge.backend)), repr(judged)]
    with judge_server.JudgeServer(key="another key") as server:
        for reference in VENDORS.values():
            try:
                judge_all(reference.format(url=server.url), [case()])
            except UserError as problem:  # every text that this exception and its causes carry
                problem.__traceback__ = problem.__traceback__.tb_next  # this function holds the keys itself
                seen += traceback.TracebackException.from_exception(problem, capture_locals=True).format(chain=True)
    seen.append(caplog.text)
    texts = "\n".join(seen).encode() + b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"refuses the key" in texts and b"rate-limited" in texts and len(list(tmp_path.iterdir())) >= 4
    for key in keys:
        assert key.encode() not in texts
