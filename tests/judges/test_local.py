"""The local backend on a tiny random Qwen2.5-VL: replies fit the schema, batches change nothing, weights decide."""

import asyncio
import json
import math
import shutil

import pytest

from rewards.errors import UserError
from rewards.judges import protocols, resolve
from rewards.judges.constrained import Choice, LocalModel, Text, template


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from bench.tiny import build

    folder = tmp_path_factory.mktemp("tiny")
    build(folder, seed=1)
    return folder


def judge_all(reference, cases, protocol, **settings):
    async def run():
        async with resolve(reference, **settings) as judge:
            return await asyncio.gather(*(protocol.judge(judge, *one) for one in cases)), judge

    return asyncio.run(run())


def test_a_template_has_a_gap_for_each_value_and_evidence_before_the_verdict():
    protocol = protocols.load("events")
    pieces = template(protocol.schema(), None)
    gaps = [piece for piece in pieces if not isinstance(piece, str)]
    assert [type(gap) for gap in gaps] == [Text, Choice] * 6
    filled = "".join(p if isinstance(p, str) else "q" if isinstance(p, Text) else p.options[0] for p in pieces)
    assert json.loads(filled)["contradiction"] == {"evidence": "q", "verdict": "yes"}
    paper = protocols.load("paper")
    assert [gap.options for gap in template(paper.schema(), paper.expect().lattice) if isinstance(gap, Choice)] == [
        ("1.0", "0.6", "0.2", "0.0")
    ] * 2


@pytest.mark.parametrize("name", sorted(protocols.PROTOCOLS))
def test_even_a_random_model_gives_valid_verdicts_in_every_protocol(name, checkpoint, case):
    protocol = protocols.load(name, image=False, max_chars=300)
    cases = [case(f"Chain {n}. " + "pink nuclei " * n) for n in range(3)]
    judged, _ = judge_all(f"local:{checkpoint}", cases, protocol, evidence_tokens=4, batch_size=2)
    assert [one.failure for one in judged] == [None] * 3
    assert all(one.detail["rung"] == "json" and one.detail["model"].startswith("local:") for one in judged)
    assert all(one.detail["tokens_in"] > 100 and one.detail["calls"] == 1 for one in judged)
    lattice = protocol.expect().lattice
    if lattice:
        assert all(value in lattice for one in judged for value in one.values.values())


def test_log_probabilities_are_those_of_one_plain_forward_pass_and_padding_changes_nothing(checkpoint, case):
    import torch

    protocol = protocols.load("events", image=False)
    cases = [case(f"Chain {n}. " + "pink nuclei " * (5 * n)) for n in range(3)]
    judged, _ = judge_all(f"local:{checkpoint}", cases, protocol, verdicts="logprobs", batch_size=5)
    model = LocalModel(str(checkpoint), "cpu", "auto")
    for one, answer in zip(cases, judged, strict=True):
        request = protocol.request(*one)
        assert all(text == "" for text in answer.detail["evidence"].values())
        head = model.ids(model.prompt(request.system, request.user))
        for piece in template(protocol.schema(), None):
            if isinstance(piece, str):
                head += model.ids(piece)
            elif isinstance(piece, Choice):
                scores = []
                for option in piece.options:
                    tail = model.ids(option)
                    with torch.inference_mode():
                        table = model.model(input_ids=torch.tensor([head + tail])).logits[0].log_softmax(-1)
                    scores.append(sum(float(table[len(head) + i - 1, token]) for i, token in enumerate(tail)))
                expected = math.exp(scores[0]) / (math.exp(scores[0]) + math.exp(scores[1]))
                got = answer.detail["probabilities"][piece.path]
                assert got["yes"] == pytest.approx(expected, abs=2e-5) and got["yes"] + got["no"] == pytest.approx(1)
                name = piece.path.split("/")[0]
                assert answer.values[name] is (got["yes"] >= got["no"])
                head += model.ids("yes" if answer.values[name] else "no")
                if name == "knowledge_cited":
                    break  # three gaps, two of them after uneven rows; the plain pass is slow


def test_rows_of_a_batch_do_not_touch_each_other_even_when_they_grow_unevenly(checkpoint, case):
    protocol = protocols.load("events", image=False)
    cases = [case(f"Chain {n}. " + "pink nuclei " * (7 * n)) for n in range(3)]
    together, _ = judge_all(f"local:{checkpoint}", cases, protocol, evidence_tokens=3, batch_size=3)
    compared = 0
    for one, other in zip(cases, together, strict=True):
        (alone,), _ = judge_all(f"local:{checkpoint}", [one], protocol, evidence_tokens=3)
        if alone.detail["evidence"] == other.detail["evidence"]:  # a tie in the last bit may end differently
            compared += 1
            for path, probabilities in alone.detail["probabilities"].items():
                assert other.detail["probabilities"][path] == pytest.approx(probabilities, abs=1e-4)
    assert compared


def test_the_key_follows_the_weights_not_the_folder(checkpoint, case, tmp_path):
    request = protocols.load("paper", image=False).request(*case())
    copy = tmp_path / "copy"
    shutil.copytree(checkpoint, copy)
    same = resolve(f"local:{checkpoint}").key(request)
    assert resolve(f"local:{copy}").key(request) == same, "the same weights elsewhere"
    assert resolve(f"local:{copy}", batch_size=3).key(request) == same, "speed settings decide nothing"
    assert resolve(f"local:{copy}", verdicts="logprobs").key(request) != same
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert resolve(f"local:{copy}").key(request) != same, "other weights in the same folder"


def test_mistakes_are_told_in_one_line(case, tmp_path, checkpoint):
    with pytest.raises(UserError, match="verdicts is 'guess', expected one of choice, logprobs"):
        resolve("local:x", verdicts="guess")
    with pytest.raises(UserError, match="batch_size is 0"):
        resolve("local:x", batch_size=0)
    with pytest.raises(UserError, match="cannot see images; set image = false"):
        judge_all(f"local:{checkpoint}", [case()], protocols.load("paper"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="judge local: cannot load"):
        judge_all(f"local:{tmp_path}", [case()], protocols.load("paper", image=False))
