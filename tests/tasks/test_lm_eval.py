"""The YAML tasks inside lm-eval itself: gold answers score 1.0, images stay lazy, scores equal the parser's."""

import copy
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tasks
from rewards.errors import UserError
from rewards.parse import parse
from tasks import lm_eval as ours
from tasks import prompts

FOLDER = Path(ours.__file__).parent
METRICS = ("accuracy_letter", "accuracy_strict", "accuracy_omnimed", "parse_rate", "format_rate")


@pytest.fixture(scope="module")
def manager(data_root):
    """lm-eval's task manager as `--include_path tasks --metadata '{"data": ...}'` makes it, without its own tasks."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(FOLDER), include_defaults=False,
                       metadata={"data": str(data_root), "pretrained": "some-model", "batch_size": 4})


def answer_with(text_of):
    """An lm-eval model that answers each document with `text_of(document)`."""
    from lm_eval.api.model import LM

    class Scripted(LM):
        MULTIMODAL = True

        def __init__(self):
            super().__init__()
            self.seen = []

        def generate_until(self, requests):
            self.seen.extend(requests)
            return [text_of(request.doc) for request in requests]

        def loglikelihood(self, requests):
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    return Scripted()


def run(manager, model, names=tasks.TASKS):
    from lm_eval import simple_evaluate

    return simple_evaluate(model=model, tasks=list(names), task_manager=manager, log_samples=True, bootstrap_iters=0)


def test_the_index_holds_the_five_tasks_and_their_tag(manager):
    assert set(tasks.TASKS) <= set(manager.all_tasks)
    assert "pathvlm" in manager.all_tags
    assert manager.match_tasks(["pathvlm"]) == ["pathvlm"]


def test_gold_answers_score_one_and_running_on_does_not_matter(manager, data_facts):
    model = answer_with(lambda doc: f"<think>x</think><answer>{doc['answer']}</answer>\nHuman: and then?")
    found = run(manager, model)["results"]
    for task in tasks.TASKS:
        assert found[task]["sample_len"] == data_facts.usable[task]
        assert {name: found[task][f"{name},none"] for name in METRICS} == dict.fromkeys(METRICS, 1.0)
    context, settings, extra = model.seen[0].args
    assert context.startswith("<image>Which finding")
    assert settings == {"until": [], "do_sample": False, "temperature": 0.0, "max_gen_toks": 1024}
    assert len(extra["visual"]) == 1


def test_other_answers_score_as_the_parser_reads_them(manager, data_root):
    texts = ["", "B", "<answer>A</answer>", "<think>never closed", "The answer is B.", "<think>a</think><answer>B) x"]
    samples = tasks.load("path", data_root)
    spoken = {s.id: texts[i % len(texts)] for i, s in enumerate(samples)}
    found = run(manager, answer_with(lambda doc: spoken[doc["id"]]), ["path"])
    parsed = [parse(spoken[s.id], s.options) for s in samples]
    for name in ("strict", "letter", "omnimed"):
        right = [p.letters[name] == s.answer_letter for p, s in zip(parsed, samples, strict=True)]
        assert found["results"]["path"][f"accuracy_{name},none"] == pytest.approx(np.mean(right))
    by_id = {row["doc"]["id"]: row for row in found["samples"]["path"]}
    assert [by_id[s.id]["parse_rate"] for s in samples] == [p.letters["letter"] is not None for p in parsed]


def test_the_prompt_is_the_one_of_every_other_backend(data_root):
    docs = ours.dataset("ct", data=str(data_root))["test"]
    samples = tasks.load("ct", data_root)
    assert [ours.doc_to_text(doc) for doc in docs] == ["<image>" + prompts.render(s) for s in samples]
    assert [doc["id"] for doc in docs] == [s.id for s in samples]
    assert docs.features.keys() == docs[0].keys()


def test_data_comes_from_metadata_or_the_environment(data_root, monkeypatch):
    monkeypatch.delenv("PATHVLM_DATA", raising=False)
    with pytest.raises(UserError, match="task oct needs a data source: add --metadata"):
        ours.dataset("oct", pretrained="x")
    monkeypatch.setenv("PATHVLM_DATA", str(data_root))
    assert len(ours.dataset("oct")["test"]) == 6
    monkeypatch.setenv("PATHVLM_SPLIT", "all")
    assert len(ours.dataset("path")["test"]) == 14
    assert len(ours.dataset("path", split="val")["test"]) == 3


def test_no_usable_row_is_an_error(tmp_path, write_file):
    write_file(tmp_path / "pathmmu" / "data.json", {"Atlas": {"test": [{"No": 1}]}})
    with pytest.raises(UserError, match=r"task path has no usable row in .*no question"):
        ours.dataset("path", data=str(tmp_path))


@pytest.mark.parametrize(("text", "cut"), [
    ("", ""), ("no tag", "no tag"), ("<answer>B", "<answer>B"), ("<answer>B</answer>", "<answer>B</answer>"),
    ("<answer>B</answer> <answer>A</answer>", "<answer>B</answer>"),
])
def test_text_is_read_up_to_the_first_closing_tag(text, cut):
    assert ours.up_to_answer(text) == cut


@pytest.fixture
def lazy(data_root):
    sample = tasks.load("ct", data_root)[0]
    return ours.LazyImage(sample.image), sample.image.open()


def test_a_lazy_image_does_what_an_image_does(lazy):
    image, real = lazy
    assert isinstance(image, Image.Image)
    assert (image.size, image.mode, image.width) == (real.size, "RGB", real.width)
    assert (np.asarray(image) == np.asarray(real)).all()
    for change in (lambda i: i.convert("L"), lambda i: i.resize((9, 7)), lambda i: i.crop((1, 2, 9, 9)),
                   lambda i: i.copy(), lambda i: i.convert("RGB"), lambda i: i.rotate(90), lambda i: i.split()[0]):
        assert change(image).tobytes() == change(real).tobytes()
    assert image.getpixel((3, 3)) == real.getpixel((3, 3))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    assert (np.asarray(Image.open(buffer)) == np.asarray(real)).all()


def test_a_lazy_image_travels_and_is_logged_by_content(lazy):
    image, real = lazy
    for again in (pickle.loads(pickle.dumps(image)), copy.deepcopy(image)):
        assert again.tobytes() == real.tobytes()
    assert len(pickle.dumps(image)) < 2000
    assert str(image) == f"<image sha256:{image.source.sha256}>"


def test_a_lazy_image_keeps_no_pixels(tmp_path, draw, write_file):
    import tracemalloc

    from tasks.images import FileImage

    write_file(tmp_path / "a.png", draw(1, size=(1500, 1500)))
    image = ours.LazyImage(FileImage.inside(tmp_path, "a.png"))
    np.asarray(image)
    tracemalloc.start()
    image.convert("L").tobytes()
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 50_000
    assert peak > 1_000_000
    assert image._im is None
