"""Finds a checkpoint, says what it is, and takes its fingerprint.

    folder = locate("Qwen/Qwen2.5-VL-3B-Instruct")     # or a folder
    config = read_config(folder)                        # refuses what is not a vision-language checkpoint
    fingerprint(folder)                                 # changes with every file that can change an answer

Only safetensors weights are accepted: a pickle can run code. Must not import torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from rewards.errors import UserError

BUILT_IN = {"phantom-tiny": Path(__file__).parent.parent.parent / "tasks" / "phantom" / "tiny"}
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
TRAINING = ("variant", "parent", "parent_fingerprint", "stage", "seed", "data", "data_sha256", "reward", "steps",
            "recipe_sha256")
PATTERNS = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]


def locate(ref: str, asked: str = "--model") -> Path:
    """The folder of a checkpoint: a built-in name, a folder, or a hub id (downloaded or from the local cache).

    `asked` says where the reference was given. Raises UserError when there is none.
    """
    if ref in BUILT_IN:
        return _checked(BUILT_IN[ref], ref)
    folder = Path(ref).expanduser()
    if folder.exists():
        return _checked(folder, ref)
    if HUB_ID.fullmatch(ref):
        return _download(ref)
    raise UserError(f"{asked} {ref!r}: no such folder, and not a hub id of the form owner/name; expected a checkpoint "
                    f"folder with config.json, a hub id, or a built-in name ({', '.join(BUILT_IN)})")


def read_config(folder: Path) -> dict[str, Any]:
    """The checkpoint's configuration. Raises UserError for text-only or unreadable ones, and without safetensors."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model_type = str(config["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise UserError(f"{folder / 'config.json'} does not read as a model configuration ({problem}); expected JSON "
                        "with a model_type") from problem
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    if model_type not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise UserError(f"{folder} is a {model_type!r} checkpoint, which reads no images in this version of "
                        "transformers; expected a vision-language model such as Qwen2.5-VL")
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"{folder} has no *.safetensors weights; pickled weights are not loaded, convert them first")
    return dict(config)


def fingerprint(folder: Path) -> str:
    """sha256 over name and content of every file that can change an answer (weights, configuration, tokenizer)."""
    total = hashlib.sha256()
    for path in sorted({file for pattern in PATTERNS for file in folder.glob(pattern)}):
        if path.name == "manifest.json":
            continue
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{path.name}\0{content}\n".encode())
    return total.hexdigest()


def training(ref: str) -> dict[str, Any] | None:
    """What the manifest of a checkpoint trained here says of its making, None for any other model.

    Its stage, parent, data hash, reward fingerprint, judge and recipe; see `trainers.stage`.
    """
    try:
        found = json.loads((BUILT_IN.get(ref, Path(ref)) / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    return {key: found[key] for key in TRAINING if key in found} or None


def _checked(folder: Path, ref: str) -> Path:
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise UserError(f"--model {ref!r} holds a LoRA adapter without its base; merge it into the base model first")
    if not (folder / "config.json").is_file():
        raise UserError(f"--model {ref!r} is not a checkpoint: {folder / 'config.json'} is missing; expected the "
                        "folder that save_pretrained wrote")
    return folder


def _download(ref: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return _checked(Path(snapshot_download(ref, allow_patterns=PATTERNS)), ref)
    except LocalEntryNotFoundError as problem:
        raise UserError(f"--model {ref!r} is neither a folder here nor in the local hub cache, and the hub cannot "
                        "be reached; download it where there is a network, or give a folder") from problem
    except HfHubHTTPError as problem:
        status = getattr(problem.response, "status_code", "no answer")
        raise UserError(f"--model {ref!r}: the hub answered {status}; for a gated model accept its terms and set "
                        "HF_TOKEN, otherwise check the name") from problem
    except OSError as problem:
        raise UserError(f"--model {ref!r}: the hub cannot be reached ({type(problem).__name__}); give a checkpoint "
                        "folder instead") from problem
