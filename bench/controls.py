"""Controls: the same questions asked in a way that should change the answer, or should not.

    present("blind", samples, seed=0)      # no image: what the text alone gives away
    present("shuffled-image", samples, 0)  # another sample's image: does the model look at *this* one?
    present("rotated-options", samples, 0) # options moved on by one: does it prefer a letter?

A control is one function here, decorated with its name: it maps the samples of one task to what is shown instead.
The plain condition is the first of them. Must not import torch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rewards.errors import UserError, suggest
from rewards.types import ImageSource, Sample

PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Presented:
    """A question as it is put to the model: the sample (its options may have moved) and the image shown, or None."""

    sample: Sample
    condition: str
    image: ImageSource | None


Control = Callable[[Sequence[Sample], int], list[tuple[Sample, ImageSource | None]]]
_CONTROLS: dict[str, Control] = {}


def control(name: str) -> Callable[[Control], Control]:
    """Record a control under its name."""

    def record(function: Control) -> Control:
        _CONTROLS[name] = function
        return function

    return record


def names() -> tuple[str, ...]:
    """Names that `--controls` takes."""
    return tuple(name for name in _CONTROLS if name != PLAIN)


def present(condition: str, samples: Sequence[Sample], seed: int) -> list[Presented]:
    """The samples of one task under a condition, in their order. Raises UserError for an unknown name."""
    if condition not in _CONTROLS:
        raise UserError(f"unknown control {condition!r}{suggest(condition, names())}; "
                        f"controls are {', '.join(names())}")
    return [Presented(sample, condition, image) for sample, image in _CONTROLS[condition](samples, seed)]


@control(PLAIN)
def plain(samples: Sequence[Sample], seed: int) -> list[tuple[Sample, ImageSource | None]]:
    """Every question with its own image."""
    return [(sample, sample.image) for sample in samples]


@control("blind")
def blind(samples: Sequence[Sample], seed: int) -> list[tuple[Sample, ImageSource | None]]:
    """No image at all."""
    return [(sample, None) for sample in samples]


@control("shuffled-image")
def shuffled_image(samples: Sequence[Sample], seed: int) -> list[tuple[Sample, ImageSource | None]]:
    """Another group's image, each group's image shown in place of exactly one other's.

    Raises UserError when all samples share one image.
    """
    images = {sample.group: sample.image for sample in samples}
    if len(images) < 2:
        raise UserError("the shuffled-image control needs samples of at least two different images; raise --limit or "
                        "leave the control out")
    groups = sorted(images)
    random.Random(seed).shuffle(groups)
    other = dict(zip(groups, groups[1:] + groups[:1], strict=True))
    return [(sample, images[other[sample.group]]) for sample in samples]


@control("rotated-options")
def rotated_options(samples: Sequence[Sample], seed: int) -> list[tuple[Sample, ImageSource | None]]:
    """Own image, every option one place further on; the right text stays right under its new letter."""
    return [(replace(sample, options=(sample.options[-1], *sample.options[:-1]),
                     answer_index=(sample.answer_index + 1) % len(sample.options)), sample.image)
            for sample in samples]
