"""The published leaderboard is what the build makes of the runs kept beside it."""

from __future__ import annotations

import pytest

from bench.synthetic import write_run
from leaderboards.publish import PUBLISHED, differences, keep, main, runs
from rewards.errors import UserError


def test_the_published_board_is_its_build():
    if not runs(PUBLISHED):
        # Nothing is published before real runs exist; then there must be no page either.
        assert not (PUBLISHED / "board").exists()
        return
    assert differences(PUBLISHED) == []


def test_add_build_check_and_notice_a_change(tmp_path, capsys):
    folder = tmp_path / "published"
    for name, right in (("base", [True, False] * 20), ("r1", [True, True, False] * 13 + [True])):
        write_run(tmp_path / name, {"ct": right}, model=name, suite="phantom", results=True)
    write_run(tmp_path / "r1-again", {"ct": [True, False] * 20}, model="r1", suite="phantom", results=True)
    main(["--folder", str(folder), "--add", f"base={tmp_path / 'base'}", "--add",
          f"r1={tmp_path / 'r1'},{tmp_path / 'r1-again'}"])
    assert [path.name for path in sorted((folder / "runs" / "r1").iterdir())] == ["1", "2"]
    assert main(["--folder", str(folder), "--check"]) == 0
    page = folder / "board" / "index.html"
    page.write_text(page.read_text("utf-8").replace("rank 1", "rank 0").replace("r1", "r9"), "utf-8")
    (folder / "board" / "more.txt").write_text("by hand")
    assert main(["--folder", str(folder), "--check"]) == 1
    shown = capsys.readouterr().out
    assert "index.html: differs" in shown
    assert "more.txt: only in the stored board" in shown


def test_only_phantom_runs_are_published(tmp_path):
    run = write_run(tmp_path / "real", {"ct": [True, False]}, model="real", results=True)
    with pytest.raises(UserError, match="a run on omnimedvqa; only phantom runs"):
        keep(f"real={run}", tmp_path / "published")
    with pytest.raises(UserError, match="holds no run yet"):
        main(["--folder", str(tmp_path / "published")])
    phantom = write_run(tmp_path / "phantom", {"ct": [True, False]}, model="p", suite="phantom", results=True)
    with pytest.raises(UserError, match="cannot be kept"):
        keep(f"../x={phantom}", tmp_path / "published")
