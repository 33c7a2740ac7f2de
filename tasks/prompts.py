"""The text that goes to a model after the image: question, lettered options, and how to answer.

>>> "A) yes" in render(sample)                                          # doctest: +SKIP
True

One template for every task, in `question_prompt.txt`; a change of its text or of `render` bumps `VERSION` (a test
compares the file's hash with the version). No id, path, file name, subset or label enters a prompt.
Standard library only.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from string import Template

from rewards.types import LETTERS, Sample

VERSION = "1"

_CONTROL = re.compile(r"<(?=\|[^<>|]{1,64}\|>|image(?![a-z]))", re.IGNORECASE)


def render(sample: Sample) -> str:
    """The user text for one sample; the model backend's chat template adds the image before it.

    Control tokens such as `<|im_end|>` and image placeholders inside the data are broken by a blank, so that a row can
    neither end the turn nor claim a second image.
    """
    options = "\n".join(f"{LETTERS[i]}) {option}" for i, option in enumerate(sample.options))
    text = _template().substitute(question=sample.question, options=options)
    return inert(text)


def inert(text: str) -> str:
    """`text` with its control tokens and image placeholders broken by a blank; for prompts and training targets."""
    return _CONTROL.sub("< ", text)


def prompt_sha256(text: str) -> str:
    """Hex sha256 of a rendered prompt, as stored with every answer."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@cache
def _template() -> Template:
    return Template(Path(__file__).with_name("question_prompt.txt").read_text(encoding="utf-8").strip())
