"""Requests among others: what the engine promises of each, whoever else is there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from langwright.backend import Event, Request, Sampling
from langwright.errors import BadInput, NotFound
from langwright.inference import Engine, EngineSettings, decoding
from langwright.model import Adapters, LoRASettings, ModelBundle

pytestmark = pytest.mark.usefixtures("one_thread", "memory")

Make = Callable[..., ModelBundle]
GREEDY = Sampling(temperature=0.0)
LONG = {"context_length": 512}


@pytest.fixture(params=["slots", "pages"])
def memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where keys and values lie; pages are a GPU's, but nothing in them needs one."""
    monkeypatch.setattr("langwright.inference.memory.in_pages", lambda _: request.param == "pages")
    return str(request.param)


def answer(model: Engine, **request: Any) -> list[Event]:
    return list(model.generate([Request(**request)]))


def tokens(events: list[Event], index: int = 0) -> list[int]:
    return [token for event in events if event.index == index for token in event.token_ids]


def some_ids(count: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 300, (count,), generator=generator).tolist()


def test_a_prompt_read_in_chunks_answers_as_one_read_at_once(make_model: Make) -> None:
    bundle = make_model(5, **LONG)
    prompt = some_ids(230, 1)
    answers = [
        tokens(
            answer(
                Engine(bundle, settings=EngineSettings(prefill_chunk=chunk)),
                token_ids=prompt,
                max_tokens=20,
                sampling=GREEDY,
            )
        )
        for chunk in (32, 64, 512)
    ]
    assert answers[0] == answers[1] == answers[2]


def test_a_prefix_read_before_is_not_read_again_and_changes_no_bit(make_model: Make) -> None:
    bundle = make_model(5, **LONG)
    settings = EngineSettings(prefill_chunk=32)
    shared = some_ids(150, 2)
    asked = {"token_ids": shared + some_ids(30, 3), "max_tokens": 12, "logprobs": 5}
    fresh = answer(Engine(bundle, settings=settings), sampling=GREEDY, **asked)
    model = Engine(bundle, settings=settings)
    answer(model, token_ids=shared + some_ids(9, 4), max_tokens=2)
    again = answer(model, sampling=GREEDY, **asked)
    assert [event.logprobs for event in again] == [event.logprobs for event in fresh]
    assert fresh[-1].usage is not None
    assert again[-1].usage is not None
    assert (fresh[-1].usage.cached_tokens, again[-1].usage.cached_tokens) == (0, 128)
    # The whole prompt is known now, but its last token is read for its logits.
    third = answer(model, token_ids=shared[:128], max_tokens=1, sampling=GREEDY)
    assert third[-1].usage is not None
    assert third[-1].usage.cached_tokens == 96


@pytest.mark.parametrize("memory", ["slots"], indirect=True)
def test_the_prefix_cache_keeps_to_its_limit_and_forgets_the_longest_unused(
    make_model: Make,
) -> None:
    bundle = make_model(5, **LONG)
    model = Engine(bundle, settings=EngineSettings(prefill_chunk=32, prefix_cache_mb=0))
    answer(model, token_ids=some_ids(200, 2), max_tokens=1)
    prefixes = model._memory.prefixes
    assert prefixes.bytes == 0
    shape = bundle.module.shape
    chunk_bytes = 2 * shape.num_layers * shape.num_kv_heads * 32 * shape.head_dim * 4
    prefixes.limit = 3 * chunk_bytes
    for seed in (1, 2, 3, 1, 4):
        answer(model, token_ids=some_ids(40, seed), max_tokens=1)
    assert prefixes.bytes == 3 * chunk_bytes

    def known(seed: int) -> bool:
        (last,) = answer(model, token_ids=some_ids(40, seed), max_tokens=1)
        assert last.usage is not None
        return last.usage.cached_tokens == 32

    assert [known(seed) for seed in (1, 3, 4)] == [True, True, True]
    assert not known(2)


@pytest.mark.parametrize("speculation", ["off", "ngram"])
def test_deterministic_answers_do_not_depend_on_neighbours_bit_for_bit(
    make_model: Make, speculation: str
) -> None:
    bundle = make_model(6, **LONG)
    settings = EngineSettings(deterministic=True, speculation=speculation)
    hot = Sampling(temperature=1.2, seed=9)
    mine = {"token_ids": some_ids(40, 5), "max_tokens": 25, "sampling": hot, "logprobs": 3}
    alone = answer(Engine(bundle, settings=settings), **mine)
    others = [
        Request(token_ids=some_ids(length, length), max_tokens=30, sampling=Sampling(1.0))
        for length in (3, 17, 33, 64, 65, 90, 120)
    ]
    requests = [*others[:4], Request(id="mine", **mine), *others[4:]]
    together = list(Engine(bundle, settings=settings).generate(requests))
    among = [event for event in together if event.request_id == "mine"]
    assert [(event.token_ids, event.logprobs) for event in among] == [
        (event.token_ids, event.logprobs) for event in alone
    ]


