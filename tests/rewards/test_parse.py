"""The parser: every accepted form, every refusal, known parser bugs, hostile input, and laws that hold for any text."""

import pickle
import time
from difflib import SequenceMatcher

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rewards
from rewards.omnimed import most_similar
from rewards.parse import READ_CHARS, parse
from rewards.types import CONTRACTS, LETTERS

OPTIONS = ["Adenoma", "Normal colon", "A lesion in the lung", "Squamous cell carcinoma"]


def block(answer: str) -> str:
    return f"<think>Even crypts, so not A or D.</think><answer>{answer}</answer>"


def letter(text: str, options: list[str] = OPTIONS) -> str | None:
    return parse(text, options).letters["letter"]


def strict(text: str, options: list[str] = OPTIONS) -> str | None:
    return parse(text, options).letters["strict"]


# --- what an answer block may hold ------------------------------------------------------------------------------

READ_AS_B = [
    "B", "b", "B.", "B)", "B:", "B,", "(b)", "(B)", "( B )", "[B]", "[b]", "{B}", "**B**", "*B*", "`B`", '"B"', "'B'",
    "“B”", "__B__", " B ", "\nB\n", "\tB", "B!", "**B.**", "**(B)**", "**B**.", "(B).", "[B].",
    "B: Normal colon", "B:Normal colon", "B - Normal colon", "B – Normal colon", "B — Normal colon", "B—Normal colon",
    "B) Normal colon", "B)Normal colon", "B. Normal colon", "B.Normal colon", "(B) Normal colon", "[B] Normal colon",
    "B) normal colon", "B) NORMAL COLON", "B) Normal colon.", "B) Normal  colon", "B)\nNormal\ncolon",
    "b) normal colon",
    "**B) Normal colon**", "**B)** Normal colon", "**B**) Normal colon", "B) **Normal colon**", '"B) Normal colon"',
    "`B) Normal colon`", "(b) Normal colon!", "B, Normal colon",
    r"\boxed{B}", r"$\boxed{B}$", r"$$\boxed{B}$$", r"\boxed{\text{B}}", r"\boxed{B) Normal colon}", r"\boxed{(B)}",
    r"\boxed{Normal colon}", r"\boxed{\textbf{B}}", r"\text{B}", r"The answer is \boxed{B}", r"\boxed{B}.",
    "Answer: B", "answer: b", "Answer: B)", "Answer: B) Normal colon", "**Answer:** B", "**Answer: B**", "Answer B",
    "The answer is B", "The answer is B.", "The correct answer is B", "The correct answer is (B) Normal colon.",
    "The answer is: B", "Final answer: B", "My answer is B.", "Correct option: B", "The best answer is B",
    "Option B", "option b", "Option B: Normal colon", "Option B.", "Choice B", "Option (B)", "Answer: Option B",
    "The correct option is B", "So, the answer is B.", "Therefore, the answer is B.",
    "B is correct", "Option B is correct.", "B is the correct answer.", "(B) is the right choice",
    '{"answer": "B"}', '{"answer": "B) Normal colon"}', '{"answer": "Normal colon"}', '{"Answer": "(B)"}',
    '{"option": "B"}', '{"choice": "B. Normal colon"}', '{"letter": "B"}', '{"final_answer": "B"}',
    '{"answer": "B", "confidence": 0.9}', '{"B": "Normal colon"}', '```json\n{"answer": "B"}\n```', "```\nB\n```",
    "{'answer': 'B'}", '{answer: B}',
    "Normal colon", "normal colon", "NORMAL COLON", "Normal colon.", "Normal  colon", "“Normal colon”",
    "*Normal colon*",
    "Answer: Normal colon", "The answer is normal colon.",
    "B) Normal", "B) Normal colon because the crypts are even", "B) Normal colon, with even crypts",
    "B) Normal colon (no dysplasia)", "B) Normal colon\nThe crypts are even.",
    "Ｂ", "（Ｂ）", "Ｂ）Normal colon", "Ｂ．", "𝐁", "ⓑ", "⒝", "B\u00a0) Normal\u00a0colon", "B\u3000",
]

