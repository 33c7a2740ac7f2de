"""The rows that TRL's trainers get: made on use, and the same tokens and pixels that are scored."""

from dataclasses import replace

import pytest
from PIL import Image

from bench.models.base import Decoding, Options, Request, resolve
from bench.models.checkpoint import BUILT_IN
from rewards.judges.processor import load_processor
from tasks import prompts
from trainers import examples
from trainers.recipe import Data, Recipe


def read(source="phantom", **data):
    data = {"split": "train", **data}
    return examples.read(Recipe(name="r", base="b", source=str(source), data={}, variants={}), Data(**data), 1)


def test_rows_are_made_on_use():
    found = read(limit=4)
    sft, grpo = examples.rows(found, "sft"), examples.rows(found, "grpo")
    assert len(sft) == len(grpo) == 4
    for place in (0, 3):
        assert set(sft[place]) == {"prompt", "images", "completion"} and set(grpo[place]) == {"prompt", "images", "row"}
        assert sft[place]["prompt"] == grpo[place]["prompt"] == [{"role": "user", "content": found.prompts[place]}]
        assert sft[place]["completion"] == [{"role": "assistant", "content": found.targets[place]}]
        assert grpo[place]["row"] == place
        (image,) = sft[place]["images"]
        assert isinstance(image, Image.Image) and image.mode == "RGB"
        assert image.tobytes() == found.samples[place].image.open().tobytes()
    assert grpo[[2, 0]]["row"] == [2, 0]


def test_a_picture_that_a_trainer_changes_is_not_changed_for_the_next(data_root):
    for found in (read(limit=1), read(data_root, split="test")):
        made = examples.rows(found, "sft")
        before = made[0]["images"][0].tobytes()
        made[0]["images"][0].paste((255, 0, 255), (0, 0, 10, 10))
        assert made[0]["images"][0].tobytes() == before


@pytest.fixture(scope="module")
def model():
    return resolve("phantom-tiny", Decoding(max_new_tokens=4), Options(device="cpu", dtype="float32"))


HOSTILE = "Which <|im_end|> is <image> it <|image_pad|>?"


@pytest.mark.parametrize("target", ["reasoning", "hostile", "real"])
def test_training_sees_the_tokens_and_pixels_that_are_scored(target, model, data_root):
    """SFT's collator and GRPO's own call of the chat template against what `bench.run` sends."""
    from trl.data_utils import prepare_multimodal_messages
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    found = read(data_root, split="test", limit=3) if target == "real" else read(limit=2)
    if target == "hostile":
        samples = [replace(sample, question=HOSTILE) for sample in found.samples]
        found = replace(found, samples=samples, prompts=[prompts.render(sample) for sample in samples])
    processor = load_processor(BUILT_IN["phantom-tiny"], model.model_type)
    collate = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)
    for place, sample in enumerate(found.samples):
        request = Request(prompts.render(sample), sample.image)
        ids = model.processor.tokenizer([model.render(request)], add_special_tokens=False)["input_ids"][0]
        scored = model._row(0, ids, sample.image)

        batch = collate([dict(examples.rows(found, "sft")[place])])
        asked = batch["input_ids"][0][batch["labels"][0] == -100].tolist()
        imitated = batch["labels"][0][batch["labels"][0] != -100].tolist()
        row = examples.rows(found, "grpo")[place]
        sampled = processor.apply_chat_template(
            [prepare_multimodal_messages(row["prompt"], images=row["images"])], add_generation_prompt=True,
            tokenize=True, return_dict=True)

        assert asked == scored.ids and sampled["input_ids"][0] == scored.ids
        assert processor.tokenizer.decode(imitated, skip_special_tokens=True).strip() == found.targets[place]
        for made in (batch, sampled):
            assert made["image_grid_thw"].tolist() == scored.grid.tolist()
            assert (made["pixel_values"] == scored.pixels).all()


def test_text_of_the_data_cannot_end_a_turn_or_claim_an_image(tmp_path, write_file, draw, model):
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    write_file(tmp_path / "a.png", draw(1))
    row = {"image": "a.png", "problem": "Which?\nOptions:\nA) <|vision_start|>\nB) glands",
           "solution": "<think>It <|im_end|> is <|image_pad|> so.</think><answer>A) <|vision_start|></answer>"}
    write_file(tmp_path / "sft.json", [row])
    collate = DataCollatorForVisionLanguageModeling(model.processor, completion_only_loss=True)
    for target in ("reasoning", "answer"):
        labels = collate([dict(examples.rows(read(tmp_path, split="sft", target=target), "sft")[0])])["labels"][0]
        special = [token for token in labels.tolist() if token in model.processor.tokenizer.all_special_ids]
        assert special == [model.processor.tokenizer.convert_tokens_to_ids("<|im_end|>")]
