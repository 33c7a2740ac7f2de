"""Questions whose text gives nothing away: uniform answers by construction, and trivial baselines at chance."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from scipy.stats import chisquare

from tasks.phantom.baselines import BASELINES, measure
from tasks.phantom.facts import MODALITIES, sample_facts, to_dict
from tasks.phantom.knowledge import evaluate, kinds, required
from tasks.phantom.questions import ask, from_facts
from tasks.phantom.suite import samples

OMNIMED_TYPES = {"Modality Recognition", "Anatomy Identification", "Disease Diagnosis", "Lesion Grading",
                 "Other Biological Attributes"}


@pytest.fixture(scope="module")
def asked():
    return {task: [q for i in range(1500) for q in ask(task, np.random.default_rng([7, i]))[1]] for task in MODALITIES}


def test_all_five_question_types_and_three_kinds_a_modality():
    types = {kind.type for task in MODALITIES for kind in kinds(task).values()}
    assert types == OMNIMED_TYPES
    for task in MODALITIES:
        assert len(kinds(task)) >= 3
        diagnosis = kinds(task)["diagnosis"]
        assert diagnosis.type == "Disease Diagnosis"
        assert any(len(value.when) >= 2 for value in diagnosis.values.values())


@pytest.mark.parametrize("task", MODALITIES)
def test_phrases_are_unique_within_a_task(task):
    names = [value.name.lower() for kind in kinds(task).values() for value in kind.values.values()]
    means = [text.lower() for kind in kinds(task).values() for value in kind.values.values() for text in value.means]
    assert len(set(names + means)) == len(names + means)


@pytest.mark.parametrize("task", MODALITIES)
def test_companions_are_uniform_under_the_sampler_of_facts(task):
    rng = np.random.default_rng(11)
    drawn = [to_dict(sample_facts(task, rng)) for _ in range(4000)]
    for kind in kinds(task).values():
        if kind.companion:
            counts = Counter(evaluate(kind, facts) for facts in drawn)
            assert chisquare([counts[key] for key in kind.values]).pvalue > 1e-4, kind.name


@pytest.mark.parametrize("task", MODALITIES)
def test_every_value_is_equally_often_right_in_every_kind(task, asked):
    for name, kind in kinds(task).items():
        counts = Counter(q.value for q in asked[task] if q.kind == name)
        assert set(counts) == set(kind.values), name
        assert chisquare([counts[key] for key in kind.values]).pvalue > 1e-4, name


@pytest.mark.parametrize("task", MODALITIES)
def test_every_option_of_an_option_set_is_equally_often_right(task, asked):
    by_set = defaultdict(Counter)
    for q in asked[task]:
        by_set[q.kind, tuple(sorted(q.choices))][q.value] += 1
    statistic = freedom = 0.0
    for (_, choices), counts in by_set.items():
        n = sum(counts.values())
        if n >= 5 * len(choices):
            statistic += sum((counts[key] - n / len(choices)) ** 2 / (n / len(choices)) for key in choices)
            freedom += len(choices) - 1
    assert freedom > 10
    assert abs(statistic - freedom) < 4.5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("task", MODALITIES)
def test_letters_are_uniform_and_options_distinct(task, asked):
    four = [q for q in asked[task] if len(q.choices) == 4]
    counts = Counter(q.answer_index for q in four)
    assert chisquare([counts[i] for i in range(4)]).pvalue > 1e-4
    assert all(len(set(q.options)) == len(q.options) for q in asked[task])


@pytest.mark.parametrize("task", MODALITIES)
def test_the_answer_follows_from_the_facts_and_several_questions_share_an_image(task):
    groups = Counter()
    for sample in samples(task, "test", n=120):
        question = from_facts(sample.facts)
        groups[sample.group] += 1
        assert sample.options[sample.answer_index] == question.name_of(evaluate(question.about, question.facts))
        assert all(alternatives for alternatives in required(question.about, question.value, question.facts))
    assert max(groups.values()) >= 2 and len(groups) < 100


@pytest.mark.parametrize("options", [2, 3, 5])
def test_two_to_five_options_on_request(options):
    counts = Counter(len(sample.options) for sample in samples("oct", "test", n=200, options=options))
    assert max(counts) == options


@pytest.mark.parametrize("task", MODALITIES)
def test_trivial_baselines_are_at_chance(task):
    rows = measure(task, n=900, train=1500)
    assert [row.baseline for row in rows] == list(BASELINES)
    for row in rows:
        assert row.at_chance_together, row
        assert row.low_all < row.low < row.accuracy < row.high < row.high_all
    assert sum(row.at_chance for row in rows) >= 3


def test_the_text_only_model_sees_a_leak_when_there_is_one():
    """The classifier behind the last row is able to learn: it finds an answer that the wording gives away."""
    rows = {row.baseline: row for row in measure("derm", n=300, train=600, leak=True)}
    assert rows["text-only model"].low > rows["text-only model"].chance + 0.2