NOT_READ = [
    "", " ", "\n", ".", "?", "**", "N/A", "None", "Unknown", "I cannot tell", "None of the above", "E", "(E)", "K) x",
    "Z", "E) Normal colon", "AB", "BC", "A B", "A, B", "A and B", "A or B", "B/C", "A & B", "A; B", "both A and B",
    "A,B,C,D",
    "A) Adenoma B) Normal colon", "A) Adenoma\nB) Normal colon\nC) A lesion in the lung\nD) Squamous cell carcinoma",
    "A. Adenoma, B. Normal colon", "A) Adenoma, Normal colon", "B) Normal colon or C) A lesion in the lung",
    "B) Normal colon or D", "(A) Adenoma (B) Normal colon", "Adenoma or Normal colon", "Adenoma, Normal colon",
    '{"A": "Adenoma", "B": "Normal colon", "C": "A lesion in the lung", "D": "Squamous cell carcinoma"}',
    '["A) Adenoma", "B) Normal colon"]', '{"answer": ["A", "B"]}', '{"answer": null}', '{"answer": {"A": "Adenoma"}}',
    '{"answer": "A", "answer": "B"}', '{"answer": "A", "option": "B"}', '{"A": "Adenoma", "answer": "B"}', "{}", "[]",
    '{"option": "A) Adenoma", "option": "B) Normal colon"}', '{"thoughts": "B"}', "{", '{"answer": ', "[[[[[[",
    "B) Adenoma", "A) Normal colon", "B: Adenoma", "(B) Squamous cell carcinoma", "B - Adenoma",
    "B) A lesion in the lung",
    "B) something else", "B because the crypts are even", "B. This is likely", "B) not Normal colon", "Not B", "not B)",
    "A lesion", "A lesion in the liver", "Based on the image", "Benign", "Because", "Bee", "A normal colon", "a polyp",
    "an adenoma", "B cell lymphoma", "B-cell lymphoma", "Beta", "The image shows B", "I think B", "(B", "Option",
    "Answer:", "The answer is", "The answer is A or B", "Option B is wrong", "B is wrong", "B is incorrect",
    "Anything but B",
    "Normal", "colon", "Normal colon?? no", "lung", r"\boxed{}", r"\boxed{A or B}", r"\boxed{B", "<b>B</b>", "1",
    "2)", "α",
]


@pytest.mark.parametrize("answer", READ_AS_B)
def test_forms_that_name_one_option(answer):
    parsed = parse(block(answer), OPTIONS)
    assert parsed.letters["letter"] == "B"
    assert parsed.problem is None and parsed.well_formed


@pytest.mark.parametrize("answer", NOT_READ)
def test_forms_that_name_no_option_or_several(answer):
    parsed = parse(block(answer), OPTIONS)
    assert parsed.letters["letter"] is None
    assert parsed.letters["strict"] is None
    assert parsed.problem


def test_a_lone_a_is_the_letter_a():
    assert letter(block("A")) == "A"


def test_the_tables_are_large():
    assert len(READ_AS_B) + len(NOT_READ) >= 200


# --- bugs of other parsers, by name ------------------------------------------------------------------------------

def test_an_enumeration_as_json_is_not_a():
    listed = '{"A": "Melanoma", "B": "Melanocytes", "C": "Nevus"}'
    assert letter(block(listed), ["Melanoma", "Melanocytes", "Nevus"]) is None
    assert letter(block('{"option": ["A) Melanoma", "B) Melanocytes"]}'), ["Melanoma", "Melanocytes"]) is None


def test_broken_json_with_a_stray_quote_is_read():
    assert letter(block('{"option": "B") Melanocytes"}'), ["Melanoma", "Melanocytes", "Nevus"]) == "B"


def test_broken_json_still_has_to_agree():
    assert letter(block('{"option": "A") Melanocytes"}'), ["Melanoma", "Melanocytes", "Nevus"]) is None


