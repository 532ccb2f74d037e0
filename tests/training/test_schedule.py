from __future__ import annotations

import pytest
import torch
from transformers import get_inverse_sqrt_schedule, get_wsd_schedule
from transformers.optimization import get_cosine_with_min_lr_schedule_with_warmup

from langwright.errors import BadSettings
from langwright.training.schedule import learning_rate_factor
from langwright.training.settings import LoopSettings


def settings(**values: float) -> LoopSettings:
    given = {
        "steps": 100,
        "tokens_per_step": 32,
        "context_length": 32,
        "learning_rate": 1.0,
        "embedding_learning_rate": 1.0,
        "warmup_steps": 10,
        "decay_fraction": 0.4,
        "final_learning_rate_fraction": 0.1,
        **values,
    }
    return LoopSettings.build(given)


def test_equals_transformers_schedule_one_step_on() -> None:
    """transformers begins at 0 and reaches its end after the last step; ours learns from the
    first step and reaches the end at the last, which is its curve one step later."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = get_wsd_schedule(
        optimizer,
        num_warmup_steps=10,
        num_decay_steps=40,
        num_training_steps=100,
        decay_type="linear",
        min_lr_ratio=0.0,
    )
    for step in range(100):
        optimizer.step()
        theirs.step()
        expected = theirs.get_last_lr()[0]
        assert learning_rate_factor(
            step, settings(final_learning_rate_fraction=0.0)
        ) == pytest.approx(expected, abs=1e-9)


def test_cosine_equals_transformers_schedule_one_step_on() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = get_cosine_with_min_lr_schedule_with_warmup(optimizer, 10, 100, min_lr_rate=0.1)
    ours = cosine_settings()
    for step in range(100):
        optimizer.step()
        theirs.step()
        # It warms up from the least rate, ours from nothing.
        if step >= 10:
            expected = theirs.get_last_lr()[0]
            assert learning_rate_factor(step, ours) == pytest.approx(expected, abs=1e-9)
    assert [learning_rate_factor(step, ours) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1])


def test_noam_equals_transformers_inverse_square_root_one_step_on() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = get_inverse_sqrt_schedule(optimizer, 40)
    for step in range(400):
        optimizer.step()
        theirs.step()
        factor = learning_rate_factor(step, noam_settings(steps=400, warmup_steps=40))
        assert factor == pytest.approx(theirs.get_last_lr()[0], rel=1e-12)


def test_without_warmup_or_decay_it_is_flat() -> None:
    flat = settings(warmup_steps=0, decay_fraction=0.0)
    assert {learning_rate_factor(step, flat) for step in range(99)} == {1.0}


def test_ends_at_the_final_fraction() -> None:
    factors = [learning_rate_factor(step, settings()) for step in range(100)]
    assert factors[-1] == pytest.approx(0.1)
    assert factors[59] == 1.0
    assert factors[79] == pytest.approx(0.55)


def test_noam_is_the_papers_rate() -> None:
    """Equation 3 of Vaswani et al. 2017, through torch's own scheduler; the peak is the end of
    the warm-up."""
    width, warmup = 512, 40
    paper = [width**-0.5 * min(n**-0.5, n * warmup**-1.5) for n in range(1, 401)]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: paper[step])
    noam = noam_settings(steps=400, warmup_steps=warmup)
    peak = (width * warmup) ** -0.5
    rates = []
    for step in range(400):
        rates.append(peak * learning_rate_factor(step, noam))
        assert rates[-1] == pytest.approx(theirs.get_last_lr()[0], rel=1e-12)
        if step < 399:
            optimizer.step()
            theirs.step()
    assert max(rates) == rates[warmup - 1] == pytest.approx(peak)
    base = (512 * 4000) ** -0.5
    assert base == pytest.approx(7.0e-4, rel=0.01)


def cosine_settings() -> LoopSettings:
    return LoopSettings.build(
        settings().model_dump(exclude={"decay_fraction", "muon_momentum"}) | {"schedule": "cosine"}
    )


def noam_settings(**values: float) -> LoopSettings:
    unused = {"decay_fraction", "final_learning_rate_fraction", "muon_momentum"}
    kept = settings(**values).model_dump(exclude=unused)
    return LoopSettings.build(kept | {"schedule": "noam"})


def test_noam_needs_a_warmup_and_has_no_decay() -> None:
    with pytest.raises(BadSettings, match="needs warmup_steps"):
        noam_settings(warmup_steps=0)
    with pytest.raises(BadSettings, match="noam has no decay_fraction"):
        LoopSettings.build(settings().model_dump() | {"schedule": "noam"})
    with pytest.raises(BadSettings, match="cosine has no decay_fraction"):
        LoopSettings.build(settings().model_dump() | {"schedule": "cosine"})
