"""Answers drawn from the model that is trained, by the engine that also serves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from langwright.backend import Request, Sampling
from langwright.errors import Damaged
from langwright.inference import Engine, EngineSettings
from langwright.model import Adapters, is_quantised
from langwright.training.answers import AnswerBatch, AnswerRow, gather_alike
from langwright.training.trained import NAME, Model, TrainedAdapter

Messages = Sequence[Mapping[str, Any]]
SLOTS = 16
APART = 0.02
"""How far log-probabilities of engine and trainer may lie from each other in float32, on average
over a rollout, in nats: beyond it they do not compute the same model."""


@dataclass(frozen=True)
class Drawn:
    """One answer: its row of tokens, the end token included where it `ended` by itself, its text,
    and the log-probabilities that the engine drew its tokens by."""

    row: AnswerRow
    text: str
    ended: bool
    logprobs: np.ndarray


def draw(
    trained: Model,
    prompts: Sequence[Messages],
    group: int,
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
    slots: int = SLOTS,
    advance: Callable[[int], None] = lambda _: None,
) -> list[list[Drawn]]:
    """`group` answers to each prompt. Temperature 0 takes the likeliest. The module must be in
    `eval` mode; `advance` is told of answers as they end."""
    settings = EngineSettings(max_slots=slots, speculation="off")
    with _at_rest(trained) as (adapters, adapter):
        engine = Engine(trained.bundle, settings=settings, adapters=adapters)
        requests = [
            Request(
                messages=prompt,
                max_tokens=max_tokens,
                n=group,
                logprobs=0,
                adapter=adapter,
                sampling=Sampling(temperature, seed=seed + group * number),
            )
            for number, prompt in enumerate(prompts)
        ]
        places = {request.id: number for number, request in enumerate(requests)}
        heads = [engine.reader.prompt_ids(request) for request in requests]
        ids: list[list[list[int]]] = [[[] for _ in range(group)] for _ in prompts]
        texts = [["" for _ in range(group)] for _ in prompts]
        told: list[list[list[float]]] = [[[] for _ in range(group)] for _ in prompts]
        ended = [[False for _ in range(group)] for _ in prompts]
        for event in engine.generate(requests):
            place = places[event.request_id]
            ids[place][event.index] += event.token_ids
            texts[place][event.index] += event.text
            told[place][event.index] += [one.processed for one in event.logprobs]
            if event.finish_reason is not None:
                ended[place][event.index] = event.finish_reason == "stop"
                advance(1)
    return [
        [
            Drawn(AnswerRow(np.array(head + answer), len(head)), text, stopped, np.array(logprobs))
            for answer, text, stopped, logprobs in zip(*group_of, strict=True)
        ]
        for head, *group_of in zip(heads, ids, texts, ended, told, strict=True)
    ]


@contextmanager
def _at_rest(trained: Model) -> Iterator[tuple[Adapters | None, str | None]]:
    """An adapter in float32 is put into the weights while answers are drawn, so that the compiled
    kernels can draw them, and taken out again to the bit; else it is named in each request."""
    if not isinstance(trained, TrainedAdapter):
        yield None, None
        return
    adapters = trained.adapters
    adapters.select(None)
    whole = trained.module.dtype == torch.float32 and not is_quantised(trained.module)
    try:
        if whole:
            adapters.merge(NAME)
        yield adapters, None if whole else NAME
    finally:
        if whole:
            adapters.unmerge()
        adapters.select(NAME)


@torch.no_grad()
def logprobs_of(
    trained: Model,
    rows: Sequence[AnswerRow],
    micro_batch_tokens: int,
    temperature: float,
    *,
    reference: torch.nn.Module | None = None,
    without_adapter: bool = False,
) -> list[Tensor]:
    """Log-probabilities of the answers' tokens by the trainer's own pass, each [A] on the CPU: of
    the model, of it without its adapter, or of another (`reference`)."""
    module: Any = reference if reference is not None else trained.module
    bare = isinstance(trained, TrainedAdapter) and without_adapter
    found: list[Tensor] = [torch.empty(0)] * len(rows)
    words = trained.bundle.tokenizer.vocab_size
    with trained.adapters.use(None) if bare else nullcontext():  # type: ignore[union-attr]
        for chosen, part in gather_alike(rows, micro_batch_tokens):
            batch = AnswerBatch.of(part, len(chosen), chosen).to(module.device)
            values_N, _ = batch.logprobs(module, temperature, words)
            for number, values in zip(chosen, values_N.cpu().split(batch.sizes), strict=True):
                found[number] = values
    return found


def apart(answers: Sequence[Drawn], own: Sequence[Tensor], exact: bool) -> float:
    """The greatest distance between the log-probabilities that the engine drew by and those of the
    trainer's `own` pass over the same tokens. Raises `Damaged` where they are `exact` (float32) and
    on average further apart than rounding can be."""
    both = [
        np.abs(answer.logprobs - values.double().numpy())
        for answer, values in zip(answers, own, strict=True)
    ]
    every = np.concatenate(both)
    if exact and every.mean() > APART:
        raise Damaged(
            "Engine and trainer do not agree on the log-probabilities of answers: "
            f"{every.mean():.3g} nats apart on average.",
            remedy="Report this: the two must compute the same model.",
        )
    return float(every.max())
