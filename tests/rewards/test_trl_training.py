"""The adapter inside a real GRPOTrainer: called on the trainer's loop, missing verdicts stay out, parts are logged."""

import json

import pytest
from reward_cases import OPTIONS, ScriptedJudge

from rewards.adapters import TRLReward
from rewards.judges.base import JudgeReply


class EverySecondJudge(ScriptedJudge):
    """No verdict for every second answer."""

    async def ask(self, request):
        silent = self.calls % 2
        reply = await super().ask(request)
        return JudgeReply(failure="timeout", reason="no reply", calls=1) if silent else reply


class Watched(TRLReward):
    """Keeps what it returned."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.returned = []

    async def __call__(self, prompts, completions, completion_ids=None, **columns):
        totals = await super().__call__(prompts, completions, completion_ids, **columns)
        self.returned.append(totals)
        return totals


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_steps_of_grpo(tmp_path):
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    words = ["[PAD]", "[EOS]", "<think>", "</think>", "<answer>", "</answer>", "A", "B", "C", ")", "What", "is", "?"]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="?"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", eos_token="[EOS]", unk_token="?")
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=len(words), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, pad_token_id=0, eos_token_id=1))
    data = Dataset.from_list([
        {"prompt": "What is ?", "question": "What is shown?", "options": list(OPTIONS), "answer_index": 1,
         "facts": json.dumps({"n": i}), "id": str(i)} for i in range(4)])
    reward = Watched("dual", judge=EverySecondJudge(), max_completion_tokens=6)
    trainer = GRPOTrainer(
        model=model, reward_funcs=[reward], train_dataset=data, processing_class=tokenizer,
        args=GRPOConfig(
            output_dir=str(tmp_path), per_device_train_batch_size=4, num_generations=4, max_completion_length=6,
            max_steps=2, logging_steps=1, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to=[],
            save_strategy="no", disable_tqdm=True, log_completions=False))
    trainer.train()
    returned = [total for totals in reward.returned for total in totals]
    assert len(returned) == 8 and sum(total is None for total in returned) == 4
    assert all(total is None or 0 <= total <= 3 for total in returned)
    logs = [entry for entry in trainer.state.log_history if "reward/format" in entry]
    assert len(logs) == 2 and logs[0]["reward/integrity/missing"] == 0.5
    assert logs[0]["reward/integrity"] == 1.0 and "rewards/dual/mean" in logs[0]
