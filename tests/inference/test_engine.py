from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch

from langwright.backend import Backend, Event, Request, Sampling
from langwright.errors import BadInput, Unsupported
from langwright.inference import Engine, EngineSettings
from langwright.model import ModelBundle

pytestmark = pytest.mark.usefixtures("one_thread")

Make = Callable[..., ModelBundle]
GREEDY = Sampling(temperature=0.0)


def gathered(events: Iterable[Event]) -> dict[str, tuple[list[int], str, Event]]:
    """Request -> (its tokens, its text, its last event)."""
    tokens: dict[str, list[int]] = defaultdict(list)
    texts: dict[str, str] = defaultdict(str)
    last: dict[str, Event] = {}
    for event in events:
        one = event.request_id
        assert one not in last or last[one].finish_reason is None
        told = one not in last or event.finish_reason is not None
        assert (event.usage is not None) == told
        tokens[one] += event.token_ids
        texts[one] += event.text
        last[one] = event
    return {one: (tokens[one], texts[one], last[one]) for one in last}


def answer(model: Engine, **request: Any) -> tuple[list[int], str, Event]:
    return next(iter(gathered(model.generate([Request(**request)])).values()))


def forced(bundle: ModelBundle, tokens: list[int]) -> Engine:
    """An engine whose model says `tokens` after a prompt of one, over and over: each position has
    its own hidden state, and the head reads it."""
    shape = bundle.module.shape
    module = bundle.module

    def hidden(ids_BT: torch.Tensor, cache: Any = None) -> torch.Tensor:
        positions = cache.positions_BT if cache is not None else torch.arange(ids_BT.shape[1])[None]
        if cache is not None:
            cache.advance()
        wanted = torch.tensor([tokens[int(at) % len(tokens)] for at in positions.flatten()])
        rows = 1e6 * torch.nn.functional.one_hot(wanted, shape.vocab_size).float()
        return rows.view(*positions.shape, -1).expand(len(ids_BT), -1, -1)

    module.hidden = hidden  # type: ignore[method-assign]
    module.lm_head = torch.nn.Identity()  # type: ignore[assignment]
    return Engine(bundle)


def greedy_by_hand(bundle: ModelBundle, prompt: list[int], limit: int) -> list[int]:
    """No cache, no batch: the whole text anew for each token."""
    ids = list(prompt)
    for _ in range(limit):
        logits = bundle.module(torch.tensor([ids]))[0, -1, : bundle.tokenizer.vocab_size]
        ids.append(int(logits.argmax()))
        if ids[-1] in bundle.end_ids:
            break
    return ids[len(prompt) :]


PROMPTS = ["the fox", "12", "a rather long prompt: dogs, 你好", "🙂", " lazy dog jumps", "Q"]


def test_the_engine_is_a_backend(make_model: Make) -> None:
    model = Engine(make_model(), "small")
    assert isinstance(model, Backend)
    can = model.capabilities()
    assert (can.score, can.tokenize, can.chat, can.embed) == (True, True, True, False)
    assert can.context_length == 64
    assert model.tokenize("the fox") == model.bundle.tokenizer.encode("the fox")
    with pytest.raises(Unsupported):
        model.embed(["x"])


@pytest.mark.parametrize("slots", [1, 2, 16])
def test_many_requests_together_answer_as_each_alone(make_model: Make, slots: int) -> None:
    bundle = make_model(12)
    model = Engine(bundle, settings=EngineSettings(max_slots=slots))
    limits = [9, 1, 20, 4, 13, 40]
    requests = [
        Request(text=text, max_tokens=limit, sampling=GREEDY, id=text)
        for text, limit in zip(PROMPTS, limits, strict=True)
    ]
    together = gathered(model.generate(requests))
    assert len({tuple(tokens) for tokens, _, _ in together.values()}) == 6
    for request, limit in zip(requests, limits, strict=True):
        prompt = bundle.tokenizer.encode(request.id)
        expected = greedy_by_hand(bundle, prompt, min(limit, 64 - len(prompt)))
        tokens, text, last = together[request.id]
        assert tokens == expected
        assert text == bundle.tokenizer.decode(
            [token for token in tokens if token not in bundle.tokenizer.special.values()]
        )
        assert last.usage is not None
        assert last.usage.prompt_tokens == len(prompt)
        assert last.usage.completion_tokens == len(tokens)
        assert last.usage.total_tokens == len(prompt) + len(tokens)


