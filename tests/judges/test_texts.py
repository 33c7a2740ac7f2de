"""Prompts and rubrics: a change of the text must bump the version."""

from pathlib import Path

import pytest

import rewards
from rewards.judges import protocols, texts

FOLDER = Path(rewards.__file__).parent

KNOWN = {
    "prompts/again.md again-1": "4ca75bd4476d8df354f1d14072ceb10dc9a911442e8823c77778cf73e16e84b9",
    "prompts/events.md events-1": "a12c242ce3f1b1bef5361313c69d423bbb366a8ce8df2d0ba77a6099264492cd",
    "prompts/paper.md paper-1": "579c81064c77c17896e98742d530ea4c2100a642a1d55ecdca0038045cf2b98c",
    "prompts/quality.md quality-1": "ed45a495f0dd1934eb50d24aa489b18ff2ea9a6202aaadffcd8b2f4cbbfd16c1",
    "rubrics/process.toml process-1": "163ca05aa2fdaac0b231ae9c45411eccef1c6c19eda47975760c5ee9595bb419",
    "rubrics/quality.toml quality-1": "5d74bee9493eb82629f4dfd75363f4903579658f246137f002937cf8dd787a4b",
}
"""SHA-256 by file and version. A new version gets a new line; no line is ever edited: old caches would lie."""


def every_text():
    return sorted(
        path.relative_to(FOLDER).as_posix()
        for folder, pattern in (("prompts", "*.md"), ("rubrics", "*.toml"))
        for path in (FOLDER / folder).glob(pattern)
    )


@pytest.mark.parametrize("name", every_text())
def test_hash_and_version_belong_together(name):
    text = texts.read(name)
    known = KNOWN.get(f"{name} {text.version}")
    assert known == text.sha256, f"{name} changed: bump its version and add the new hash here"


def test_a_text_without_a_version_is_refused(monkeypatch, tmp_path):
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "new.md").write_text("no version line\n")
    monkeypatch.setattr(texts.resources, "files", lambda _: tmp_path)
    with pytest.raises(ValueError, match="must begin with a line `version: NAME-N`"):
        texts.read("prompts/new.md")


@pytest.mark.parametrize("name", sorted(protocols.PROTOCOLS))
def test_versions_and_hashes_are_part_of_the_fingerprint(name):
    protocol = protocols.load(name)
    print_ = protocol.fingerprint()
    assert texts.read(protocol.prompt).version in print_["protocol"]
    assert print_["texts"][protocol.prompt] == texts.read(protocol.prompt).sha256
    assert print_["settings"]["show"] == "reference"
    assert protocols.load(name, show="neither").fingerprint() != print_
