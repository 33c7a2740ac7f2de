"""The pages in headless Chromium, from disk: they work by mouse and keyboard, and hostile runs cannot make them act."""

from __future__ import annotations

import numpy as np
import pytest

from bench.synthetic import write_run
from leaderboards.build import build

pytestmark = pytest.mark.browser
TASKS = ("ct", "derm", "fundus", "oct")


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """Three variants on four tasks, one of them on another suite too."""
    place = tmp_path_factory.mktemp("site")
    rng = np.random.default_rng(3)

    def process(row):
        return {"format": 1.0, "process": 1.0 if int(row["id"][-2:]) % 7 == 0 else 0.6}

    def cut(row):
        if row["id"] == "ct-00003":
            row["finish_reason"] = "length"
        if row["id"] == "ct-00005":
            row["correct"] = {"strict": False, "letter": True, "omnimed": True}
        return row

    runs = [
        str(write_run(place / name, {t: rng.random(60) < p for t in TASKS}, model=f"models/{name}", results=True,
                      rewards=process, edit=cut))
        for name, p in (("base", 0.3), ("alpha", 0.5), ("r1", 0.9))
    ]
    small = {"path": [True, False] * 20}
    runs.append(str(write_run(place / "tiny", small, model="tiny", suite="phantom", results=True)))
    build(runs, place / "out", resamples=300, reference="base")
    return place / "out"


def until(watched, expression):
    """Wait until it holds. Playwright's own waiting would need `eval`, which the page's policy forbids."""
    for _ in range(200):
        if watched.page.evaluate(expression):
            return
        watched.page.wait_for_timeout(25)
    raise AssertionError(f"never true: {expression}")


def column(watched, number, board="#b0"):
    cells = watched.page.query_selector_all(f"{board} table.ranking tbody tr:not([hidden]) > :nth-child({number})")
    return [cell.inner_text().split("\n")[0].split(" ")[0] for cell in cells]


def test_sort_and_filter(board, watch):
    seen = watch()
    seen.page.goto((board / "index.html").as_uri())
    assert column(seen, 2) == ["r1", "alpha", "base"]
    seen.page.click("#b0 th:nth-child(2) button")
    assert column(seen, 2) == ["alpha", "base", "r1"]
    seen.page.click("#b0 th:nth-child(2) button")
    assert column(seen, 2) == ["r1", "base", "alpha"]
    seen.page.click("#b0 th:nth-child(5) button")
    values = [float(v) for v in column(seen, 5)]
    assert values == sorted(values, reverse=True)
    assert seen.page.get_attribute("#b0 th:nth-child(5)", "aria-sort") == "descending"
    seen.page.fill("#filter-model", "MODELS/AL")
    assert column(seen, 2) == ["alpha"]
    assert seen.page.inner_text("#filter-count") == "1 variant"
    seen.page.fill("#filter-model", "")
    seen.page.select_option("#filter-suite", "phantom")
    assert not seen.page.is_visible("#b0")
    assert seen.page.is_visible("#b1")
    seen.page.select_option("#filter-suite", "")
    seen.page.select_option("#filter-task", "derm")
    assert seen.page.is_visible("#b0 th[data-task=derm]")
    assert not seen.page.is_visible("#b0 th[data-task=ct]")
    seen.clean(board)


def test_open_a_sample_filter_answers_and_turn_the_page(board, watch):
    seen = watch()
    seen.page.goto((board / "index.html").as_uri())
    seen.page.click("nav a[href='samples.html']")
    seen.page.wait_for_selector("article")
    assert seen.page.inner_text("#status").startswith("240 answers")
    assert len(seen.page.query_selector_all("article")) == 25
    seen.page.click("#on")
    until(seen, "document.getElementById('place').textContent === 'page 2 of 10'")
    seen.page.select_option("#filter", "cut")
    until(seen, "document.getElementById('status').textContent.startsWith('1 answers')")
    assert "ct-00003" in seen.page.inner_text("article h2")
    assert "cut off" in seen.page.inner_text("article")
    seen.page.select_option("#filter", "contracts")
    until(seen, "document.querySelector('article h2')?.textContent.includes('ct-00005')")
    assert "strict read" in seen.page.inner_text("article .contracts")
    seen.page.select_option("#filter", "high")
    until(seen, "!document.querySelector('article .answer.right')")
    seen.page.select_option("#second", label="base")
    seen.page.select_option("#filter", "flip")
    until(seen, "[...document.querySelectorAll('article:first-of-type .answer')].map(a => a.className).join() "
                "=== 'answer right,answer wrong'")
    seen.clean(board)


