"""Specs: what is read, what is refused and in which words; how parts become a total."""

import asyncio
import itertools

import pytest
from reward_cases import GOLD, ScriptedJudge, sample

import rewards
from rewards.composite import total
from rewards.errors import UserError
from rewards.spec import read, shipped

TWO = {"format": {}, "accuracy": {}}


def combined(values, **spec):
    parts = spec.pop("parts", {name: {} for name in values})
    names = iter(["format", "accuracy", "repetition", "lone_letter", "entities"])
    made = {label: {"part": next(names), **entry} for label, entry in parts.items()}
    return total(read({"parts": made, **spec}), values)


# --- reading --------------------------------------------------------------------------------------------------

def test_shipped_specs_are_the_papers():
    assert shipped() == ["dual", "outcome", "quality", "reasoning"]
    dual = read("dual")
    assert {label: part.weight for label, part in dual.parts.items()} == {
        "format": 1, "accuracy": 1, "integrity": 0.5, "knowledge": 0.5}
    assert dual.combine == "sum" and dual.judge.protocol == "events"
    assert dual.parts["accuracy"].settings == {"contract": "strict"}
    assert dual.parts["integrity"].settings == {"penalty": 0.4}
    assert list(read("outcome").parts) == ["format", "accuracy"]
    assert read("quality").combine == "mean" and len(read("quality").parts) == 6


def test_toml_dict_name_and_spec_agree(tmp_path):
    text = '[parts.format]\n[parts.accuracy]\ncontract = "strict"\n'
    (tmp_path / "mine.toml").write_text("\ufeff" + text, encoding="utf-8")
    by_file = read(tmp_path / "mine.toml")
    by_dict = read({"parts": {"format": {}, "accuracy": {"contract": "strict"}}})
    assert by_file == by_dict == read(by_dict) == read(str(tmp_path / "mine.toml"))
    assert rewards.load("outcome").fingerprint == rewards.load(by_dict).fingerprint, "the name is not part of it"


def test_defaults_are_filled_in_so_that_a_spec_names_all_it_does():
    assert read({"parts": TWO}).parts["accuracy"].settings == {"contract": "letter"}
    assert read("dual").judge.settings["max_tokens"] > 0