def test_a_late_question_is_answered_before_an_early_long_answer_ends(make_model: Make) -> None:
    model = Engine(make_model(7, **LONG))
    early = model.generate([Request(token_ids=some_ids(20, 1), min_tokens=200, max_tokens=200)])
    first = [next(early) for _ in range(5)]
    late = answer(model, token_ids=some_ids(90, 2), max_tokens=4, min_tokens=4)
    assert len(tokens(late)) == 4
    rest = list(early)
    assert rest[-1].finish_reason == "length"
    assert len(tokens(first + rest)) == 200
    # What was drawn for the early one meanwhile was kept for it.
    assert [event.finish_reason for event in first + rest][:-1] == [None] * 199


def test_a_long_prompt_is_read_between_the_steps_of_others(make_model: Make) -> None:
    model = Engine(make_model(7, **LONG), settings=EngineSettings(prefill_chunk=32))
    early = Request(token_ids=[1, 2], max_tokens=60, min_tokens=60, id="early")
    late = Request(token_ids=some_ids(400, 2), max_tokens=2, min_tokens=2, id="late")
    order = [event.request_id for event in model.generate([early, late])]
    # Two chunks of 32 a step, and a token of the early one with each.
    assert 400 // 64 <= order.index("late") <= 400 // 64 + 2


def test_many_threads_may_ask_at_once(make_model: Make) -> None:
    model = Engine(make_model(8, **LONG))
    prompts = [some_ids(10 + 7 * seed, seed) for seed in range(12)]
    expected = [
        tokens(answer(model, token_ids=one, max_tokens=20, sampling=GREEDY)) for one in prompts
    ]
    found: dict[int, list[int]] = {}

    def ask(number: int) -> None:
        found[number] = tokens(
            answer(model, token_ids=prompts[number], max_tokens=20, sampling=GREEDY)
        )

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [found[number] for number in range(12)] == expected


def test_a_stream_that_is_left_frees_its_slot(make_model: Make) -> None:
    model = Engine(make_model(8), settings=EngineSettings(max_slots=1))
    stream = model.generate([Request(token_ids=[1, 2], max_tokens=50, min_tokens=50)])
    next(stream)
    stream.close()
    assert model._scheduler.answers() == []
    assert len(tokens(answer(model, token_ids=[1], max_tokens=3, min_tokens=3))) == 3


def test_a_deadline_ends_an_answer_as_it_stands(make_model: Make) -> None:
    model = Engine(make_model(8))
    asked = Request(token_ids=[1], max_tokens=60, min_tokens=60, deadline_s=1e-9)
    other = Request(token_ids=[2], max_tokens=30, min_tokens=30)
    events = list(model.generate([asked, other]))
    last = [event for event in events if event.request_id == asked.id][-1]
    assert last.finish_reason == "deadline"
    assert events[-1].finish_reason == "length"


def test_no_answer_ends_before_its_least_number_of_tokens(make_model: Make) -> None:
    bundle = make_model(9)
    (end,) = bundle.end_ids
    bundle.module.embed_tokens.weight[end] *= 50
    model = Engine(bundle)
    for seed in range(5):
        hot = Sampling(1.0, seed=seed)
        drawn = tokens(answer(model, token_ids=[5, 6], max_tokens=20, min_tokens=9, sampling=hot))
        assert end not in drawn[:9]
        assert len(drawn) >= 9


def test_n_answers_are_those_of_the_seeds_that_follow(make_model: Make) -> None:
    bundle = make_model(10, **LONG)
    prompt = some_ids(70, 1)

    def hot(seed: int) -> Sampling:
        return Sampling(1.3, seed=seed)

    for slots in (1, 3, 16):
        model = Engine(bundle, settings=EngineSettings(max_slots=slots))
        many = answer(model, token_ids=prompt, max_tokens=15, sampling=hot(40), n=5)
        assert sorted(event.index for event in many if event.finish_reason) == [0, 1, 2, 3, 4]
        for index in range(5):
            one = answer(model, token_ids=prompt, max_tokens=15, sampling=hot(40 + index))
            assert tokens(many, index) == tokens(one)
    assert len({tuple(tokens(many, index)) for index in range(5)}) == 5


def test_an_abort_ends_all_answers_of_a_request(make_model: Make) -> None:
    model = Engine(make_model(10), settings=EngineSettings(max_slots=2))
    events = []
    for event in model.generate(
        [Request(token_ids=[1], max_tokens=50, n=6, min_tokens=50, id="x")]
    ):
        events.append(event)
        if len(events) == 1:
            model.abort("x")
    assert [event.finish_reason for event in events if event.finish_reason] == ["abort"] * 6


