"""report.html: the right answers are shown, hostile text stays text, the page is bounded and asks for nothing."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from bench.aggregate import aggregate
from bench.report import SHOWN, clip, pick, render_report, write_report
from bench.runfolder import read_jsonl
from bench.synthetic import answer_row, manifest_of, write_run
from bench.thumbnail import thumbnail
from rewards.errors import ImageProblem
from rewards.types import CONTRACTS

PAYLOADS = json.loads((Path(__file__).parents[1] / "leaderboards" / "payloads.json").read_text("utf-8"))
VOID = {"meta", "img", "br", "hr", "input", "link", "rect", "ellipse"}
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "a", "header", "h1", "h2", "h3", "h4", "p", "bdi", "nav", "main",
    "section", "ul", "ol", "li", "div", "table", "thead", "tbody", "tr", "th", "td", "span", "svg", "rect", "ellipse",
    "em", "b", "article", "figure", "img", "pre", "details", "summary",
}


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], [], []
        self.feed(text)
        assert self.open == [], self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def png(width=640, height=480, colour="tan"):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def render(rows, **kwargs):
    return render_report(rows=aggregate(rows, model="m", resamples=200), samples=rows,
                         manifest=manifest_of("m", {"ct": len(rows)}, "omnimedvqa", 0), **kwargs)


def sample(number, right, **changes):
    return answer_row("ct", number, right, suite="omnimedvqa", group=f"g{number}", **changes)


def test_the_page_shows_summary_warnings_provenance_and_the_wrong_answers():
    rows = [sample(i, i != 3, finish_reason="length" if i == 4 else "stop") for i in range(10)]
    page = Page(render(rows, image=lambda row: png()))
    text = " ".join(page.text)
    assert "90.0 [" in text
    assert "10.0% of the answers were cut off" in text
    assert "ct-00003" in text
    assert "ct-00005" not in text
    assert "data.ct.data_sha256" in text
    pictures = [v for t, n, v in page.attributes if t == "img" and n == "src"]
    assert len(pictures) == 1
    jpeg = base64.b64decode(pictures[0].removeprefix("data:image/jpeg;base64,"))
    assert Image.open(io.BytesIO(jpeg)).size == (320, 240)


def test_no_script_no_foreign_address_and_a_policy_that_allows_only_its_own_style():
    page = Page(render([sample(0, False)], image=lambda row: png()))
    policy = next(v for t, n, v in page.attributes if n == "content" and v.startswith("default-src"))
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not [t for t in page.tags if t in ("script", "link", "iframe")]
    assert all(v.startswith(("#", "data:image/jpeg")) for t, n, v in page.attributes if n in ("href", "src"))


def test_hostile_text_in_every_field_stays_text():
    rows = [
        sample(i, False, id=f"{i}{text}", question=text, options=[text, text + "2"], answer_index=0, subset=text,
               question_type=text, condition="plain", completion=text, error=None,
               parsed={"think": text, "answer": text, "well_formed": True, "letters": dict.fromkeys(CONTRACTS, "B"),
                       "problem": text})
        for i, text in enumerate(PAYLOADS)
    ]
    assert len(PAYLOADS) >= 80
    for start in range(0, len(rows), SHOWN):
        part = rows[start : start + SHOWN]
        scores = [{"id": r["id"], "task": "ct", "condition": "plain", "fingerprint": r["question"], "total": 1.0,
                   "scores": [{"part": "p", "value": 0.2, "reason": r["question"], "failure": None}]} for r in part]
        results = aggregate(part, model=part[0]["question"], scores=scores, resamples=50)
        text = render_report(rows=results, samples=part, scores=scores, image=lambda row: None,
                             manifest={"config": {part[0]["question"]: part[-1]["question"]},
                                       "warnings": [part[0]["question"]]})
        page = Page(text)
        assert set(page.tags) <= ALLOWED
        assert not [a for a in page.attributes if a[1].startswith("on") or a[1] == "style"]
        assert not [a for a in page.attributes if a[1] in ("href", "src") and not a[2].startswith("#")]
        assert not set(text) & set("\u202e\u202d\u2066\u200f\u200b\x1b\x00\x07\x9b\u2028\ufeff")
        text.encode("utf-8")


def test_disputed_answers_are_those_where_contracts_or_the_reward_disagree():
    rows = [sample(i, True) for i in range(6)]
    rows[1]["correct"] = {"strict": False, "letter": True, "omnimed": True}
    rows[2]["correct"] = dict.fromkeys(CONTRACTS, False)
    rows[3]["correct"] = dict.fromkeys(CONTRACTS, False)
    liked = {("ct", "plain", "ct-00002"): {"scores": [{"part": "p", "value": 0.9}]},
             ("ct", "plain", "ct-00003"): {"scores": [{"part": "p", "value": None}]},
             ("ct", "plain", "ct-00004"): {"scores": [{"part": "p", "value": 0.1}]}}
    worst, disputed = pick(rows, liked)
    assert [r["id"] for r in worst] == ["ct-00003"]
    assert {r["id"] for r in disputed} == {"ct-00001", "ct-00002", "ct-00004"}


def test_the_choice_is_bounded_fair_to_tasks_and_blind_to_order():
    rows = [sample(i, False) for i in range(400)]
    rows += [answer_row("derm", i, False, suite="omnimedvqa", group=f"d{i}") for i in range(5)]
    worst, disputed = pick(rows)
    assert (len(worst), len(disputed)) == (SHOWN, 0)
    assert sum(r["task"] == "derm" for r in worst) == 5
    assert pick(list(reversed(rows)))[0] == worst


def test_size_is_bounded_whatever_the_completions():
    rows = [sample(i, False, completion="x" * 200_000, question="q" * 50_000, options=["o" * 20_000] * 4)
            for i in range(100)]
    assert len(render(rows, image=lambda row: png(1200, 1200))) < 3_000_000
    assert clip("a" * 10, 4) == "aa\n[… 6 characters not shown …]\naa"


def test_an_image_that_cannot_be_shown_says_why():
    def broken(row):
        raise ImageProblem("not an image: <b>")

    assert "not an image: &lt;b&gt;" in render([sample(0, False)], image=broken)
    assert "not a usable image" in render([sample(0, False)], image=lambda row: b"nonsense")
    with pytest.raises(ImageProblem, match="too many"):
        buffer = io.BytesIO()
        Image.new("1", (20_000, 6_000)).save(buffer, "PNG")
        thumbnail(buffer.getvalue())


def test_a_row_without_an_answer_is_shown_with_its_error():
    row = sample(0, False, finish_reason="error", error="too long: 9,000 tokens", parsed=None, correct=None)
    text = render([row, sample(1, True)])
    assert "too long: 9,000 tokens" in text
    assert "no answer" in text


def test_written_whole_and_the_same_bytes_twice(tmp_path):
    folder = write_run(tmp_path / "r", {"ct": [True, False] * 10}, model="m", results=True)
    pages = []
    for name in ("a.html", "b.html"):
        write_report(tmp_path / name, rows=aggregate(read_jsonl(folder / "samples.jsonl"), model="m", resamples=100),
                     samples=read_jsonl(folder / "samples.jsonl"), manifest={})
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]
    assert not list(tmp_path.glob("*.part"))