@pytest.mark.parametrize(("spec", "message"), [
    ("outcom", r"no reward spec 'outcom' \(did you mean 'outcome'\?\)"),
    ("nowhere/spec.toml", "no reward spec 'nowhere/spec.toml'"),
    ({}, "needs at least one part"),
    ({"parts": {}}, "needs at least one part"),
    ({"parts": {"fromat": {}}}, r"no reward part 'fromat' \(did you mean 'format'\?\)"),
    ({"parts": TWO, "combin": "sum"}, r"unknown key 'combin' \(did you mean 'combine'\?\)"),
    ({"parts": TWO, "combine": "max"}, "combine: Input should be 'sum', 'mean', 'product' or 'gate', got 'max'"),
    ({"parts": {"accuracy": {"contrat": "strict"}}},
     r"parts.accuracy: unknown key 'contrat' \(did you mean 'contract'"),
    ({"parts": {"accuracy": {"contract": "exact"}}}, "parts.accuracy: contract: Input should be.*got 'exact'"),
    ({"parts": {"accuracy": {"weight": -1}}}, "parts.accuracy: weight: .*greater than or equal to 0, got -1"),
    ({"parts": {"accuracy": {"weight": float("nan")}}}, "parts.accuracy: weight: "),
    ({"parts": {"accuracy": {"weight": "much"}}}, "parts.accuracy: weight: "),
    ({"parts": {"accuracy": {"required": "maybe"}}}, "parts.accuracy: required: "),
    ({"parts": {"accuracy": 1}}, "parts.accuracy: expected a table, got 1"),
    ({"parts": {"mine": {"part": 3}}}, "parts.mine: part must be a name, got 3"),
    ({"parts": {"integrity": {"penalty": 0}}}, "parts.integrity: penalty: .*greater than 0, got 0"),
    ({"parts": {"integrity": {"penalty": 1.5}}}, "parts.integrity: penalty: "),
    ({"parts": TWO, "gate": ["format"]}, "belong together"),
    ({"parts": TWO, "combine": "gate"}, "belong together"),
    ({"parts": TWO, "combine": "gate", "gate": ["formt"]},
     r"gate 'formt' is not among its parts \(did you mean 'format'"),
    ({"parts": {"format": {"required": False}, "accuracy": {}}, "combine": "gate", "gate": ["format"]},
     "gate 'format' cannot be optional"),
    ({"parts": {"format": {"weight": 0}}}, "no part counts"),
    ({"parts": {"format": {}}, "combine": "gate", "gate": ["format"]}, "no part counts"),
    ({"parts": {"format": {"weight": 0.5}}, "combine": "product"}, "parts of a product have weight 1"),
    ({"parts": {"both": {"parts": TWO}}}, "weights inside a group must sum to at most 1"),
    ({"parts": {"both": {"parts": {"formt": {}}}}}, "no reward part 'formt'"),
    ({"parts": {"both": {"parts": TWO, "combine": "mean", "contract": "x"}}}, "parts.both: unknown key 'contract'"),
    ({"parts": TWO, "weight": 2}, "'weight' belongs to a part or a group"),
    ({"parts": TWO, "judge": {"protocol": "event"}}, r"\[judge\]: protocol: Input should be 'events' or 'paper'"),
    ({"parts": TWO, "judge": {"sow": "reference"}}, r"unknown key 'sow' \(did you mean 'show'\?\)"),
    ({"parts": TWO, "judge": {"show": "all"}}, "protocol 'events': show: Input should be"),
    ({"parts": TWO, "judge": {"quality": {"imge": True}}}, r"unknown key 'imge' \(did you mean 'image'\?\)"),
    ({"parts": TWO, "judge": "rules"}, r"\[judge\]: expected a table, got 'rules'"),
])
def test_mistakes_are_named(spec, message):
    with pytest.raises(UserError, match=message):
        read(spec)


@pytest.mark.parametrize("content", [b"parts = [", b"\xff\xfe\x00", b"[parts.format]\n[parts.format]\n"])
def test_broken_files(tmp_path, content):
    (tmp_path / "spec.toml").write_bytes(content)
    with pytest.raises(UserError, match=r"reward spec .*spec\.toml: (not valid TOML|cannot be read)"):
        read(tmp_path / "spec.toml")


def test_penalty_replaces_every_penalty_and_needs_one():
    spec = read("dual", penalty=0.3)
    assert spec.parts["integrity"].settings == spec.parts["knowledge"].settings == {"penalty": 0.3}
    with pytest.raises(UserError, match="no part of this reward has a penalty"):
        read("outcome", penalty=0.3)
    with pytest.raises(UserError, match="penalty for"):
        read("dual", penalty=7)
    nested = read({"parts": {"process": {"combine": "mean", "parts": {"integrity": {}, "knowledge": {}}}}}, penalty=0.5)
    assert nested.parts["process"].parts["knowledge"].settings == {"penalty": 0.5}


# --- composition ------------------------------------------------------------------------------------------------

def test_sum_has_the_papers_weights():
    assert combined({"a": 1.0, "b": 0.6, "c": 0.2}, parts={"a": {}, "b": {"weight": 0.5}, "c": {"weight": 0.5}}) == 1.4


def test_mean_product_and_gate():
    assert combined({"a": 1.0, "b": 0.5}, combine="mean") == 0.75
    assert combined({"a": 1.0, "b": 0.0}, parts={"a": {"weight": 3}, "b": {}}, combine="mean") == 0.75
    assert combined({"a": 0.5, "b": 0.5}, combine="product") == 0.25
    assert combined({"a": 1.0, "b": 0.7}, combine="gate", gate=["a"]) == 0.7
    assert combined({"a": 0.9, "b": 0.7}, combine="gate", gate=["a"]) == 0.0
    assert combined({"a": 0.9, "b": 0.7}, combine="gate", gate=["a"], gate_at=0.9) == 0.7


@pytest.mark.parametrize("combine", ["sum", "mean", "product"])
def test_a_missing_required_part_makes_the_total_missing(combine):
    assert combined({"a": 1.0, "b": None}, combine=combine) is None