def test_nothing_is_ever_guessed_from_a_sentence():
    assert letter("A careful look at the image shows B cells.") is None
    assert letter("Based on the image, I see a lesion") is None


# --- strict ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text", [
    "<think>x</think><answer>B) Normal colon</answer>",
    "  <think>x</think>\n\n<answer>\n B)  Normal \n colon </answer>\n",
    "<think></think><answer>B) Normal colon</answer>",
    "<think>multi\nline < 3 & > 2</think><answer>B) Normal colon</answer>",
])
def test_strict_reads_the_papers_form(text):
    parsed = parse(text, OPTIONS)
    assert parsed.letters["strict"] == parsed.letters["letter"] == "B"
    assert parsed.well_formed


@pytest.mark.parametrize("answer", [
    "B", "B.", "b) Normal colon", "B) normal colon", "B) Normal colon.", "B: Normal colon", "B)Normal colon",
    "(B) Normal colon", "Normal colon", "B) Adenoma", "A) Normal colon", "**B) Normal colon**", "B) Normal", "",
])
def test_strict_keeps_case_punctuation_and_agreement(answer):
    assert strict(block(answer)) is None


@pytest.mark.parametrize("text", [
    "x<think>a</think><answer>B) Normal colon</answer>",
    "<think>a</think>x<answer>B) Normal colon</answer>",
    "<think>a</think><answer>B) Normal colon</answer>x",
    "<think>a</think><think>b</think><answer>B) Normal colon</answer>",
    "<think>a</think><answer>B) Normal colon</answer><answer>B) Normal colon</answer>",
    "<answer>B) Normal colon</answer><think>a</think>",
    "<answer>B) Normal colon</answer>",
    "<think>a</think>",
    "<think>a<answer>B) Normal colon</answer></think>",
    "<think>a</think><answer>B) Normal colon",
    "<think>a<answer>B) Normal colon</answer>",
    "a</think><answer>B) Normal colon</answer>",
    "<THINK>a</THINK><answer>B) Normal colon</answer>",
    "<think >a</think><answer>B) Normal colon</answer>",
    "<think>a</think><answer>B) Normal colon</answer>" * 2,
    "<think><think>a</think></think><answer>B) Normal colon</answer>",
    "",
])
def test_anything_else_around_the_blocks_is_not_well_formed(text):
    parsed = parse(text, OPTIONS)
    assert not parsed.well_formed
    assert parsed.letters["strict"] is None


# --- which block counts ------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("text", "expected"), [
    ("<think>t</think><answer>A</answer><answer>B</answer>", "B"),
    ("<answer>A</answer> wait <answer>B</answer>", "B"),
    ("<think><answer>A</answer></think><answer>B</answer>", "B"),
    ("<think><answer>A</answer></think>", None),
    ("<answer>B</answer><think>no <answer>A</answer></think>", "B"),
    ("reasoning that began in the prompt <answer>A</answer> hm</think><answer>B</answer>", "B"),
    ("reasoning that began in the prompt <answer>A</answer></think>", None),
    ("<think>a<think>b</think><answer>A</answer></think>", None),
    ("<think>a<think>b</think></think><answer>B</answer>", "B"),
    ("<think>I should use <think> tags</think><answer>B</answer>", "B"),
    ("<think>x</think><answer>B</answer></think>", "B"),
    ("<think>x</think><answer>B</answer></answer>", "B"),
    ("<think>x</think></answer><answer>B</answer>", "B"),
    ("<think>x</think><answer>A <answer>B</answer>", "B"),
    ("<think>x</think><answer>B</answer><answer>A", "B"),
    ("<THINK>x</THINK><ANSWER>B</ANSWER>", "B"),
    ("< think >x</ think >< answer >B</ answer >", "B"),
    ("＜think＞x＜/think＞＜answer＞B＜/answer＞", "B"),
    ("<think>The answer is B.", None),
    ("<think>x</think><answer>B</answer><think>hm", None),
    ("<think>cut <answer>B) Normal colon</answer>", None),
    ("<answer>E</answer> The answer is B.", None),
])
def test_the_last_answer_block_outside_the_reasoning(text, expected):
    assert letter(text) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("<think>x</think><answer>B) Normal colon", "B"),
    ("<think>x</think><answer>B) normal colon.", "B"),
    ("<think>x</think><answer>B) Normal colon</answ", "B"),
    ("<think>x</think><answer>B) Normal colon <", "B"),
    ("<think>x</think><answer>B", None),
    ("<think>x</think><answer>B) Norm", None),
    ("<think>x</think><answer>B) Normal", None),
    ("<think>x</think><answer>Normal colon", None),
    ("<think>x</think><answer>", None),
])
def test_an_unclosed_answer_block_may_have_been_cut(text, expected):
    parsed = parse(text, OPTIONS)
    assert parsed.letters["letter"] == expected
    assert parsed.problem == (None if expected else "answer block not closed")


