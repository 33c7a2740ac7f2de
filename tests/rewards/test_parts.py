"""Parts: one conformance suite over the registry, then what each part means."""

import asyncio
import importlib
import inspect
import math
import pickle
import tomllib
from pathlib import Path

import pytest
from reward_cases import ANSWERS, CLEAN, GOLD, sample

import rewards
from rewards import registry
from rewards.errors import UserError
from rewards.judges.protocols import load as protocol
from rewards.parse import parse
from rewards.process import Judgement, dimension, lattice
from rewards.registry import JudgedPart, Part, PartSettings, find, names, part
from rewards.types import Completion

QUALITY = {"r_acc", "k_acc", "rigor", "professionalism", "clarity", "conciseness"}
HOSTILE = [*ANSWERS.values(), "\ud800<think>", "a " * 30_000, "<answer>" * 2_000, "\x00", "é\u0301" * 500, "🧫" * 300]


def score(name, text, tokens=None, made=None, **settings):
    chosen = find(name)
    made = made or sample()
    running = chosen(chosen.Settings(**settings)).score(
        made, parse(text, made.options), Completion(text, "stop", tokens_out=tokens))
    return asyncio.run(running)


def check(score_, name):
    assert score_.part == name
    assert (score_.value is None) == bool(score_.failure), "missing has a reason, a value has none"
    assert score_.value is None or (isinstance(score_.value, int | float) and 0 <= score_.value <= 1
                                    and math.isfinite(score_.value))


# --- every part that exists ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", names())
def test_conformance(name):
    cls = find(name)
    assert cls.name == name and cls.version and cls.__doc__, "recorded with a version and described"
    assert issubclass(cls.Settings, PartSettings)
    assert cls.Settings.model_config["extra"] == "forbid" and cls.Settings.model_config["frozen"]
    made = cls()
    assert pickle.loads(pickle.dumps(made)).settings == made.settings
    assert "[parts." in (inspect.getmodule(cls).__doc__ or ""), "the module shows how the part is written in a spec"
    if issubclass(cls, JudgedPart):
        kinds = {"process": ["events", "paper"], "quality": ["quality"]}[cls.judging]
        for kind in kinds:
            expect = protocol(kind).expect()
            value = 0.6 if expect.kind == "unit" else True
            read = made.read(Judgement(dict.fromkeys(expect.names, value)))
            check(read, name)
            assert read.value is not None
    else:
        for text in HOSTILE:
            for tokens in (None, 0, 5, 10**6):
                for made_sample in (sample(), sample(reference=None), sample(options=("a", "b"), reference="x")):
                    check(score(name, text, tokens, made_sample), name)
                    assert score(name, text, tokens, made_sample) == score(name, text, tokens, made_sample)


@pytest.mark.parametrize("name", names())
def test_a_reward_of_this_part_alone(name):
    reward = rewards.load({"parts": {name: {}}}, judge="scripted:honest")
    result = asyncio.run(reward.score(sample(), Completion(GOLD, "stop", tokens_out=9)))
    assert result.scores[0].part == name and result.total == pytest.approx(result.scores[0].value)


@pytest.mark.parametrize("name", names())
def test_unknown_settings_are_refused(name):
    with pytest.raises(UserError, match=r"unknown key 'wieght'.*did you mean 'weight'"):
        rewards.load({"parts": {name: {"wieght": 1}}})


def test_the_parts_the_project_promises_exist():
    assert {"format", "accuracy", "integrity", "knowledge", "lone_letter", "overlong", "repetition", "entities",
            *QUALITY} <= set(names())


def test_parts_are_found_by_file_and_not_by_a_list():
    init = Path(importlib.import_module("rewards.parts").__file__).read_text(encoding="utf-8")
    assert "import" not in init


# --- recording ------------------------------------------------------------------------------------------------

def test_two_parts_cannot_share_a_name():
    with pytest.raises(UserError, match="two parts are called 'format'"):
        @part("format", version="1")
        class Other(Part):
            """Another."""


def test_unknown_part_names_the_closest():
    with pytest.raises(UserError, match=r"no reward part 'acuracy'.*did you mean 'accuracy'"):
        find("acuracy")


def test_a_part_from_an_installed_package(tmp_path, monkeypatch):
    (tmp_path / "brief_part.py").write_text('''
from rewards import Part, part

@part("brief", version="1")
class Brief(Part):
    """1 when the reasoning is short."""

    async def score(self, sample, parsed, completion):
        return self.give(float(len(completion.text) < 100))
''', encoding="utf-8")
    info = tmp_path / "brief_part-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brief-part\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[pathvlm_bench.parts]\nbrief = brief_part\nbroken = no_such_module\n",
                                           encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        assert "brief" in names()
        result = asyncio.run(rewards.load({"parts": {"brief": {}, "format": {}}}).score(sample(), GOLD))
        assert result.total == 2.0
        with pytest.raises(UserError, match="'broken' is announced by 'no_such_module', which cannot be imported"):
            find("broken")
    finally:
        registry._PARTS.pop("brief", None)


# --- format, accuracy -------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("answer", "expected"), [
    ("gold", 1), ("wrong", 1), ("lenient", 1), ("bare", 0), ("unread", 1), ("cut", 0), ("empty", 0)])
def test_format(answer, expected):
    assert score("format", ANSWERS[answer]).value == expected


@pytest.mark.parametrize(("answer", "strict", "letter"), [
    ("gold", 1, 1), ("wrong", 0, 0), ("lenient", 0, 1), ("bare", 0, 1), ("unread", 0, 0), ("cut", 0, 0),
    ("empty", 0, 0)])
