"""What a model under test is to the bench, and the registry that finds backends.

    model = resolve("path/to/checkpoint", Decoding())
    for index, completion in model.generate([Request("Which stain?", image)]): ...

A backend is one file in this folder: a class decorated with `@backend("name")`. A reference `name:rest` selects it;
a reference without a known prefix is a transformers checkpoint. Outside packages use the entry-point group
`pathvlm_bench.models`. Must not import torch: the file of each backend does so on use.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol

from rewards.errors import UserError, suggest
from rewards.types import Completion, ImageSource

GROUP = "pathvlm_bench.models"
STOP = "</answer>"
"""Generation ends when this text is complete; the paper's outputs end with it."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """Everything that can change an answer besides model, prompt and image; stored in the manifest.

    `temperature` 0 is greedy. `max_pixels` bounds the area of an image after resizing, None keeps the checkpoint's
    own bound. The checkpoint's generation defaults (Qwen ships a repetition penalty of 1.05) are *not* applied.
    """

    max_new_tokens: int = 1024
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: str = STOP
    max_pixels: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the manifest and for journal keys."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt: the user's text and the image that goes before it, None for a blind question."""

    prompt: str
    image: ImageSource | None


class Model(Protocol):
    """A model under test. `fingerprint` changes whenever its answers could."""

    fingerprint: str

    def describe(self) -> dict[str, Any]:
        """Reference, type, dtype, device and versions, for the manifest."""

    def render(self, request: Request) -> str:
        """The whole prompt as the model gets it, chat template applied; part of the journal key."""

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        """Yield `(index into requests, completion)` as rows finish, in any order, each index exactly once.

        A request that cannot be answered yields a Completion with finish_reason "error"; it never ends the batch.
        """


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a model here; nothing in it may change an answer in float32."""

    batch_size: int = 16
    device: str | None = None
    dtype: str | None = None
    base_url: str | None = None


Factory = Callable[[str, Decoding, Options], Model]
_BACKENDS: dict[str, Factory] = {}


def backend(name: str) -> Callable[[Any], Any]:
    """Record a class or function `(ref, decoding, options) -> Model` under `name`; nothing else happens."""

    def record(factory: Any) -> Any:
        _BACKENDS[name] = factory
        return factory

    return record


def backends() -> dict[str, Factory]:
    """Every backend: the files of this folder and the installed entry points."""
    package = importlib.import_module("bench.models")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"bench.models.{module.name}")
    for entry in entry_points(group=GROUP):
        entry.load()
    return dict(_BACKENDS)


def resolve(ref: str, decoding: Decoding, options: Options | None = None) -> Model:
    """The model that `ref` names. Raises UserError when there is no such backend or checkpoint."""
    known = backends()
    prefix, colon, rest = ref.partition(":")
    if not colon or "/" in prefix or "\\" in prefix or len(prefix) == 1:
        return known["hf"](ref, decoding, options or Options())
    if prefix not in known:
        raise UserError(f"--model {ref!r}: no backend {prefix!r}{suggest(prefix, known)}; expected a checkpoint "
                        f"folder, a hub id, or one of {', '.join(sorted(known))} followed by a colon")
    return known[prefix](rest, decoding, options or Options())