@pytest.mark.parametrize(("text", "expected"), [
    ("B", "B"), ("B.", "B"), ("(B)", "B"), ("**B**", "B"), ("B) Normal colon", "B"), ("B: Normal colon.", "B"),
    ("The answer is B.", "B"), ("The answer is B", "B"), ("Answer: B", "B"), ("**Answer:** B) Normal colon", "B"),
    ("Even crypts.\nThe answer is B.", "B"), ("Even crypts. The answer is B.", "B"),
    ("Even crypts.\n\nB) Normal colon", "B"), ("Even crypts.\n(B)", "B"), ("Even crypts.\n**B.**\n", "B"),
    ("Even crypts. Therefore, the correct answer is **B) Normal colon**.", "B"),
    ("<think>x</think>The answer is B.", "B"), ("<think>x</think>\nB", "B"), ("x</think>\n\nB) Normal colon", "B"),
    ("<think>the answer is A.</think>The answer is B.", "B"), ("Even crypts. So the best option is B.", "B"),
    ("Even crypts.\nThe answer is normal colon.", "B"), ("x\n\\boxed{B}", "B"), ('x\n{"answer": "B"}', "B"),
    ("Option B is correct.", "B"), ("Even crypts: the answer is B.", "B"),
    ("Based on the image, the most likely answer is B.", "B"), ("This suggests that the correct answer is B.", "B"),
    ("Even crypts, so the answer is B) Normal colon.", "B"), ("### Answer: B", "B"), ("- **Answer:** (B)", None),
    ("Answer:\n\nB", "B"), ("**Final Answer:**\nB) Normal colon", "B"), ("x\n## The correct answer is\n**B**", "B"),
    ("I believe that the answer is option B", "B"), ("Of all options, the best choice is B.", "B"),
    ("There is no atypia, so the answer is B.", "B"), ("Not a tumour: the answer is B.", "B"),
    ("If the crypts are even, the answer is B.", None), ("It is not true that the answer is B.", None),
    ("I don't think that the answer is B.", None), ("With atypia, the answer would not be B.", None),
    ("It is unlikely that the answer is B.", None), ("Answer:\n\nA or B", None), ("The answer:\n\nE", None),
    ("The patient is 60. Had it been benign, the answer might be, say, B.", None),
    ("Even crypts.\nB", None),                       # a bare letter at the end may be a cut sentence
    ("The answer is A", None),                       # "A lesion in the lung" may have been cut
    ("The answer is A.", "A"),
    ("Normal colon", None), ("Even crypts, normal colon", None), ("It is B cells", None), ("I choose B", None),
    ("The answer is B. But the crypts are uneven.", None), ("The answer is not B.", None),
    ("If the answer is B, crypts are even. They are not.", None), ("The answer is A or B.", None),
    ("The answer is A. The answer is B.", None), ("The answer is A.\nThe answer is B.", None),
    ("The answer is E.", None), ("The answer is B) Adenoma.", None),
    ("A) Adenoma\nB) Normal colon", None), ("A) Adenoma\n\nB) Normal colon\nC) A lesion in the lung", None),
    ("Options:\nA) Adenoma\nB) Normal colon\nC) A lesion in the lung\nD) Squamous cell carcinoma", None),
    ("<think>B) Normal colon", None), ("<think>x\nThe answer is B.", None), ("<think>x</think>", None),
    ("<think>The answer is B.</think>", None), ("", None), ("   ", None), ("Option B is wrong.", None),
    ("The answer is B, I think, or maybe C", None), ("The answer is unclear.", None),
])
def test_without_an_answer_block(text, expected):
    assert letter(text) == expected