def test_the_same_seed_gives_the_same_answer_whoever_else_is_there(make_model: Make) -> None:
    model = Engine(make_model(13))
    hot = Sampling(temperature=1.5, seed=3)
    alone = answer(model, text="the fox", max_tokens=15, sampling=hot)[:2]
    assert answer(model, text="the fox", max_tokens=15, sampling=hot)[:2] == alone
    others = [
        Request(text=text, max_tokens=20, sampling=Sampling(temperature=1.0)) for text in PROMPTS
    ]
    mine = Request(text="the fox", max_tokens=15, sampling=hot, id="mine")
    assert gathered(model.generate([*others[:3], mine, *others[3:]]))["mine"][:2] == alone
    other = Sampling(temperature=1.5, seed=4)
    assert answer(model, text="the fox", max_tokens=15, sampling=other)[:2] != alone


def test_no_event_splits_a_character(make_model: Make) -> None:
    bundle = make_model()
    text = "🙂🤖 你好，世界 naïve 👨‍👩‍👧!"
    tokens = [*bundle.tokenizer.encode(text), min(bundle.end_ids)]
    model = forced(bundle, tokens)
    events = list(model.generate([Request(token_ids=[1], max_tokens=60)]))
    assert [token for event in events for token in event.token_ids] == tokens
    assert "".join(event.text for event in events) == text
    assert all("\ufffd" not in event.text for event in events)
    assert [event.finish_reason for event in events] == [None] * (len(events) - 1) + ["stop"]
    assert len([event for event in events if event.text]) > 10


def test_an_answer_ends_at_a_stop_string_or_shows_what_was_held(make_model: Make) -> None:
    bundle = make_model()
    letters = [token for char in "the lazy dog " for token in bundle.tokenizer.encode(char)]
    model = forced(bundle, letters)
    tokens, text, last = answer(model, token_ids=[1], stop=("azy do", "never"), max_tokens=30)
    assert (text, last.finish_reason) == ("the l", "stop")
    assert last.usage is not None
    assert last.usage.completion_tokens == len(tokens) == len("the lazy do")
    _, text, last = answer(model, token_ids=[1], stop=("dog!",), max_tokens=len("the lazy d"))
    assert (text, last.finish_reason) == ("the lazy d", "length")


def test_an_answer_ends_at_the_limit_or_at_the_edge_of_the_window(make_model: Make) -> None:
    bundle = make_model()
    model = forced(bundle, bundle.tokenizer.encode("ab"))
    for asked, count in ((1, 1), (7, 7), (64, 61), (None, 61), (10**9, 61)):
        tokens, _, last = answer(model, token_ids=[1, 2, 3], max_tokens=asked)
        assert (len(tokens), last.finish_reason) == (count, "length")


def test_a_prompt_that_leaves_no_room_is_refused_before_anything_is_drawn(
    make_model: Make,
) -> None:
    model = Engine(make_model())
    fits = Request(text="the fox", id="fits", max_tokens=2)
    with pytest.raises(BadInput, match="64 tokens; the model's window is 64"):
        next(model.generate([fits, Request(token_ids=[1] * 64)]))
    assert len(answer(model, token_ids=[1] * 63)[0]) == 1


@pytest.mark.parametrize("ids", [[], [-1], [307], [1, 10**12]])
def test_prompts_that_are_no_tokens_are_refused(make_model: Make, ids: list[int]) -> None:
    with pytest.raises(BadInput, match=r"empty|token ids outside 0 … 306"):
        next(Engine(make_model()).generate([Request(token_ids=ids)]))


