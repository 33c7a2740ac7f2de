"""Loads a vision-language checkpoint whole or not at all; used by the backend under test and by the trainers.

    model = load_model(Path("checkpoint"), torch.float32, name="--model 'checkpoint'")

transformers fills weights that a checkpoint lacks with random numbers and goes on; here that is an error by name.
Imports torch and transformers on use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rewards.errors import UserError


def load_model(folder: Path, dtype: Any, name: str) -> Any:
    """The model in `folder`; `name` begins the message of every UserError. Code of the checkpoint is never run."""
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # its report of missing weights is this function's error
    try:
        model, report = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True,
            ignore_mismatched_sizes=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as problem:
        raise UserError(f"{name} does not load: {str(problem).splitlines()[0]}") from problem
    finally:
        logging.set_verbosity(verbosity)
    lost = sorted({*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])})
    if lost:
        raise UserError(f"{name} lacks {len(lost)} weights that its config.json asks for, or has "
                        f"them in another shape ({', '.join(lost[:3])}{', ...' if len(lost) > 3 else ''}); "
                        "expected a whole checkpoint")
    return model