def test_an_abort_is_seen_wherever_a_request_is_at_the_time(
    make_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the queue and its slot, as another thread may find it."""
    model = Engine(make_model(10, **LONG))
    kind = type(model._memory)
    admit = kind.admit

    def aborted_meanwhile(self: Any, coming: Any) -> Any:
        model.abort("x")
        return admit(self, coming)

    monkeypatch.setattr(kind, "admit", aborted_meanwhile)
    requests = [
        Request(token_ids=some_ids(40, 1), max_tokens=50, min_tokens=50, n=3, id="x"),
        Request(token_ids=[1, 2], max_tokens=5, min_tokens=5, id="y"),
    ]
    ends = {
        (event.request_id, event.index): event.finish_reason
        for event in model.generate(requests)
        if event.finish_reason
    }
    assert ends == {("x", 0): "abort", ("x", 1): "abort", ("x", 2): "abort", ("y", 0): "length"}


def test_weights_that_change_are_read_anew(make_model: Make) -> None:
    """What other weights have left of a prompt is of no use: the module may be in training."""
    bundle = make_model(5, **LONG)
    model = Engine(bundle, settings=EngineSettings(prefill_chunk=32))
    asked = {"token_ids": some_ids(150, 2), "max_tokens": 12, "logprobs": 0, "sampling": GREEDY}
    before = answer(model, **asked)
    assert answer(model, **asked)[-1].usage != before[-1].usage  # a hit
    with torch.no_grad():
        bundle.module.layers[0].mlp.up_proj.weight.mul_(1.5)
    after = answer(model, **asked)
    fresh = answer(Engine(bundle, settings=EngineSettings(prefill_chunk=32)), **asked)
    assert [event.logprobs for event in after] == [event.logprobs for event in fresh]
    assert after[-1].usage == fresh[-1].usage
    assert [event.logprobs for event in after] != [event.logprobs for event in before]


def test_logprobs_are_the_models_own_and_the_draws(make_model: Make) -> None:
    bundle = make_model(11)
    prompt = some_ids(12, 1)
    sampling = Sampling(0.7, top_k=8, seed=1, frequency_penalty=0.4)
    events = answer(Engine(bundle), token_ids=prompt, max_tokens=10, sampling=sampling, logprobs=4)
    drawn = tokens(events)
    logits = bundle.module(torch.tensor([prompt + drawn]))[0, len(prompt) - 1 : -1, :307]
    told = [one for event in events for one in event.logprobs]
    assert [one.id for one in told] == drawn
    for place, (row, one) in enumerate(zip(logits, told, strict=True)):
        own = row.log_softmax(-1)
        assert one.logprob == pytest.approx(float(own[one.id]), abs=1e-4)
        assert [token for token, _ in one.top] == own.topk(4).indices.tolist()
        assert all(a >= b for (_, a), (_, b) in pairwise(one.top))
        counted = row.clone()
        for token in drawn[:place]:
            counted[token] -= 0.4
        kept = counted / 0.7
        kept[kept < kept.topk(8).values[-1]] = float("-inf")
        assert one.processed == pytest.approx(float(kept.log_softmax(-1)[one.id]), abs=1e-4)
    plain = answer(Engine(bundle), token_ids=prompt, max_tokens=3, sampling=GREEDY, logprobs=0)
    assert [(one.processed, one.top) for event in plain for one in event.logprobs] == [
        (0.0, ())
    ] * 3


@pytest.mark.parametrize("compiled", [False, True])
def test_adapters_answer_side_by_side_as_each_alone(
    make_model: Make, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    """With kernels too, which run the rows of the bare model among them."""
    monkeypatch.setattr(decoding, "WORTH_COMPILING", 0 if compiled else 2**40)
    bundle = make_model(12, **LONG)
    adapters = Adapters(bundle.module)
    for seed, name in enumerate(("one", "two")):
        adapters.add(name, LoRASettings(rank=4), seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in adapters.parameters(name):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    prompt = some_ids(100, 1)
    model = Engine(bundle, adapters=adapters, settings=EngineSettings(prefill_chunk=32))
    assert model.capabilities().adapters == ("one", "two")
    assert (model.decodes_by == "compiled kernels") == compiled
    alone = {}
    for name in (None, "one", "two"):
        with adapters.use(name), torch.inference_mode():
            ids = list(prompt)
            for _ in range(12):
                logits = bundle.module(torch.tensor([ids]))[0, -1, :307]
                ids.append(int(logits.argmax()))
        alone[name] = ids[len(prompt) :]
    assert len({tuple(one) for one in alone.values()}) == 3
    # The same prompt for all: what one adapter has read is nothing to another.
    requests = [
        Request(
            token_ids=prompt,
            max_tokens=12,
            min_tokens=12,
            sampling=GREEDY,
            adapter=name,
            id=str(name),
        )
        for name in ("one", None, "two")
    ]
    for _ in range(2):
        events = list(model.generate(requests))
        for name in (None, "one", "two"):
            mine = [event for event in events if event.request_id == str(name)]
            assert tokens(mine) == alone[name]
    with pytest.raises(NotFound, match="no adapter 'three'"):
        answer(model, token_ids=[1], adapter="three")


def test_a_bias_of_no_token_is_refused(make_model: Make) -> None:
    with pytest.raises(BadInput, match="logit_bias"):
        answer(Engine(make_model()), token_ids=[1], sampling=Sampling(logit_bias={307: 1.0}))