def test_a_link_to_a_pair_shows_its_flips_and_a_variant_its_provenance(board, watch):
    seen = watch()
    seen.page.goto((board / "index.html").as_uri())
    seen.page.click("#b0 details summary")
    seen.page.click("#b0 table.pairs td a")
    seen.page.wait_for_selector("article")
    assert seen.page.input_value("#filter") == "flip"
    assert seen.page.input_value("#second") != ""
    seen.page.goto((board / "index.html").as_uri())
    seen.page.click("#b0 tbody th a")
    assert "omnimedvqa" in seen.page.inner_text("#provenance")
    seen.clean(board)


def test_the_keyboard_alone_reaches_sort_links_and_answers(board, watch):
    seen = watch()
    seen.page.goto((board / "index.html").as_uri())
    seen.page.keyboard.press("Tab")
    assert seen.page.evaluate("document.activeElement.className") == "skip"
    seen.page.focus("#b0 th:nth-child(2) button")
    seen.page.keyboard.press("Enter")
    assert column(seen, 2) == ["alpha", "base", "r1"]
    seen.page.focus("nav a[href='samples.html']")
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_selector("article")
    seen.page.evaluate("document.activeElement.blur()")
    seen.page.keyboard.press("n")
    until(seen, "document.getElementById('place').textContent === 'page 2 of 10'")
    seen.page.keyboard.press("p")
    until(seen, "document.getElementById('place').textContent === 'page 1 of 10'")
    reached = set()
    for _ in range(12):
        seen.page.keyboard.press("Tab")
        reached.add(seen.page.evaluate("document.activeElement.tagName"))
    assert {"SELECT", "PRE"} <= reached
    seen.clean(board)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "light"), (390, "dark")])
def test_nothing_overflows_on_desktop_phone_and_in_the_dark(board, watch, width, scheme):
    seen = watch(width=width, scheme=scheme)
    for name in ("index.html", "samples.html", "variants/v000.html"):
        seen.page.goto((board / name).as_uri())
        if name == "samples.html":
            seen.page.wait_for_selector("article")
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    background = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(20, 24, 30)") == (scheme == "dark")
    seen.clean(board)


def test_tables_stand_without_javascript(board, watch):
    seen = watch(java_script_enabled=False)
    seen.page.goto((board / "index.html").as_uri())
    assert "r1" in seen.page.inner_text("#b0 table.ranking")


def test_hostile_runs_execute_nothing_request_nothing_and_stay_inside_the_layout(hostile, watch):
    seen = watch(width=1000)
    out = hostile / "board"
    pages = [out / "index.html", *sorted((out / "variants").iterdir())]
    for path in pages:
        seen.page.goto(path.as_uri())
        seen.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 1000, path
        seen.clean(out)
    seen.page.goto((out / "samples.html").as_uri() + "#b=b0&a=v000&c=v001")
    seen.page.wait_for_selector("article")
    shown = 0
    while True:
        shown += len(seen.page.query_selector_all("article"))
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 1000
        assert seen.page.query_selector("article :is(script, iframe, object, embed, form, a, svg, style)") is None
        if seen.page.is_disabled("#on"):
            break
        before = seen.page.inner_text("#place")
        seen.page.click("#on")
        until(seen, f"document.getElementById('place').textContent !== '{before}'")
    assert shown == 130
    seen.clean(out)
    report = hostile / "run0" / "report.html"
    seen.page.goto(report.as_uri())
    seen.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 1000
    seen.clean(hostile)


def test_a_hostile_address_of_the_browser_page_changes_nothing(board, watch):
    seen = watch()
    for part in ("#b=<script>&a=../../x&f=constructor", "#p=99999999999&t=__proto__", "#b=b0&t=-1&a=v999", "#%00=&&==",
                 "#f=__proto__&b=constructor&p=-1"):
        seen.page.goto("about:blank")
        seen.page.goto((board / "samples.html").as_uri() + part)
        seen.page.wait_for_selector("article")
    assert seen.console == []
    assert [u for u in seen.requests if not u.startswith((board.as_uri(), "about:"))] == []