def test_accuracy(answer, strict, letter):
    assert score("accuracy", ANSWERS[answer], contract="strict").value == strict
    assert score("accuracy", ANSWERS[answer]).value == letter


def test_accuracy_says_whether_it_was_wrong_or_unread():
    assert score("accuracy", ANSWERS["wrong"]).reason == "read A, right is B"
    assert score("accuracy", ANSWERS["unread"]).reason.startswith("no letter read")


# --- process ------------------------------------------------------------------------------------------------------

def test_the_lattice():
    assert lattice() == (0.0, 0.2, 0.6, 1.0)
    assert lattice(0.3) == (0.1, 0.4, 0.7, 1.0)
    assert lattice(0.5) == (0.0, 0.5, 1.0)


def test_all_64_verdicts_stand_on_the_lattice_and_give_nine_process_values():
    seen = set()
    for bits in range(64):
        values = {name: bool(bits >> place & 1) for place, name in enumerate(CLEAN)}
        integrity, knowledge = (dimension(values, name) for name in ("integrity", "knowledge"))
        missing = sum(not values[name] for name in ("image_features", "options_eliminated", "knowledge_cited"))
        found = sum(values[name] for name in ("definition_violated", "contradiction", "outdated_criterion"))
        assert integrity == pytest.approx(max(0, 1 - 0.4 * missing))
        assert knowledge == pytest.approx(max(0, 1 - 0.4 * found))
        seen.add(round((integrity + knowledge) / 2, 6))
    assert seen == {0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0}


def test_a_verdict_without_a_criterion_is_missing_not_zero():
    with pytest.raises(KeyError):
        dimension({"image_features": True}, "integrity")


def test_evidence_and_defects_are_kept_by_dimension():
    judged = Judgement({**CLEAN, "contradiction": True}, detail={"evidence": {"contradiction": "both benign and not"}})
    knowledge = find("knowledge")().read(judged)
    assert knowledge.value == 0.6 and knowledge.detail["defects"] == ["contradiction"]
    assert knowledge.detail["evidence"] == {"contradiction": "both benign and not"}
    assert set(knowledge.detail["events"]) == {"definition_violated", "contradiction", "outdated_criterion"}
    assert find("integrity")().read(judged).detail["evidence"] == {}


def test_floats_of_the_paper_protocol_pass_through():
    judged = Judgement({"integrity": 0.37, "knowledge": 1.0})
    assert find("integrity")().read(judged).value == 0.37
    assert find("knowledge")(find("knowledge").Settings(penalty=0.5)).read(judged).value == 1.0


# --- designs of others ------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("answer", "expected"), [
    ("B", 1), (" B\n", 1), ("B) Normal colon", 0.5), ("b", 0.5), ("**B**", 0.5), ("Normal colon", 0.5),
    ("A", 0), ("A) Adenoma", 0), ("", 0), ("A or B", 0)])
def test_lone_letter(answer, expected):
    assert score("lone_letter", f"<think>x</think><answer>{answer}</answer>").value == expected


def test_lone_letter_without_a_block_is_half():
    assert score("lone_letter", "B").value == 0.5


@pytest.mark.parametrize(("tokens", "expected"), [
    (0, 1), (768, 1), (769, 1 - 1 / 256), (896, 0.5), (1024, 0), (5000, 0)])
def test_overlong_is_dapos_soft_penalty_plus_one(tokens, expected):
    assert score("overlong", "x", tokens).value == pytest.approx(expected)


def test_overlong_without_a_token_count_is_missing():
    assert score("overlong", "x" * 9_999, None).failure == "no-token-count"


def test_overlong_settings_are_checked():
    with pytest.raises(UserError, match="soft_tokens must not be larger than max_tokens"):
        rewards.load({"parts": {"overlong": {"max_tokens": 10, "soft_tokens": 20}}})


@pytest.mark.parametrize(("text", "expected"), [
    ("", 1), ("one two", 1), ("a b c d e", 1), ("a b c a b c a b c", 3 / 7), ("loop " * 100, 1 / 98)])
def test_repetition(text, expected):
    assert score("repetition", text).value == pytest.approx(expected)


def test_entities_with_a_vocabulary():
    made = sample(reference="Nuclear atypia and two mitoses; glands are crowded.")
    text = "<think>There is nuclear  atypia. A Gland is seen, no mitosis.</think><answer>A) Adenoma</answer>"
    terms = ["nuclear atypia", "gland", "necrosis"]
    assert score("entities", text, made=made, terms=terms).value == 1.0
    assert score("entities", "<think>gland</think>", made=made, terms=terms, measure="recall").value == 0.5
    assert score("entities", "<think>gland, necrosis</think>", made=made, terms=terms, measure="precision").value == 0.5
    assert score("entities", "<think>gladness</think>", made=made, terms=terms).value == 0.0


def test_entities_without_a_vocabulary_or_reference():
    assert score("entities", "<think>Even crypts, preserved goblet cells</think>").value == 1.0
    assert score("entities", GOLD, made=sample(reference=None)).failure == "no-reference"
    assert score("entities", GOLD, made=sample(reference="it is so")).failure == "no-entities"


def test_shipped_specs_are_valid_toml_with_a_name():
    folder = Path(rewards.__file__).parent / "specs"
    for file in folder.glob("*.toml"):
        assert tomllib.loads(file.read_text(encoding="utf-8"))["name"] == file.stem
