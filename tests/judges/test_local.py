"""The local backend on a tiny random Qwen2.5-VL: replies fit the schema, batches change nothing, weights decide."""

import asyncio
import io
import json
import math
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from rewards.errors import UserError
from rewards.judges import protocols, resolve
from rewards.judges.constrained import Choice, LocalModel, Text, template
from tasks.images import FileImage, MemoryImage


@dataclass(frozen=True)
class Noise:
    """PNG bytes of coloured noise."""

    seed: int
    size: tuple[int, int]

    def __call__(self) -> bytes:
        random = np.random.default_rng(self.seed)
        out = io.BytesIO()
        Image.fromarray(random.integers(0, 255, (*self.size, 3), dtype=np.uint8)).save(out, "PNG")
        return out.getvalue()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from bench.tiny import Shape, build

    folder = tmp_path_factory.mktemp("tiny")
    build(folder, Shape(initializer_range=0.3), seed=1)  # wide enough that no probability is 0 or 1
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


def test_images_are_placed_as_the_model_itself_places_them_and_change_the_verdict(checkpoint, case):
    import torch

    protocol = protocols.load("paper", image=True)
    pictures = [MemoryImage(Noise(n, size)) for n, size in enumerate(((56, 56), (140, 84), (84, 112)))]
    cases = [case(f"Chain {n}. " + "pink nuclei " * (5 * n), image=picture) for n, picture in enumerate(pictures)]
    judged, _ = judge_all(f"local:{checkpoint}", cases, protocol, batch_size=5, device="cpu")
    model = LocalModel(str(checkpoint), "cpu", "auto")
    before, choice = template(protocol.schema(), protocol.expect().lattice)[:2]
    for one, answer in zip(cases, judged, strict=True):
        request = protocol.request(*one)
        text = model.prompt(request.system, request.user, image=True)
        inputs = model.processor(text=[text], images=[request.image.open()], return_tensors="pt")
        scores = []
        for option in choice.options:
            tail = model.ids(option)
            ids = torch.tensor([[*inputs["input_ids"][0].tolist(), *model.ids(before), *tail]])
            with torch.inference_mode():
                table = model.model(input_ids=ids, attention_mask=torch.ones_like(ids),
                                    pixel_values=inputs["pixel_values"], image_grid_thw=inputs["image_grid_thw"],
                                    mm_token_type_ids=(ids == model.model.config.image_token_id).int()
                                    ).logits[0].log_softmax(-1)
            scores.append(sum(float(table[-len(tail) - 1 + i, token]) for i, token in enumerate(tail)))
        total = sum(math.exp(score) for score in scores)
        got = answer.detail["probabilities"][choice.path]
        expected = [math.exp(score) / total for score in scores]
        assert 0.02 < max(expected) < 0.98, "a saturated choice would show nothing"
        assert [got[option] for option in choice.options] == pytest.approx(expected, abs=1e-4)
    moved = [case(f"Chain {n}. " + "pink nuclei " * (5 * n), image=pictures[n - 1]) for n in range(3)]
    other, _ = judge_all(f"local:{checkpoint}", moved, protocol, batch_size=5, device="cpu")
    assert all(a.detail["probabilities"] != b.detail["probabilities"] for a, b in zip(judged, other, strict=True))


def test_an_image_that_cannot_be_read_is_one_missing_verdict(checkpoint, case, tmp_path):
    (tmp_path / "gone.png").write_bytes(Noise(0, (56, 56))())
    gone = FileImage.inside(tmp_path, "gone.png")
    assert gone.sha256
    (tmp_path / "gone.png").unlink()
    cases = [case("one", image=gone), case("two", image=MemoryImage(Noise(1, (56, 56))))]
    judged, _ = judge_all(f"local:{checkpoint}", cases, protocols.load("events"), verdicts="logprobs")
    assert [one.failure for one in judged] == ["bad-image", None]


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
    blind = tmp_path / "blind"
    shutil.copytree(checkpoint, blind)
    config = json.loads((blind / "config.json").read_text())
    (blind / "config.json").write_text(json.dumps({**config["text_config"], "model_type": "qwen2"}))
    with pytest.raises(UserError, match="cannot see images; set image = false"):
        judge_all(f"local:{blind}", [case()], protocols.load("paper"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="judge local: cannot load"):
        judge_all(f"local:{tmp_path}", [case()], protocols.load("paper", image=False))
