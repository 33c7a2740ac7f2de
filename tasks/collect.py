"""From rows to samples: one row at a time, problems counted, ids unique, each image file looked at once.

>>> rows = Collector("path", "pathmmu", root=Path("data"))             # doctest: +SKIP
>>> rows.add("PubMed-test-7", lambda image: Sample(...), "images/a.png")  # doctest: +SKIP

Shared by the loaders of this room. Must not import torch or lm_eval.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from rewards.types import Sample
from tasks.images import BadImage, FileImage
from tasks.loaded import Dropped, Loaded, Reason, RowError, finish
from tasks.options import squash, whole


class Collector:
    """Gathers the samples of one task from rows whose images lie under `root`."""

    def __init__(self, task: str, suite: str, root: Path, limit: int | None = None) -> None:
        self.task = task
        self.suite = suite
        self.root = root
        self.limit = limit
        self.samples: list[Sample] = []
        self.dropped: list[Dropped] = []
        self._images: dict[str, FileImage | BadImage] = {}
        self._ids: set[str] = set()
        self._contents: set[str] = set()

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return self.limit is not None and len(self.samples) >= self.limit

    def add(self, row_id: str, read: Callable[[Mapping[str, object]], Sample], row: object) -> None:
        """Turn one row into a sample, or count it as dropped.

        An exact repetition (image, question, options) is dropped. An id that a different row already has gets a
        suffix made of the row's content, so that no question is lost and ids stay the same from run to run.
        """
        try:
            if not isinstance(row, dict):
                raise RowError(Reason.MALFORMED, "not an object")
            sample = read(row)
        except (RowError, BadImage) as problem:
            self.dropped.append(Dropped(self.task, row_id, problem.reason, whole(problem.detail)))
            return
        key = json.dumps([sample.subset, sample.image_sha256, squash(sample.question), sample.options])
        content = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        if content in self._contents:
            self.dropped.append(Dropped(self.task, row_id, Reason.DUPLICATE, squash(sample.question)[:80]))
            return
        self._contents.add(content)
        if sample.id in self._ids:
            sample = replace(sample, id=f"{sample.id}-{content[:8]}")
        self._ids.add(sample.id)
        self.samples.append(sample)

    def image(self, name: object, folder: str = "") -> FileImage:
        """The checked image file of that name in `folder` of the root. Raises: BadImage, RowError without a name."""
        if not isinstance(name, str) or not name.strip():
            raise RowError(Reason.NO_IMAGE_NAMED, "" if name is None else repr(name)[:80])
        if name not in self._images:
            try:
                found = FileImage.inside(self.root, name, folder)
                found.check()
                self._images[name] = found
            except BadImage as problem:
                self._images[name] = problem
        known = self._images[name]
        if isinstance(known, BadImage):
            raise known.with_traceback(None)
        return known

    def finish(self) -> Loaded:
        """Everything gathered so far."""
        return finish(self.samples, self.dropped, self.suite)


def text(row: Mapping[str, object], key: str) -> str:
    """A text field stripped, "" when absent or not text."""
    value = row.get(key)
    return whole(value).strip() if isinstance(value, str) else ""


def question(row: Mapping[str, object], key: str = "question") -> str:
    """The question. Raises: RowError when there is none."""
    found = text(row, key)
    if not found:
        raise RowError(Reason.NO_QUESTION)
    return found
