"""Controls change what they say and nothing else."""

from __future__ import annotations

import pytest

from bench.controls import names, present
from rewards.errors import UserError
from rewards.types import Sample
from tasks.images import MemoryImage


def sample(number: int, group: int) -> Sample:
    return Sample("s", "path", f"id{number}", f"g{group}", "q", ("a", "b", "c"), number % 3, "t",
                  MemoryImage(lambda: str(group).encode(), name=f"g{group}"))


SAMPLES = [sample(number, number // 2) for number in range(20)]


def test_plain_shows_every_question_with_its_own_image():
    shown = present("plain", SAMPLES, 0)
    assert [p.sample for p in shown] == SAMPLES
    assert all(p.image is p.sample.image for p in shown)


def test_blind_shows_no_image():
    assert all(p.image is None and p.condition == "blind" for p in present("blind", SAMPLES, 0))


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_image_never_shows_the_own_group_and_uses_each_image_alike(seed):
    shown = present("shuffled-image", SAMPLES, seed)
    assert [p.sample for p in shown] == SAMPLES
    assert all(p.image.read() != p.sample.image.read() for p in shown)
    replaced = {p.sample.group: p.image.read() for p in shown}
    assert len(set(replaced.values())) == len(replaced) == 10
    assert [p.image.name for p in present("shuffled-image", SAMPLES, seed)] == [p.image.name for p in shown]


def test_shuffled_image_depends_on_the_seed():
    assert [p.image.name for p in present("shuffled-image", SAMPLES, 0)] != \
        [p.image.name for p in present("shuffled-image", SAMPLES, 1)]


def test_shuffled_image_needs_two_images():
    with pytest.raises(UserError, match="at least two different images"):
        present("shuffled-image", SAMPLES[:2], 0)


def test_rotated_options_keep_the_right_text_right():
    for before, after in zip(SAMPLES, present("rotated-options", SAMPLES, 0), strict=True):
        assert after.sample.options[after.sample.answer_index] == before.options[before.answer_index]
        assert after.sample.options != before.options
        assert sorted(after.sample.options) == sorted(before.options)


def test_unknown_controls_are_refused_with_a_suggestion():
    with pytest.raises(UserError, match="did you mean 'blind'"):
        present("blnd", SAMPLES, 0)
    assert names() == ("blind", "shuffled-image", "rotated-options")
