"""Loads a checkpoint's processor; Qwen2.5-VL without its video half, which alone would need torchvision.

    processor = load_processor(Path("checkpoint"))
    processor.apply_chat_template([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}])

Images always go through the PIL image processor of Qwen2-VL, with or without torchvision on the machine, so that
a score does not depend on which resize happened to be installed.
Shared by the models under test (`bench.models`) and the local judge. transformers is imported on use.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from rewards.errors import UserError

QWEN_VL = frozenset({"qwen2_vl", "qwen2_5_vl"})
"""Model types whose images go through the Qwen2-VL image processor (patch grid plus M-RoPE)."""


@cache
def image_only_processor() -> type:
    """The Qwen2.5-VL processor class with image processor and tokenizer as its only parts.

    transformers 5.19 builds the video processor from torchvision alone and refuses `video_processor=None`;
    this goes when it has a PIL video backend. Made on first use, because it subclasses a class that is slow to import.
    """
    from transformers import Qwen2_5_VLProcessor

    class ImageOnlyProcessor(Qwen2_5_VLProcessor):
        """Qwen2.5-VL for still images."""

        @classmethod
        def get_attributes(cls) -> list[str]:
            return ["image_processor", "tokenizer"]

        def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None,
                     **kwargs: Any) -> None:
            super().__init__(image_processor, tokenizer, chat_template=chat_template, **kwargs)

        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            """The video processor is absent by design; everything else is checked as usual."""
            if argument_name == "video_processor":
                return None
            return super().check_argument_for_proper_class(argument_name, argument)

        @property
        def model_input_names(self) -> list[str]:
            """Inputs of a still image; those of a video are left out."""
            return [*self.tokenizer.model_input_names, *self.image_processor.model_input_names, "mm_token_type_ids"]

    return ImageOnlyProcessor


def load_processor(folder: Path | str, model_type: str, max_pixels: int | None = None) -> Any:
    """The processor of the checkpoint in `folder` (a hub id where transformers may look there).

    `max_pixels` bounds the area of an image after resizing (Qwen only); None keeps the checkpoint's own bound.
    Raises UserError when the folder holds no usable image processor: transformers would then hand back a bare
    tokenizer, and the model would be scored blind.
    """
    from transformers import AutoProcessor, AutoTokenizer

    try:
        if model_type in QWEN_VL:
            from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

            images = Qwen2VLImageProcessorPil.from_pretrained(folder)
            if max_pixels is not None:
                images.size = {"shortest_edge": min(images.size["shortest_edge"], max_pixels),
                               "longest_edge": max_pixels}
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            return image_only_processor()(images, tokenizer, chat_template=tokenizer.chat_template)
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, ImportError) as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise UserError(f"{folder} has no processor that loads here ({reason}); expected preprocessor_config.json and "
                        "tokenizer files beside the weights") from problem
    if not hasattr(processor, "image_processor"):
        raise UserError(f"{folder} has a tokenizer but no image processor; expected a vision-language checkpoint "
                        "with preprocessor_config.json")
    if max_pixels is not None:
        raise UserError(f"--max-pixels is known for Qwen2-VL and Qwen2.5-VL only, and {folder} is {model_type!r}; "
                        "leave the flag out")
    return processor