def test_a_missing_part_is_missing_behind_a_closed_gate_too():
    assert combined({"a": 0.0, "b": None}, combine="gate", gate=["a"]) is None
    assert combined({"a": None, "b": 1.0}, combine="gate", gate=["a"]) is None


def test_an_optional_part_that_is_missing_is_left_out():
    optional = {"a": {}, "b": {"required": False}}
    assert combined({"a": 0.5, "b": None}, parts=optional) == 1.0, "as if b had the mean of the others: full weight 2"
    assert combined({"a": 0.5, "b": None}, parts=optional, combine="mean") == 0.5
    assert combined({"a": 0.5, "b": None}, parts=optional, combine="product") == 0.5
    assert combined({"a": None, "b": 1.0}, parts=optional) is None


def test_nothing_but_optional_parts_all_missing():
    optional = {"a": {"required": False}, "b": {"required": False}}
    for combine in ("sum", "mean", "product"):
        assert combined({"a": None, "b": None}, parts=optional, combine=combine) is None


def test_weight_zero_is_reported_only():
    parts = {"a": {}, "b": {"weight": 0}}
    assert combined({"a": 0.5, "b": 1.0}, parts=parts) == 0.5
    assert combined({"a": 0.5, "b": None}, parts=parts) == 0.5
    assert combined({"a": 0.5, "b": 0.1}, parts=parts, combine="product") == 0.5


def test_an_outage_does_not_change_the_order_of_equal_answers():
    """Four equal completions, one verdict missing: with the part optional, nobody is punished for the outage."""
    parts = {"a": {}, "b": {"required": False}}
    totals = [combined({"a": 0.8, "b": value}, parts=parts) for value in (0.8, 0.8, 0.8, None)]
    assert len({round(value, 9) for value in totals}) == 1


def test_totals_stay_between_zero_and_the_sum_of_weights():
    parts = {"a": {"required": False}, "b": {"required": False}}
    for a, b in itertools.product((None, 0.0, 0.3, 1.0), repeat=2):
        for combine, most in (("sum", 2), ("mean", 1), ("product", 1)):
            value = combined({"a": a, "b": b}, parts=parts, combine=combine)
            assert value is None or 0 <= value <= most


# --- other reward designs as specs ------------------------------------------------------------------------------

def one(spec, text, judge=None, **changes):
    return asyncio.run(rewards.load(spec, judge=judge).score(sample(**changes), text))


def test_med_r1():
    spec = {"parts": {"format": {}, "accuracy": {"contract": "letter"}}}
    assert one(spec, GOLD).total == 2 and one(spec, "B").total == 1


def test_medvlthinker_is_gated():
    spec = {"combine": "gate", "gate": ["format"], "parts": {"format": {}, "accuracy": {}}}
    assert one(spec, GOLD).total == 1 and one(spec, "B").total == 0


def test_medix_r1_is_nested():
    spec = {"parts": {
        "format": {"weight": 0.1},
        "content": {"weight": 0.9, "combine": "mean", "parts": {"integrity": {}, "accuracy": {}, "entities": {}}},
    }}
    result = one(spec, GOLD, judge=ScriptedJudge())
    assert [score.part for score in result.scores] == [
        "format", "content.integrity", "content.accuracy", "content.entities", "content"]
    content = [score.value for score in result.scores[1:4]]
    assert result.scores[-1].value == pytest.approx(sum(content) / 3)
    assert result.total == pytest.approx(0.1 + 0.9 * sum(content) / 3)
    missing = one(spec, GOLD, judge=ScriptedJudge(), reference=None)
    assert missing.total is None and missing.scores[-1].failure == "member-missing"


def test_the_same_part_twice_under_labels_of_its_own():
    spec = {"parts": {"exact": {"part": "accuracy", "contract": "strict"}, "loose": {"part": "accuracy", "weight": 0}}}
    result = one(spec, "<think>x</think><answer>B</answer>")
    assert {score.part: score.value for score in result.scores} == {"exact": 0, "loose": 1} and result.total == 0
