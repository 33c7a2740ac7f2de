"""A reply that fits its schema by construction: a template with gaps that a local model fills in.

>>> [str(piece) for piece in template({"type": "object", "properties": {"a": {"enum": ["yes", "no"]}}}, None)]
['{"a": "', "Choice(options=('yes', 'no'), path='a')", '"}']

A gap is either free text (evidence, generated greedily) or a choice, decided by the log-probability of each option as
the continuation. So even a small model cannot answer with prose or with a value that does not exist.
torch and transformers are imported when a model is loaded, not with this module.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rewards.errors import UserError
from rewards.judges.processor import QWEN_VL, load_processor

_TENTHS = tuple(round(i / 10, 1) for i in range(11))


@dataclass(frozen=True, slots=True)
class Choice:
    """One of `options`, as they stand in the JSON text; `path` names the gap."""

    options: tuple[str, ...]
    path: str


@dataclass(frozen=True, slots=True)
class Text:
    """Free text between quotes."""

    path: str


def template(schema: Mapping[str, Any], lattice: Sequence[float] | None) -> list[str | Choice | Text]:
    """Literal pieces and gaps of the JSON text for `schema`; numbers are chosen from `lattice` (None: tenths)."""
    pieces: list[str | Choice | Text] = []
    for piece in _walk(schema, lattice or _TENTHS, ""):
        if pieces and isinstance(piece, str) and isinstance(pieces[-1], str):
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return pieces


def _walk(node: Mapping[str, Any], lattice: Sequence[float], path: str) -> Iterator[str | Choice | Text]:
    if "enum" in node:
        yield from ('"', Choice(tuple(node["enum"]), path), '"')
    elif node.get("type") == "object":
        for number, (name, child) in enumerate(node["properties"].items()):
            yield ("{" if number == 0 else ", ") + json.dumps(name) + ": "
            yield from _walk(child, lattice, f"{path}/{name}".strip("/"))
        yield "}"
    elif node.get("type") == "number":
        yield Choice(tuple(f"{value:.1f}" for value in sorted(lattice, reverse=True)), path)
    else:
        yield from ('"', Text(path), '"')


@dataclass(slots=True)
class Filled:
    """One filled template: the JSON `text`, the probability of each option by gap, and token counts."""

    text: str = ""
    probabilities: dict[str, dict[str, float]] = field(default_factory=dict)
    tokens_in: int = 0
    tokens_out: int = 0


class LocalModel:
    """A checkpoint with its tokenizer, in evaluation mode. Loads in the constructor."""

    def __init__(self, path: str, device: str | None, dtype: str) -> None:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer
        from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

        try:
            config = AutoConfig.from_pretrained(path, trust_remote_code=False)
            sees = config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
            loader = AutoModelForImageTextToText if sees else AutoModelForCausalLM
            self.tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left", trust_remote_code=False)
            model = loader.from_pretrained(path, dtype=dtype, use_safetensors=True, trust_remote_code=False)
        except (OSError, ValueError) as problem:
            raise UserError(f"judge local: cannot load {path!r} ({str(problem).splitlines()[0]}); give a checkpoint "
                            "folder with config.json, *.safetensors and a tokenizer, or a hub id") from None
        self.processor: Any = load_processor(path, config.model_type) if config.model_type in QWEN_VL else None
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.model: Any = model.to(self.device).eval()
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    @property
    def name(self) -> str:
        """What is recorded as the model that answered."""
        return Path(self.model.config._name_or_path or "local").name

    def prompt(self, system: str, user: str, image: bool = False) -> str:
        """The chat text up to the reply; a checkpoint without a chat template gets both texts under each other."""
        if self.tokenizer.chat_template is None:
            return f"{system}\n\n{user}\n\n"
        content = [{"type": "image"}, {"type": "text", "text": user}] if image else user
        turns = [{"role": "system", "content": system}, {"role": "user", "content": content}]
        return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    def ids(self, text: str) -> list[int]:
        """Tokens of a piece of text on its own, without special tokens around it."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def fill(self, prompts: list[str], pieces: Sequence[str | Choice | Text], text_tokens: int,
             images: Sequence[Any] = ()) -> list[Filled]:
        """Fill the template for every prompt, gap by gap; `text_tokens` bounds a free text, 0 leaves it empty.

        `images` are PIL images, one a prompt (with its placeholder), or none at all.
        """
        import torch

        with torch.inference_mode():
            session = _Session(self, [self.ids(prompt) for prompt in prompts], images)
            for piece in pieces:
                if isinstance(piece, str):
                    session.say(piece)
                elif isinstance(piece, Choice):
                    session.choose(piece)
                else:
                    session.write(text_tokens)
        return session.filled