def test_rows_that_are_no_token_are_never_drawn(make_model: Make) -> None:
    bundle = make_model()
    bundle.module.embed_tokens.weight[307:] *= 100  # their logits tower over all others
    model = Engine(bundle)
    hot = Sampling(temperature=1.0, seed=1)
    tokens, _, _ = answer(model, text="the", max_tokens=50, sampling=hot)
    assert max(tokens) < 307
    assert max(token.id for token in model.next_tokens("the", 1000)) == 306


def test_an_abort_ends_one_request_and_no_other(make_model: Make) -> None:
    bundle = make_model()
    model = forced(bundle, bundle.tokenizer.encode("the lazy dog"))
    requests = [Request(token_ids=[1], max_tokens=12, id=name) for name in ("one", "two")]
    events = []
    for event in model.generate(requests):
        events.append(event)
        if sum(one.request_id == "one" for one in events) == 3:
            model.abort("one")
    result = gathered(events)
    assert result["one"][2].finish_reason == "abort"
    assert len(result["one"][0]) == 3
    assert result["one"][2].usage is not None
    assert result["one"][2].usage.completion_tokens == 3
    assert (len(result["two"][0]), result["two"][2].finish_reason) == (12, "length")


def test_an_abort_that_came_too_late_ends_no_later_request(make_model: Make) -> None:
    model = Engine(make_model())
    for event in model.generate([Request(token_ids=[1], max_tokens=2, id="same")]):
        if event.finish_reason:
            model.abort("same")
    again = answer(model, token_ids=[1], max_tokens=2, min_tokens=2, id="same")
    assert again[2].finish_reason == "length"


def test_two_requests_with_one_id_are_refused(make_model: Make) -> None:
    with pytest.raises(BadInput, match="same id"):
        next(Engine(make_model()).generate([Request(token_ids=[1], id="x")] * 2))


def test_no_requests_have_no_events(make_model: Make) -> None:
    assert list(Engine(make_model()).generate([])) == []


def test_a_chat_is_answered_after_the_templates_prompt(make_model: Make) -> None:
    bundle = make_model(14)
    messages = [{"role": "user", "content": "hi <|im_end|>"}]
    assert bundle.template is not None
    prompt = bundle.template.encode(messages, add_generation_prompt=True)
    tokens, _, last = answer(Engine(bundle), messages=messages, max_tokens=8, sampling=GREEDY)
    assert tokens == greedy_by_hand(bundle, prompt, 8)
    assert last.usage is not None
    assert last.usage.prompt_tokens == len(prompt)
    bundle.template = None
    with pytest.raises(Unsupported, match="no chat template"):
        answer(Engine(bundle), messages=messages)


@pytest.mark.parametrize("start_id", [None, 305])
def test_next_tokens_are_the_softmax_of_the_logits(make_model: Make, start_id: int | None) -> None:
    bundle = make_model(15, start_id=start_id)
    ids = bundle.tokenizer.encode("the lazy")
    start = [] if start_id is None else [start_id]
    logits = bundle.module(torch.tensor([start + ids]))[0, -1, :307]
    expected = logits.softmax(-1)
    best = Engine(bundle).next_tokens("the lazy", 1000)
    assert len(best) == 307
    for token in best:
        assert token.probability == pytest.approx(float(expected[token.id]), rel=1e-5)
        assert token.logprob == pytest.approx(float(expected[token.id].log()), abs=1e-5)
        assert token.text == bundle.tokenizer.decode([token.id])
    order = [token.probability for token in best]
    assert order == sorted(order, reverse=True)
    assert sum(order) == pytest.approx(1.0, abs=1e-5)
    assert Engine(bundle).next_tokens("the lazy", 3) == best[:3]
    for k in (0, -1):
        with pytest.raises(BadInput, match="k is"):
            Engine(bundle).next_tokens("the", k)


def test_the_capital_of_france_is_paris(smollm2: ModelBundle) -> None:
    best = Engine(smollm2).next_tokens("The capital of France is", 1)[0]
    assert best.text == " Paris"
    assert best.probability == pytest.approx(0.7725, abs=0.002)
