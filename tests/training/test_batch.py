from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from langwright.errors import BadSettings
from langwright.inference import score_rows
from langwright.model import Architecture, Decoder
from langwright.training.batch import Row, gather, next_token_loss
from langwright.training.settings import LoopSettings

SHAPE = Architecture(
    vocab_size=64,
    hidden_size=16,
    intermediate_size=32,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=8,
    context_length=32,
    tie_embeddings=False,
)


def module() -> Decoder:
    decoder = Decoder(SHAPE)
    decoder.initialise(0)
    with torch.no_grad():  # the projections that start at zero would hide the layers
        for parameter in decoder.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.manual_seed(1)) * 0.1)
    return decoder


def rows(lengths: list[int]) -> list[Row]:
    numbers = np.random.default_rng(0)
    return [
        Row(numbers.integers(0, 64, length), numbers.random(length) < 0.5) for length in lengths
    ]


def gradient(decoder: Decoder, given: list[Row], micro_batch_tokens: int) -> torch.Tensor:
    batches = gather(given, micro_batch_tokens)
    units = sum(batch.units for batch in batches)
    decoder.zero_grad()
    for batch in batches:
        (next_token_loss(decoder, batch) / units).backward()
    return torch.cat([p.grad.flatten() for p in decoder.parameters() if p.grad is not None])


def test_loss_is_the_masked_sum_of_the_plain_formula() -> None:
    """Against a loop over single tokens of single, unpadded rows."""
    decoder, given = module(), rows([5, 9, 30])
    expected = torch.tensor(0.0)
    for row in given:
        logits = decoder(torch.tensor(row.ids[None]))[0]
        assert row.learn is not None
        for place in range(1, len(row.ids)):
            if row.learn[place]:
                expected = expected - logits[place - 1].log_softmax(-1)[row.ids[place]]
    got = sum(float(next_token_loss(decoder, batch).detach()) for batch in gather(given, 32))
    assert got == pytest.approx(float(expected.detach()), rel=1e-5)


@pytest.mark.parametrize("micro_batch_tokens", [31, 64, 90])
def test_gradient_does_not_depend_on_the_cut_into_micro_batches(micro_batch_tokens: int) -> None:
    """Rows of very unequal length: a mean of means would differ by far more."""
    decoder, given = module(), rows([3, 32, 7, 20, 2, 31, 4])
    whole = gradient(decoder, given, 10_000)
    assert torch.allclose(gradient(decoder, given, micro_batch_tokens), whole, atol=1e-6)


def test_one_window_at_least_is_worked_through_at_once() -> None:
    """A long window needs no second setting; a smaller piece that was asked for is refused."""
    given = {"steps": 1, "tokens_per_step": 16384, "context_length": 256, "learning_rate": 1e-3}
    assert LoopSettings.build(given).micro_batch_tokens == 2048
    given["context_length"] = 8192
    settings = LoopSettings.build(given)
    assert settings.micro_batch_tokens == 8192
    assert LoopSettings.restored(settings.model_dump(mode="json")) == settings
    with pytest.raises(BadSettings, match="at least one context window"):
        LoopSettings.build(given | {"micro_batch_tokens": 4096})


def test_tokens_that_are_not_learnt_give_no_gradient() -> None:
    decoder = module()
    ids = np.arange(10)
    row = Row(ids, np.array([False] * 6 + [True] * 4))
    batch = gather([row], 32)[0]
    assert batch.places_N is not None
    # Only the four positions that predict a learnt token reach the head at all.
    assert batch.places_N.tolist() == [5, 6, 7, 8]
    loss = next_token_loss(decoder, batch)
    loss.backward()
    logits = decoder(batch.ids_BT).flatten(0, 1)
    whole = F.cross_entropy(logits, batch.targets_BT.flatten(), reduction="sum")
    torch.testing.assert_close(loss, whole)
    taken = [weight.grad for weight in decoder.parameters()]
    decoder.zero_grad()
    whole.backward()
    torch.testing.assert_close(taken, [weight.grad for weight in decoder.parameters()])


def test_padding_is_never_a_target() -> None:
    batch = gather(rows([4, 12]), 1000)[0]
    full = F.one_hot(batch.targets_BT.clamp(min=0), 64)
    assert full.shape[:2] == (2, 11)
    assert (batch.targets_BT[0, 3:] == -100).all() or (batch.targets_BT[1, 3:] == -100).all()


def test_trainer_and_engine_hold_a_text_equally_likely() -> None:
    """The loss that is trained and the score that is reported come from one formula."""
    decoder = module()
    whole = [Row(row.ids) for row in rows([6, 17, 30])]
    trained = sum(float(next_token_loss(decoder, batch).detach()) for batch in gather(whole, 64))
    scores = score_rows(decoder, [row.ids.tolist() for row in whole], 32, 16)
    scored = -sum(value for row in scores for value in row if value is not None)
    assert trained == pytest.approx(scored, rel=1e-6)