class _Session:
    """Replies in progress for one batch of prompts: the prompts are read once, every gap continues from their cache.

    Rows grow unevenly; shorter ones are padded inside, masked, and positions count only what is not masked.
    """

    def __init__(self, owner: LocalModel, prompts: list[list[int]], images: Sequence[Any] = ()) -> None:
        import torch
        from transformers import DynamicCache

        self.torch, self.owner = torch, owner
        self.pad: int = owner.tokenizer.pad_token_id
        seen = self._see(prompts, images) if images else {}
        self.filled = [Filled(tokens_in=len(prompt)) for prompt in prompts]
        self.cache = DynamicCache()
        self.mask = torch.zeros((len(prompts), 0), dtype=torch.long, device=owner.device)
        self.last: Any = None
        self.shift = torch.zeros((len(prompts), 1), dtype=torch.long, device=owner.device)
        width = max(len(prompt) for prompt in prompts)
        # padded on the left, so that the last position is the last token of every row and only it needs logits
        ids = [[self.pad] * (width - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        self.last = self._forward(ids, mask, keep=1, seen=seen)[:, -1]

    def _see(self, prompts: list[list[int]], images: Sequence[Any]) -> dict[str, Any]:
        """Pixels of all images; each placeholder in `prompts` is widened to its image's number of tokens."""
        encoded = self.owner.processor.image_processor(images=list(images), return_tensors="pt")
        token = self.owner.model.config.image_token_id
        merged = self.owner.processor.image_processor.merge_size ** 2
        for prompt, grid in zip(prompts, encoded["image_grid_thw"], strict=True):
            place = prompt.index(token)
            prompt[place:place + 1] = [token] * (int(grid.prod()) // merged)
        return {"pixel_values": encoded["pixel_values"].to(self.owner.device, self.owner.model.dtype),
                "image_grid_thw": encoded["image_grid_thw"].to(self.owner.device)}

    def _place(self, ids: Any, seen: Mapping[str, Any]) -> Any:
        """M-RoPE positions (3, batch, length) of prompts with images; what follows them counts on from `shift`."""
        positions, _ = self.owner.model.model.get_rope_index(
            ids, mm_token_type_ids=(ids == self.owner.model.config.image_token_id).int(), attention_mask=self.mask,
            image_grid_thw=seen["image_grid_thw"])
        tokens = self.mask.sum(dim=1, keepdim=True)
        self.shift = (positions.amax(dim=0) * self.mask).amax(dim=1, keepdim=True) + 1 - tokens
        return positions

    def _forward(self, ids: list[list[int]], mask: list[list[int]], keep: int,
                 seen: Mapping[str, Any] | None = None) -> Any:
        """Log-probabilities (batch, keep, vocabulary) after the last `keep` of the new tokens."""
        torch, model = self.torch, self.owner.model
        self.mask = torch.cat([self.mask, torch.tensor(mask, device=self.owner.device)], dim=1)
        tokens = torch.tensor(ids, device=self.owner.device)
        positions = (self.mask.cumsum(-1) - 1).clamp(min=0)[:, -len(ids[0]):] + self.shift
        if "mrope_section" in str(getattr(model.config.get_text_config(), "rope_parameters", "")):
            positions = positions[None].expand(3, -1, -1)  # text counts alike in time, height and width
        if seen:
            positions = self._place(tokens, seen)
        out = model(input_ids=tokens, attention_mask=self.mask, position_ids=positions, past_key_values=self.cache,
                    use_cache=True, logits_to_keep=keep, **(seen or {}))
        return torch.log_softmax(out.logits.float(), dim=-1)

    def feed(self, rows: list[list[int]]) -> Any:
        """Append tokens to every row (some may be empty); returns the table (batch, longest row, vocabulary)."""
        width = max(len(row) for row in rows)
        if width == 0:
            return None
        ids = [row + [self.pad] * (width - len(row)) for row in rows]
        mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
        table = self._forward(ids, mask, keep=width)
        ends = [table[n, len(row) - 1] if row else self.last[n] for n, row in enumerate(rows)]
        self.last = self.torch.stack(ends)
        return table

    def say(self, text: str) -> None:
        """Append the same literal text to every reply."""
        self.feed([self.owner.ids(text)] * len(self.filled))
        for one in self.filled:
            one.text += text

    def write(self, most: int) -> None:
        """Let every row write greedily until a quote, a line break, a backslash or `most` tokens."""
        tokenizer = self.owner.tokenizer
        written: list[list[int]] = [[] for _ in self.filled]
        open_rows = set(range(len(self.filled)))
        for _ in range(most):
            step: list[list[int]] = [[] for _ in self.filled]
            for n in sorted(open_rows):
                token = int(self.last[n].argmax())
                shown = tokenizer.decode([token], skip_special_tokens=True)
                if not shown or any(c in shown for c in '"\n\\'):
                    open_rows.discard(n)
                else:
                    step[n] = [token]
                    written[n].append(token)
            if not open_rows:
                break
            self.feed(step)
        for one, row in zip(self.filled, written, strict=True):
            one.text += json.dumps(tokenizer.decode(row).strip(), ensure_ascii=False)[1:-1]
            one.tokens_out += len(row)

    def choose(self, choice: Choice) -> None:
        """Give every row the option that is most probable as its continuation."""
        options = [self.owner.ids(option) for option in choice.options]
        scores: list[list[float]] = []
        for tokens in options:
            score = self.last[:, tokens[0]].tolist()
            if len(tokens) > 1:
                length, mask, last = self.mask.shape[1], self.mask, self.last
                table = self.feed([tokens[:-1]] * len(self.filled))
                self.cache.crop(length)
                self.mask, self.last = mask, last
                for n in range(len(self.filled)):
                    score[n] += sum(float(table[n, i, token]) for i, token in enumerate(tokens[1:]))
            scores.append(score)
        chosen = []
        for n, one in enumerate(self.filled):
            mine = [score[n] for score in scores]
            weights = [math.exp(score - max(mine)) for score in mine]
            best = weights.index(max(weights))
            one.probabilities[choice.path] = {
                option: round(weight / sum(weights), 6) for option, weight in zip(choice.options, weights, strict=True)
            }
            one.text += choice.options[best]
            one.tokens_out += len(options[best])
            chosen.append(options[best])
        self.feed(chosen)