# --- difficult options --------------------------------------------------------------------------------------------

OPTION_SETS = {
    "labels inside": ["A) x", "(B) y", "C. diff colitis", "D: none"],
    "begin with A": ["A lesion", "A benign lesion", "A malignant lesion", "An artefact"],
    "substrings": ["carcinoma", "squamous cell carcinoma", "squamous cell", "cell"],
    "substrings, other order": ["squamous cell carcinoma of the lung", "squamous cell carcinoma", "lung"],
    "parentheses": ["CT (with contrast)", "CT (without contrast)", "CT", "MRI (T1)"],
    "duplicates": ["yes", "yes", "no", "no"],
    "duplicates but for case": ["Yes", "yes", "YES"],
    "blood groups": ["B", "A", "AB", "O"],
    "letters in reverse": ["D", "C", "B", "A"],
    "bacteria": ["B. subtilis", "E. coli", "C. difficile", "A. baumannii"],
    "cells": ["B cell", "T cell", "B-cell lymphoma", "A cell"],
    "unicode": ["５ µm", "β-catenin", "naïve T cells", "正常な大腸"],
    "micro": ["5 µm", "10 μm", "≤ 5 mm", "½"],
    "full width": ["Ｂ細胞", "Ａ型", "Ｃ", "Ｄ）"],
    "two": ["Yes", "No"],
    "ten": [f"grade {i}" for i in range(1, 11)],
    "ten, nested": ["grade " + "i" * i for i in range(1, 11)],
    "numbers": ["1", "10", "100", "0.1"],
    "punctuation": ["+", "++", "-", "none."],
    "markup": ["HLA-B*27", "`code`", "**bold**", "<b>tag</b>"],
    "quotes": ['the "halo" sign', "Crohn's disease", "“owl eye”", "'"],
    "sentences": ["The answer is B.", "None of the above", "Both A and B", "All of the above."],
    "json": ['{"a": 1}', "[x]", "{x}", "\\boxed{x}"],
    "tags": ["answer", "think", "option", "choice"],
    "white space": ["  a  b ", "a b c", "\ttab", "new\nline"],
    "stops": ["Fundus photograph.", "Fundus photograph of the left eye.", "OCT."],
    "colons": ["Grade: 3", "Stage: II", "TNM: T1N0M0"],
    "dashes": ["non-small-cell", "A - B junction", "x — y"],
    "i and c": ["C", "I", "i", "c"],
}

GOLD_CASES = [(name, index) for name, options in OPTION_SETS.items() for index in range(len(options))]


@pytest.mark.parametrize(("name", "index"), GOLD_CASES)
def test_the_gold_answer_scores_under_strict_and_letter(name, index):
    options = OPTION_SETS[name]
    parsed = parse(block(f"{LETTERS[index]}) {options[index]}"), options)
    assert parsed.letters["strict"] == LETTERS[index]
    assert parsed.letters["letter"] == LETTERS[index]


FORMS = ["{letter}: {text}", "({letter}) {text}", "[{letter}] {text}", "{letter}. {text}", "**{letter})** {text}",
         "{letter} - {text}", '{{"answer": "{letter}) {text}"}}', r"\boxed{{{letter}) {text}}}",
         "Answer: {letter}) {text}",
         "The answer is {letter}) {text}", "Option {letter}: {text}"]
