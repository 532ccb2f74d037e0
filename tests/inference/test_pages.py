"""Keys and values in pages: the same answers as in slots, in memory that is shared and bounded."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from langwright.backend import Event, Request, Sampling
from langwright.errors import BadInput
from langwright.inference import Engine, EngineSettings
from langwright.inference.pages import Pages
from langwright.model import PAGE, Adapters, LoRASettings, ModelBundle, PagedCache

pytestmark = pytest.mark.usefixtures("one_thread")

Make = Callable[..., ModelBundle]
GREEDY = Sampling(temperature=0.0)
LONG = {"context_length": 512}


@pytest.fixture
def paged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called on, engines keep pages, as on a GPU."""
    where = "langwright.inference.memory.in_pages"
    return lambda: monkeypatch.setattr(where, lambda _: True)


def some_ids(count: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 300, (count,), generator=generator).tolist()


def facts(events: list[Event]) -> list[Any]:
    """All that an event tells but the request's own name, in order."""
    return [(e.index, e.token_ids, e.text, e.logprobs, e.finish_reason, e.usage) for e in events]


def pages_of(model: Engine) -> Pages:
    assert isinstance(model._memory, Pages)
    return model._memory


def all_is_given_back(model: Engine) -> None:
    """Nobody is under way: only chunks hold blocks, each once, and every other is free."""
    pages = pages_of(model)
    kept = Counter(block for blocks in pages._chunks.values() for block in blocks)
    assert pages.cache.holders == [kept[block] for block in range(len(pages.cache.holders))]
    assert set(kept.values()) <= {1}
    assert pages.cache.num_free == len(pages.cache.holders) - len(kept)
    assert not any(pages.cache.tables)
    assert not pages._kept
    assert not pages._needs


@pytest.mark.parametrize("deterministic", [False, True])
def test_answers_are_those_of_slots_bit_for_bit(
    make_model: Make, paged: Callable[[], None], deterministic: bool
) -> None:
    """Long and short prompts, several answers to one, hits of the prefix cache, an adapter."""
    bundle = make_model(5, **LONG)
    adapters = Adapters(bundle.module)
    adapters.add("a", LoRASettings(rank=4))
    for parameter in adapters.parameters("a"):
        parameter.data.normal_(generator=torch.Generator().manual_seed(3))
    shared = some_ids(140, 1)
    hot = Sampling(1.1, top_p=0.9, seed=5)
    asked: list[dict[str, Any]] = [
        {"token_ids": shared + some_ids(20, 2), "sampling": hot, "n": 3},
        {"token_ids": [7], "sampling": GREEDY},
        {"token_ids": shared[:64], "sampling": GREEDY, "n": 2},
        {"token_ids": [*shared, 4, 5], "sampling": hot, "adapter": "a"},
        {"token_ids": [*shared, 9], "sampling": GREEDY},
        {"token_ids": some_ids(33, 3), "sampling": hot},
    ]
    settings = EngineSettings(max_slots=4, prefill_chunk=32, deterministic=deterministic)

    def answers() -> list[Any]:
        model = Engine(bundle, settings=settings, adapters=adapters)
        found = []
        for _ in range(2):  # the second time with chunks of the first
            requests = [
                Request(id=str(n), max_tokens=40, logprobs=2, **one) for n, one in enumerate(asked)
            ]
            events = list(model.generate(requests))
            found += [
                facts([event for event in events if event.request_id == one.id]) for one in requests
            ]
        return [*found, model]

    *in_slots, _ = answers()
    paged()
    *in_pages, model = answers()
    assert in_pages == in_slots
    all_is_given_back(model)


def test_pages_of_several_lengths_are_what_a_cache_of_slots_holds(make_model: Make) -> None:
    """Whatever was in the blocks before, and wherever they lie."""
    module = make_model(6, **LONG).module
    cache = PagedCache(module.shape, 3, 12, torch.float32, torch.device("cpu"))
    with torch.inference_mode():
        # Blocks of 0 and 2 lie between each other, and those of 1 have been used.
        module(torch.tensor([some_ids(90, 9)]), cache.rows([1], 90))
        cache.empty(1)
        parts = {slot: some_ids(80, slot) for slot in (0, 2)}
        for at in (0, 40):
            for slot in (2, 0):
                ids = torch.tensor([parts[slot][at : at + 40]])
                module(ids, cache.rows([slot], 40))
        module(torch.tensor([[1, 2, 3]]), cache.rows([1], 3))
        ends = [[11, 12, 13], [0, 11, 12], [0, 0, 5]]
        found = module(torch.tensor(ends), cache.rows([0, 2, 1], 3, [0, 1, 2]))
        for row, (before, new) in enumerate(
            ((parts[0], [11, 12, 13]), (parts[2], [11, 12]), ([1, 2, 3], [5]))
        ):
            whole = module(torch.tensor([before + new]))[0, -len(new) :]
            torch.testing.assert_close(found[row, -len(new) :], whole, rtol=1e-5, atol=1e-5)
    assert cache.lengths == [83, 4, 82]


def test_who_begins_alike_holds_the_same_blocks(
    make_model: Make, paged: Callable[[], None]
) -> None:
    paged()
    bundle = make_model(5, **LONG)
    model = Engine(bundle, settings=EngineSettings(prefill_chunk=32))
    prompt = some_ids(200, 1)
    request = Request(token_ids=prompt, n=8, max_tokens=20, min_tokens=20, sampling=Sampling(1.0))
    most = 0
    for _ in model.generate([request]):
        cache = pages_of(model).cache
        most = max(most, len(cache.holders) - cache.num_free)
    # 200 tokens are 6 whole blocks that all share and a part of one; with 20 more each answer has
    # one of its own (224 = 7 * 32), and the prompt's is kept until the last has copied it.
    assert 6 + 8 <= most <= 6 + 8 + 1
    all_is_given_back(model)


