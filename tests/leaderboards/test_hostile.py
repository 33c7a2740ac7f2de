"""At least 80 payloads through every output: text stays text, cells stay cells, names never become paths."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from bench.inert import csv_cell, latex_cell, markdown_cell, one_line, script_json, visible

PAYLOADS = json.loads((Path(__file__).parent / "payloads.json").read_text("utf-8"))
ACTING = set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u200b\ufeff\u2028\u2029\x00\x07\x1b\x9b\x7f")
COMMANDS = {
    "textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar", "textquotedbl",
    "textasciigrave", "textquotesingle", "begin", "end", "toprule", "midrule", "bottomrule",
}
TAGS = {
    "html", "head", "meta", "title", "link", "style", "script", "body", "a", "header", "main", "nav", "form", "label",
    "select", "option", "input", "output", "button", "noscript", "h1", "h2", "h3", "h4", "p", "bdi", "b", "em", "span",
    "section", "article", "figure", "figcaption", "div", "details", "summary", "table", "thead", "tbody", "tr", "th",
    "td", "ul", "ol", "li", "pre", "img", "svg", "rect", "circle", "ellipse", "line", "path", "polyline", "text",
}
LINK = re.compile(
    r"#[a-z]*|#b\d+|page\.css|index\.js|samples\.js|\.\./page\.css|(\.\./)?(index|samples)\.html(#[a-z0-9=&]*)?"
    r"|leaderboard\.(csv|md|tex)|pairs\.csv|variants/v\d{3}\.html(#warnings)?")


class Strict(HTMLParser):
    def handle_starttag(self, tag, attrs):
        assert tag in TAGS, tag
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            assert name not in ("style", "srcdoc", "action", "formaction"), (tag, name)
            if name in ("href", "src"):
                assert LINK.fullmatch(value), value

    handle_startendtag = handle_starttag


def files(hostile, *suffixes):
    found = [p for p in (hostile / "board").rglob("*") if p.is_file() and p.suffix in suffixes]
    assert found
    return found


def test_the_corpus_is_large_and_has_no_double():
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 80


def test_pages_hold_no_foreign_element_attribute_or_address(hostile):
    pages = [*files(hostile, ".html"), hostile / "run0" / "report.html"]
    assert len(pages) == 6
    for page in pages:
        text = page.read_text("utf-8")
        Strict().feed(text)
        assert "default-src 'none'" in text
        assert "unsafe" not in re.search(r'Content-Security-Policy" content="([^"]*)', text)[1]
        assert not set(text) & ACTING, page
    scripts = re.findall(r"<script.*?</script>", "".join(p.read_text("utf-8") for p in pages))
    assert set(scripts) == {'<script src="index.js"></script>', '<script src="samples.js"></script>'}


def test_data_files_are_one_call_with_pure_json(hostile):
    for path in files(hostile, ".js"):
        if path.parent.name != "data":
            continue
        text = path.read_text("ascii")
        assert not set(text) & set("<>&")
        found = re.fullmatch(r'PVB\("[a-z0-9/]+",(.*)\);\n', text)
        assert found, path
        json.loads(found[1])


def test_no_name_becomes_a_path(hostile):
    for path in (hostile / "board").rglob("*"):
        assert re.fullmatch(r"[a-z0-9.-]+", path.name), path
    assert {p.name for p in hostile.iterdir()} == {"board", "run0", "run1", "run2"}


def test_no_cell_is_a_formula(hostile):
    seen = 0
    for path in [*files(hostile, ".csv"), *(hostile / f"run{i}" / "results.csv" for i in range(3))]:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                for cell in row:
                    seen += 1
                    number = re.fullmatch(r"-?\d+(\.\d+)?", cell)
                    assert number or not cell.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")), cell
                    assert not set(cell) & {*ACTING, "\t", "\r", "\n"}
    assert seen > 1000


def test_markdown_latex_and_cards_hold_no_markup_of_others(hostile):
    markdown = (hostile / "board" / "leaderboard.md").read_text("utf-8")
    assert not re.search(r"[<>`]|\]\(|!\[|https?:|\bwww\.|javascript:", markdown)
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    latex = (hostile / "board" / "leaderboard.tex").read_text("utf-8")
    assert set(re.findall(r"\\([A-Za-z]+)", latex)) <= COMMANDS
    for path in files(hostile, ".md"):
        if path.parent.name == "model-cards":
            card = yaml.safe_load(path.read_text("utf-8").strip("-\n"))
            assert set(card) == {"model-index"}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_each_payload_is_inert_in_each_format(payload):
    assert not set(visible(payload)) & ACTING
    assert not set(one_line(payload)) & {*ACTING, "\n", "\t"}
    cell = csv_cell(payload)
    assert not cell.lstrip(" \"").startswith(("=", "+", "-", "@", "\t", "\r"))
    assert not re.search(r"[<>`|\[\]*\\]|https?:|www\.", markdown_cell(payload))
    latex = latex_cell(payload)
    assert set(re.findall(r"\\([A-Za-z]+)", latex)) <= COMMANDS
    assert not re.search(r"(?<!\\)[$&#%_]", latex)
    script = script_json({"x": payload})
    assert script.isascii()
    assert not set(script) & set("<>&")
    assert json.loads(script) == {"x": payload}
