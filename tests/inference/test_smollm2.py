"""SmolLM2-135M-Instruct against transformers, which reads the same file in its own way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from langwright.backend import Request, Sampling
from langwright.inference import Engine
from langwright.model import ModelBundle

pytestmark = pytest.mark.slow

PROMPTS = [
    "The capital of France is",
    "Once upon a time, there was a little girl who",
    "def fibonacci(n):\n    ",
    "Water boils at 100 degrees",
    "1, 2, 3, 4, 5,",
    "Q: What is the largest planet?\nA:",
    "Der schnelle braune Fuchs",
    "La vie est",
    "你好，世界",
    "🙂",
    "import numpy as np\n",
    "E = mc",
    "The quick brown fox jumps over the lazy dog. " * 8,
    "Dear Sir or Madam,\n\nI am writing",
    '{"name": "Ann", "age":',
    "To be, or not to be, that is",
    "SELECT * FROM users WHERE",
    "   ",
    "x",
    "The mitochondria is the powerhouse of the",
]


@pytest.fixture(scope="module")
def theirs(smollm2_path: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(
        str(smollm2_path.parent),
        gguf_file=smollm2_path.name,
        dtype=torch.float32,
        local_files_only=True,
    ).eval()


@torch.inference_mode()
def test_logits_and_the_likeliest_token_are_equal(
    smollm2: ModelBundle, theirs: PreTrainedModel
) -> None:
    largest = 0.0
    for prompt in PROMPTS:
        ids = torch.tensor([smollm2.tokenizer.encode(prompt)])
        ours, expected = smollm2.module(ids), theirs(ids).logits
        largest = max(largest, float((ours - expected).abs().max()))
        assert torch.equal(ours.argmax(-1), expected.argmax(-1)), prompt
    print(f"largest difference of a logit: {largest:.2e}")
    assert largest <= 1e-3


@torch.inference_mode()
def test_64_greedy_tokens_are_equal(smollm2: ModelBundle, theirs: PreTrainedModel) -> None:
    engine = Engine(smollm2)
    greedy = Sampling(temperature=0.0)
    prompts = PROMPTS[:4]
    requests = [
        Request(text=prompt, max_tokens=64, sampling=greedy, id=prompt) for prompt in prompts
    ]
    tokens: dict[str, list[int]] = {prompt: [] for prompt in prompts}
    for event in engine.generate(requests):
        tokens[event.request_id] += event.token_ids
    for prompt in prompts:
        ids = torch.tensor([engine.tokenize(prompt)])
        out = theirs.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=64,
            do_sample=False,
            eos_token_id=sorted(smollm2.end_ids),
            pad_token_id=0,
        )
        assert tokens[prompt] == out[0, ids.shape[1] :].tolist(), prompt