def test_who_does_not_fit_yet_waits(
    make_model: Make, paged: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    paged()
    monkeypatch.setattr(Pages, "_num_blocks", lambda _: 17)
    model = Engine(make_model(5, **LONG), settings=EngineSettings(prefill_chunk=32))
    # Each may come to need 6 blocks, so two fit at a time.
    requests = [
        Request(token_ids=some_ids(20, n), max_tokens=150, min_tokens=30, id=str(n))
        for n in range(5)
    ]
    begun: list[str] = []
    live: set[str] = set()
    together = 0
    for event in model.generate(requests):
        if event.request_id not in begun:
            begun.append(event.request_id)
        live.add(event.request_id)
        together = max(together, len(live))
        if event.finish_reason:
            live.discard(event.request_id)
    assert begun == ["0", "1", "2", "3", "4"]
    assert together == 2
    all_is_given_back(model)


def test_there_are_as_many_blocks_as_were_asked_for(
    make_model: Make, paged: Callable[[], None]
) -> None:
    paged()
    model = Engine(make_model(5, **LONG), settings=EngineSettings(pages_mb=1))
    shape = model.bundle.module.shape
    token = 2 * shape.num_layers * shape.num_kv_heads * shape.head_dim * 4
    assert len(pages_of(model).cache.holders) == 2**20 // (PAGE * token)


def test_an_answer_larger_than_all_pages_is_refused_with_both_numbers(
    make_model: Make, paged: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    paged()
    monkeypatch.setattr(Pages, "_num_blocks", lambda _: 5)
    model = Engine(make_model(5, **LONG))
    with pytest.raises(BadInput, match=r"may come to 129 tokens.*pages for 128.*"):
        list(model.generate([Request(token_ids=some_ids(29, 1), max_tokens=100)]))
    done = list(model.generate([Request(token_ids=some_ids(28, 1), max_tokens=100)]))
    assert done[-1].finish_reason in ("length", "stop")
    all_is_given_back(model)


def test_the_longest_unused_chunk_gives_its_blocks_to_who_needs_them(
    make_model: Make, paged: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    paged()
    monkeypatch.setattr(Pages, "_num_blocks", lambda _: 6)
    model = Engine(make_model(5, **LONG), settings=EngineSettings(prefill_chunk=32))

    def cached(seed: int) -> int:
        *_, last = model.generate([Request(token_ids=some_ids(40, seed), max_tokens=1)])
        assert last.usage is not None
        return last.usage.cached_tokens

    # Each leaves one block behind; with five left there is no second block for the next.
    assert [cached(seed) for seed in (1, 2, 3, 4, 5)] == [0] * 5
    assert cached(1) == 32  # now the longest unused is 2
    assert [cached(seed) for seed in (6, 1, 3, 4, 5, 6)] == [0, 32, 32, 32, 32, 32]
    assert cached(2) == 0
    all_is_given_back(model)


def test_whatever_comes_and_goes_no_block_is_lost_or_held_by_two_who_write(
    make_model: Make, paged: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many requests with common beginnings, siblings, aborts and broken-off streams, in few
    blocks; each answer that ends by itself is that of an engine with room for all."""
    paged()
    bundle = make_model(5, **LONG)
    roomy = Engine(bundle, settings=EngineSettings(prefill_chunk=32, deterministic=True))
    monkeypatch.setattr(Pages, "_num_blocks", lambda _: 14)
    model = Engine(bundle, settings=EngineSettings(prefill_chunk=32, deterministic=True))
    choose = random.Random(0)
    stems = [some_ids(100, seed) for seed in range(3)]
    total = 0
    for turn in range(12):
        requests = [
            Request(
                id=f"{turn}-{n}",
                token_ids=choose.choice(stems)[: choose.randrange(1, 100)]
                + some_ids(choose.randrange(1, 30), 100 + n),
                max_tokens=choose.randrange(1, 60),
                n=choose.choice([1, 1, 1, 4]),
                sampling=Sampling(1.0, seed=n),
            )
            for n in range(6)
        ]
        found: dict[tuple[str, int], list[int]] = {}
        ended = set()
        stream = model.generate(requests)
        for count, event in enumerate(stream):
            key = event.request_id, event.index
            found.setdefault(key, []).extend(event.token_ids)
            if event.finish_reason in ("stop", "length"):
                ended.add(key)
            if count == 20 and turn % 3 == 1:
                model.abort(requests[choose.randrange(6)].id)
            if count == 40 and turn % 3 == 2:
                break
        stream.close()
        all_is_given_back(model)
        expected: dict[tuple[str, int], list[int]] = {}
        for event in roomy.generate(requests):
            expected.setdefault((event.request_id, event.index), []).extend(event.token_ids)
        total += len(ended)
        assert {key: found[key] for key in ended} == {key: expected[key] for key in ended}
    assert total > 50


@pytest.mark.gpu
def test_on_a_gpu_the_likeliest_tokens_are_those_of_the_processor(make_model: Make) -> None:
    bundle = make_model(5, **LONG)
    requests = [
        Request(id=str(n), token_ids=some_ids(size, n), max_tokens=20, sampling=GREEDY, n=2)
        for n, size in enumerate((1, 40, 130, 200))
    ]
    expected = [facts([e for e in Engine(bundle).generate(requests) if e.index == 0])]
    bundle.module.cuda()
    model = Engine(bundle)
    assert [facts([e for e in model.generate(requests) if e.index == 0])] == expected
    all_is_given_back(model)
