from __future__ import annotations

import torch
from tests.training.step_worker import fresh

from langwright.training.weights import MasterWeights


def test_in_bfloat16_the_weights_alone_are_rounded() -> None:
    """Rounded angles would turn the training's positions away from those of every other use."""
    module, exact = fresh(), fresh()
    masters = MasterWeights(module, torch.bfloat16)
    assert {weight.dtype for weight in module.parameters()} == {torch.bfloat16}
    assert module.lm_head.weight is module.embed_tokens.weight
    torch.testing.assert_close(module.rotary.frequencies, exact.rotary.frequencies, rtol=0, atol=0)
    for name, weight in exact.named_parameters():
        assert torch.equal(masters.weights[name], weight)