AWKWARD = {("json", form) for form in FORMS} | {("quotes", FORMS[6])}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_with_difficult_options_is_right_or_unread(form):
    """A label with an option's text is never read as another option; only where marks collide it may stay unread."""
    for name, options in OPTION_SETS.items():
        for index, text in enumerate(options):
            answer = form.format(letter=LETTERS[index], text=" ".join(text.split()))
            read = letter(block(answer), options)
            if (name, form) in AWKWARD:
                assert read in (LETTERS[index], None), (name, answer)
            else:
                assert read == LETTERS[index], (name, answer)


@pytest.mark.parametrize("form", ["{text}", "{text}.", "**{text}**", "Answer: {text}", r"\boxed{{{text}}}"])
def test_the_text_alone_is_read_when_it_is_one_option_and_never_as_another(form):
    read = 0
    for name, options in OPTION_SETS.items():
        for index, text in enumerate(options):
            found = letter(block(form.format(text=text)), options)
            assert found in (LETTERS[index], None), (name, text)
            read += found is not None
    assert read > len(GOLD_CASES) * 0.6


def test_ambiguous_text_is_not_read():
    assert letter(block("yes"), OPTION_SETS["duplicates"]) is None
    assert letter(block("B) yes"), OPTION_SETS["duplicates"]) == "B"
    assert letter(block("yes"), OPTION_SETS["duplicates but for case"]) is None
    assert letter(block("A"), OPTION_SETS["blood groups"]) is None, "letter A, or blood group A, which is B"
    assert letter(block("AB"), OPTION_SETS["blood groups"]) == "C"
    assert letter(block("E. coli"), OPTION_SETS["bacteria"]) == "B"
    assert letter(block("B cell"), OPTION_SETS["cells"]) == "A"


def test_the_longest_option_wins_over_its_part():
    options = OPTION_SETS["substrings"]
    assert letter(block("squamous cell carcinoma"), options) == "B"
    assert letter(block("A) squamous cell carcinoma"), options) is None
    assert letter(block("B) carcinoma"), options) is None
    assert letter(block("C) squamous cell carcinoma"), options) is None


def test_normalisation_reaches_options_and_text_alike():
    options = ["5 \u00b5m", "10 \u03bcm"]
    assert strict(block("A) 5 \u03bcm"), options) == "A"
    assert letter(block("５ μm"), options) == "A"
    assert strict(block("Ａ） 5 µm"), options) == "A"


@pytest.mark.parametrize("count", range(2, 11))
def test_only_offered_letters(count):
    options = [f"option number {i}" for i in range(count)]
    for index, name in enumerate(LETTERS):
        expected = name if index < count else None
        assert letter(block(name), options) == expected
        assert letter(block(f"({name})"), options) == expected


@pytest.mark.parametrize("options", [[], ["only"], [f"o{i}" for i in range(14)], ("a", "b")])
def test_odd_numbers_of_options_do_not_raise(options):
    parsed = parse(block("B"), options)
    assert parsed.letters["letter"] in (*LETTERS[: len(options)], None)
    assert set(parsed.letters) == set(CONTRACTS)


@pytest.mark.parametrize("text", [None, 3, b"<answer>B</answer>", ["B"]])
def test_what_is_no_text_is_empty(text):
    parsed = parse(text, OPTIONS)
    assert parsed.letters["letter"] is None and parsed.problem == "empty"


# --- omnimed ----------------------------------------------------------------------------------------------------

def official(text: str, options: list[str]) -> int | None:
    """The rule as published: the first option with the highest ratio above zero."""
    best, winner = 0.0, None
    for index, option in enumerate(options):
        ratio = SequenceMatcher(None, option, text).ratio()
        if ratio > best:
            best, winner = ratio, index
    return winner


@settings(max_examples=300, deadline=None)
@given(st.text("abcdeé B)(", max_size=400), st.lists(st.text("abcdeé B", max_size=30), min_size=2, max_size=10))
def test_omnimed_is_the_official_rule(text, options):
    assert most_similar(text, options) == official(text, options)


