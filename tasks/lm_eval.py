r"""The lm-eval side of the five tasks: documents, prompts, lazy images and scores for the YAML files of this folder.

    lm_eval run --model hf-multimodal --model_args pretrained=CKPT --apply_chat_template \
        --include_path tasks --tasks path,ct --metadata '{"data": "my-data"}'

The YAML files name the functions here by their real package path, so that one copy of the module is loaded. The data
SOURCE comes from `--metadata` (`data`, `split`) or from the environment (PATHVLM_DATA, PATHVLM_SPLIT).

No stop string but end-of-sequence is configured: lm-eval cuts a stop string off, and the parser must see whether
`</answer>` was written or the token cap came first. Scores are therefore taken from the text up to the first closing
tag, so that a model which runs on scores like one that stopped there. Must not import torch or transformers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from PIL import Image

import tasks
from rewards.errors import UserError
from rewards.types import ImageSource, Sample
from tasks import prompts

IMAGE_TAG = "<image>"
"""Where lm-eval's multimodal models put the image."""

_END = "</answer>"


class Docs(list[dict[str, Any]]):
    """A list of documents with the `features` attribute that lm-eval reads off a data set."""

    @property
    def features(self) -> dict[str, None]:
        """Field names of a document."""
        return dict.fromkeys(self[0])


def dataset(pathvlm_task: str, data: str | None = None, split: str | None = None, **_: object) -> dict[str, Docs]:
    """Documents of one task, under the key lm-eval's `test_split` names.

    `data` and `split` come from `--metadata`, else from PATHVLM_DATA and PATHVLM_SPLIT; other metadata (lm-eval merges
    the model's arguments in) is none of this function's business. Raises: UserError.
    """
    source = data or os.environ.get("PATHVLM_DATA")
    if not source:
        raise UserError(f"task {pathvlm_task} needs a data source: add --metadata '{{\"data\": \"FOLDER\"}}' (or hub, "
                        "or phantom), or set PATHVLM_DATA")
    loaded = tasks.read(pathvlm_task, source, split=split or os.environ.get("PATHVLM_SPLIT"))
    if not loaded.samples:
        raise UserError(f"task {pathvlm_task} has no usable row in {source}: {loaded.reasons()}")
    return {"test": Docs(document(sample) for sample in loaded.samples)}


def document(sample: Sample) -> dict[str, Any]:
    """One sample as lm-eval keeps and logs it: plain fields, and a lazy image."""
    return {
        "id": sample.id, "suite": sample.suite, "task": sample.task, "subset": sample.subset, "split": sample.split,
        "question_type": sample.question_type, "question": sample.question, "options": list(sample.options),
        "answer_index": sample.answer_index, "answer": sample.answer, "prompt": prompts.render(sample),
        "image_sha256": sample.image_sha256, "image": LazyImage(sample.image),
    }


def doc_to_text(doc: dict[str, Any]) -> str:
    """The image placeholder, then the prompt."""
    return f"{IMAGE_TAG}{doc['prompt']}"


def doc_to_image(doc: dict[str, Any]) -> list[LazyImage]:
    """The image, not decoded yet."""
    return [doc["image"]]


def doc_to_target(doc: dict[str, Any]) -> str:
    """The right answer in the paper's form."""
    return f"<answer>{doc['answer']}</answer>"


def up_to_answer(text: str) -> str:
    """The text up to and with the first `</answer>`; the whole text when there is none.

    >>> up_to_answer("<answer>B) no</answer> and so on")
    '<answer>B) no</answer>'
    """
    head, tag, _ = text.partition(_END)
    return head + tag


def process_results(doc: dict[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """Per-answer values in {0, 1}: accuracy under each contract, parse rate, format rate."""
    from rewards.adapters import lm_eval_results

    text = results[0][0] if isinstance(results[0], list) else results[0]
    return lm_eval_results(doc, [up_to_answer(text)])


class LazyImage(Image.Image):
    """A PIL image that decodes on every use and keeps nothing: no pixels, no file handle.

    `source` is the `ImageSource` behind it. Its text form names the content, so logs are the same on every machine.
    """

    def __init__(self, source: ImageSource) -> None:
        self.source = source
        self.info = {}
        self.palette = None
        self.readonly = 1
        self._mode = "RGB"
        self._im = None
        self._exif = None
        self._known_size: tuple[int, int] | None = None

    @property  # type: ignore[misc]
    def im(self) -> Any:
        """Pillow's core image, decoded afresh."""
        return self.source.open().im

    @property
    def _size(self) -> tuple[int, int]:  # type: ignore[override]
        if self._known_size is None:
            self._known_size = self.source.open().size
        return self._known_size

    def load(self) -> Any:
        """Pixel access to a freshly decoded copy."""
        return self.source.open().load()

    def __reduce__(self) -> tuple[type[LazyImage], tuple[ImageSource]]:
        return type(self), (self.source,)

    def __repr__(self) -> str:
        return f"<image sha256:{self.source.sha256}>"

    __str__ = __repr__
