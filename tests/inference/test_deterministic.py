"""Deterministic mode with a real model: an answer does not depend on those beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from langwright.backend import Dtype, Request, Sampling
from langwright.inference import Engine, EngineSettings
from langwright.model import load_model

pytestmark = pytest.mark.slow


def instructions(data: Path, count: int) -> list[str]:
    lines = (data / "self_instruct/seed_tasks.jsonl").read_text().splitlines()
    found = [json.loads(line)["instruction"] for line in lines]
    found = [one for one in found if len(one) < 400]
    return (found + [f"{one} Be brief." for one in found])[:count]


@pytest.mark.parametrize("dtype", ["float32", "auto"])
def test_200_prompts_alone_and_beside_seven_others_are_bit_equal(
    smollm2_path: Path, data: Path, dtype: Dtype
) -> None:
    bundle = load_model(smollm2_path, dtype)
    requests = [
        Request(
            messages=[{"role": "user", "content": text}],
            max_tokens=8,
            logprobs=1,
            sampling=Sampling(0.8 * (index % 2), seed=index),
            id=str(index),
        )
        for index, text in enumerate(instructions(data, 200))
    ]
    assert len(requests) == 200

    def answered(model: Engine, asked: list[Request]) -> dict[str, list[object]]:
        found: dict[str, list[object]] = {request.id: [] for request in asked}
        for event in model.generate(asked):
            found[event.request_id] += event.logprobs
        return found

    settings = EngineSettings(deterministic=True, max_slots=8)
    alone = Engine(bundle, settings=settings)
    together = Engine(bundle, settings=settings)
    for start in range(0, 200, 8):
        group = requests[start : start + 8]
        beside = answered(together, group)
        for request in group:
            assert answered(alone, [request])[request.id] == beside[request.id]
