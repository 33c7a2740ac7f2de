"""Hostile runs, and headless Chromium that counts every request, console line and dialog."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from bench.aggregate import write_results
from bench.report import write_report
from bench.runfolder import RunFolder
from bench.synthetic import write_run
from leaderboards.build import build
from rewards.types import CONTRACTS

PAYLOADS = json.loads((Path(__file__).parent / "payloads.json").read_text("utf-8"))


def hostile_run(folder, number):
    """A run that has a payload in every text that comes from data, models, judges or settings."""
    turn = [number * 7]

    def nasty():
        turn[0] += 1
        return PAYLOADS[turn[0] % len(PAYLOADS)]

    def edit(row):
        at = int(row["id"][-5:])
        text = PAYLOADS[at % len(PAYLOADS)]
        return {
            **row, "id": f"{text}/{at}", "question": text, "options": [text, text + "!", "../" + text, "plain"],
            "answer_index": 0, "question_type": text, "subset": text, "split": text, "completion": nasty(),
            "error": nasty() if at % 9 == 0 else None,
            "finish_reason": {0: "error", 1: "length"}.get(at % 9, "stop"),
            "parsed": {"think": nasty(), "answer": nasty(), "well_formed": at % 2 == 0, "problem": nasty(),
                       "letters": dict(zip(CONTRACTS, (None, "A", nasty()[:1]), strict=True))},
            "correct": dict(zip(CONTRACTS, (False, at % 3 == 0, True), strict=True)),
        }

    write_run(folder, {"ct": [True, False] * 65}, model=nasty(), suite=PAYLOADS[0], edit=edit,
              rewards=lambda row: {PAYLOADS[14]: 0.9, "../" + PAYLOADS[73]: 0.1 if row["correct"]["letter"] else 0.8})
    lines = [json.loads(line) for line in (folder / "scores.jsonl").read_text("utf-8").splitlines()]
    for line in lines:
        line["judge"] = {"backend": PAYLOADS[22], "model": PAYLOADS[62]}
        for score in line["scores"]:
            score["reason"], score["failure"] = nasty(), None
            score["detail"] = {"events": {nasty(): True, nasty(): False}, "evidence": {nasty(): nasty()}}
    (folder / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["warnings"] = [nasty(), nasty()]
    manifest["versions"] = {nasty(): nasty(), "commit": nasty(), "pathvlm-bench": nasty()}
    manifest["model"] = {"ref": nasty(), "fingerprint": nasty()}
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    training = {"stage": nasty(), "recipe": {nasty(): nasty()}, "curves": {nasty(): [[0, 1], [1, 2]], "x": nasty()}}
    (folder / "variant.json").write_text(json.dumps(training), "utf-8")
    write_results(folder / "samples.jsonl", folder / "results.csv", model=manifest["model"]["ref"],
                  scores_path=folder / "scores.jsonl")
    return folder


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """A leaderboard of three hostile runs, and the report of the first."""
    place = tmp_path_factory.mktemp("hostile")
    names = [p for p in PAYLOADS if "=" not in p and "," not in p and "\x00" not in p][:60:20]
    runs = [hostile_run(place / f"run{i}", i) for i in range(3)]
    build([f"{name}={run}" for name, run in zip(names, runs, strict=True)], place / "board", resamples=200,
          reference=names[0])
    run = RunFolder(runs[0])
    write_report(runs[0] / "report.html", rows=run.results(), samples=run.samples(), manifest=run.manifest,
                 scores=run.scores())
    return place


class Watch:
    """A page and everything that it did."""

    def __init__(self, page):
        self.page, self.console, self.requests, self.dialogs = page, [], [], []
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda problem: self.console.append(str(problem)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))

    def clean(self, folder):
        """Nothing executed, nothing asked for outside the folder, nothing complained."""
        assert self.page.evaluate("window.__pwned") is None
        assert self.console == []
        assert self.dialogs == []
        inside = (Path(folder).as_uri() + "/", "data:image/jpeg;base64,")
        assert [url for url in self.requests if not url.startswith(inside)] == []


@pytest.fixture(scope="module")  # while it is open the driver's event loop runs in this thread
def chromium():
    """Chromium of the distribution. Missing is a failure in CI and a skip on a desk without one."""
    from playwright.sync_api import sync_playwright

    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if binary is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium; CI installs the distribution's package")
        pytest.skip("no Chromium on this machine (install the distribution's chromium package)")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def watch(chromium):
    """`watch(width=..., scheme=...)` opens a page that is watched."""
    opened = []

    def start(width=1280, height=900, scheme="light", **settings):
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **settings)
        opened.append(context)
        return Watch(context.new_page())

    yield start
    for context in opened:
        context.close()