def test_omnimed_keeps_autojunk_and_the_order_of_its_arguments():
    filler = "the quick brown fox " * 20
    options = ["fox brown", "completely different", "quick"]
    assert len(filler) > 200
    assert most_similar(filler, options) == official(filler, options)
    assert most_similar(filler, options) is None, "every letter is popular in the text, so nothing is similar"
    assert all(SequenceMatcher(None, filler, option).ratio() > 0 for option in options), "the other way round it would"


def test_omnimed_on_real_answers():
    for index, option in enumerate(OPTIONS):
        assert parse(f"It shows {option.lower()}.", OPTIONS).letters["omnimed"] == LETTERS[index]
        assert parse(option, OPTIONS).letters["omnimed"] == LETTERS[index]


def test_omnimed_reads_the_raw_text_and_answers_nothing_for_nothing():
    assert parse("", OPTIONS).letters["omnimed"] is None
    assert parse("###", OPTIONS).letters["omnimed"] is None
    assert parse("Ａdenoma", ["Ａ", "xdenoma"]).letters["omnimed"] == "B"


# --- hostile input and long input ---------------------------------------------------------------------------------

N = 1_000_000
LONG = {
    "unclosed think": "<think>" * (N // 7),
    "unclosed answer": "<answer>" * (N // 8),
    "closed answers": "<answer>B</answer>" * (N // 18),
    "closing only": "</think>" * (N // 8),
    "nested": "<think><answer>" * (N // 15) + "</answer></think>" * 10,
    "alternating": "<think></think>" * (N // 15),
    "less than": "<" * N,
    "less than, blank": "<    " * (N // 5),
    "slashes": "</    " * (N // 6),
    "answer is": "The answer is " * (N // 14),
    "answer is B": "The answer is B. " * (N // 17),
    "braces": "<answer>" + "{" * 10_000 + "</answer>",
    "json": "<answer>" + '{"answer":' * 1_900 + "</answer>",
    "brackets": "[" * N,
    "boxed": "<answer>" + "\\boxed{" * 2_800 + "</answer>",
    "white space": " " * N,
    "newlines": "\n" * N,
    "one word": "a" * N,
    "labels": "A) B) C) " * (N // 9),
    "stars": "<answer>" + "*" * 19_000 + "</answer>",
    "backticks": "<answer>```" + "`" * 19_000 + "</answer>",
    "quotes": "<answer>" + "\"'" * 9_000 + "</answer>",
    "combining": "e" + "\u0301\u0323" * (N // 2),
    "expanding": "\ufdfa" * N,
    "surrogates": "\ud800" * N,
    "options": "Normal colon " * (N // 13),
    "option words": "<answer>B) " + "Normal colon " * 1_500 + "</answer>",
    "sentences": "x. " * (N // 3),
    "leads": "<answer>" + "answer: " * 2_400 + "</answer>",
    "leads, open": "the final correct answer is : " * (N // 30),
    "many letters": "".join(chr(97 + i % 26) for i in range(N)),
    "distinct": "".join(chr(0x4E00 + i % 20_000) for i in range(N)),
}


@pytest.mark.parametrize("name", LONG)
def test_hostile_megabyte(name):
    start = time.process_time()
    parsed = parse(LONG[name], OPTIONS)
    found = {contract: parsed.letters[contract] for contract in CONTRACTS}
    assert time.process_time() - start < 1.0
    assert all(value is None or value in "ABCD" for value in found.values())
    assert found["strict"] is None


def test_time_is_linear():
    def seconds(size: int) -> float:
        text = "<think>" * size + "The answer is A. " * size
        taken = []
        for _ in range(5):  # the fastest: a collection of the whole test process can fall into any one
            start = time.process_time()
            dict(parse(text, OPTIONS).letters)
            taken.append(time.process_time() - start)
        return min(taken)

    seconds(1_000)
    assert seconds(32_000) < 40 * max(seconds(4_000), 0.0007)


def test_long_options_stay_fast():
    options = ["".join(chr(97 + (i * j) % 26) for i in range(2_000)) for j in range(1, 11)]
    text = "".join(chr(97 + (i * 7) % 26) for i in range(20_000))
    start = time.process_time()
    assert set(parse(text, options).letters) == set(CONTRACTS)
    parse(text, options).letters["omnimed"]
    assert time.process_time() - start < 1.0


def test_only_the_last_20000_characters_are_read_by_letter():
    padding = "x " * READ_CHARS
    parsed = parse(f"<think>{padding}</think><answer>B</answer>", OPTIONS)
    assert parsed.truncated and parsed.letters["letter"] == "B"
    parsed = parse(f"<answer>B</answer>{padding}", OPTIONS)
    assert parsed.truncated and parsed.letters["letter"] is None
    assert parsed.problem == "answer block beyond the last 20,000 characters"
    assert not parse(block("B"), OPTIONS).truncated


def test_a_long_but_well_formed_answer_stays_well_formed():
    parsed = parse(f"<think>{'x ' * READ_CHARS}</think><answer>B) Normal colon</answer>", OPTIONS)
    assert parsed.truncated and parsed.well_formed
    assert parsed.letters["strict"] == parsed.letters["letter"] == "B"


def test_a_cut_head_is_not_mistaken_for_a_missing_one():
    padding = "x " * READ_CHARS
    assert letter(f"<think>{padding}The answer is B.") is None, "still inside the reasoning that began far above"
    assert not parse(f"junk<think>{padding}</think><answer>B) Normal colon</answer>", OPTIONS).well_formed


# --- laws -------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from([
    "<think>", "</think>", "<answer>", "</answer>", "<Answer>", "A", "B", "C", "D", "E", ")", ".", ":", "(", " ",
    "\n", "**",
    "Adenoma", "Normal colon", "A lesion in the lung", "The answer is ", "Option ", '{"answer": "', '"}', "\\boxed{",
    "}", "or",
    "B) Normal colon", "é", "\u0301", "\u200b", "Ｂ", "\ud800", "</", "<", "1", "-", ",", "is correct",
])


@settings(max_examples=600, deadline=None)
@given(st.one_of(st.lists(PIECES, max_size=25).map("".join), st.text(max_size=200)),
       st.one_of(st.just(OPTIONS), st.lists(st.text(max_size=12), min_size=2, max_size=10)))
def test_laws(text, options):
    parsed = parse(text, options)
    letters = dict(parsed.letters)
    assert tuple(letters) == CONTRACTS
    assert all(value is None or value in LETTERS[: len(options)] for value in letters.values())
    if letters["strict"] is not None:
        assert parsed.well_formed and letters["letter"] == letters["strict"]
    if parsed.well_formed:
        assert parsed.think is not None and parsed.answer is not None
    assert (parsed.problem is None) == (letters["letter"] is not None)
    assert parse(text, tuple(options)) == parsed


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=20).filter(lambda s: s.strip() and not set(s) & set("<>＜＞﹤﹥")),
                min_size=2, max_size=10), st.data())
def test_gold_scores_for_any_options(options, data):
    index = data.draw(st.integers(0, len(options) - 1))
    parsed = parse(f"<think>t</think><answer>{LETTERS[index]}) {options[index]}</answer>", options)
    assert parsed.letters["strict"] == parsed.letters["letter"] == LETTERS[index]


def test_parsed_travels():
    parsed = parse(block("B"), OPTIONS)
    copy = pickle.loads(pickle.dumps(parsed))
    assert copy == parsed and copy.letters == {"strict": None, "letter": "B", "omnimed": parsed.letters["omnimed"]}
    assert "'letter': 'B'" in repr(parsed)
    with pytest.raises(KeyError):
        parsed.letters["other"]


def test_the_module_is_reached_by_its_public_name():
    assert rewards.parse.parse(block("B"), OPTIONS).letters["letter"] == "B"
    assert rewards.parse.VERSION
