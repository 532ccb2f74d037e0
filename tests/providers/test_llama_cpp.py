"""llama.cpp behind the protocol says what the own engine says, of a model exported in float32 (its
cache is in float16, hence the tolerances), and refuses what it would answer otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import langwright as lw
from langwright.backend import Backend, Constraint, Event, Request, Sampling
from langwright.errors import BadInput, LangwrightError, Unsupported
from langwright.inference import Engine
from langwright.model import ModelBundle
from langwright.model.gguf_write import save_gguf
from langwright.providers.llama_answer import spelt
from langwright.tokens import Tokenizer

pytest.importorskip("xllamacpp")

from langwright.providers.llama_cpp import LlamaCpp

GREEDY = Sampling(temperature=0)
TEXTS = ["the quick fox", "Über 12 Höhen", "你好，世界 🙂🤖"]


@pytest.fixture(scope="module")
def own(make_model: Callable[..., ModelBundle]) -> ModelBundle:
    return make_model(3, vocab_size=384, hidden_size=64, context_length=256)


@pytest.fixture(scope="module")
def gguf(own: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("llama") / "tiny.gguf"
    save_gguf(path, own)
    return path


@pytest.fixture(scope="module")
def theirs(gguf: Path) -> LlamaCpp:
    return LlamaCpp(gguf, "tiny", slots=3)


def answers(backend: Backend, requests: list[Request]) -> dict[tuple[str, int], list[Event]]:
    found: dict[tuple[str, int], list[Event]] = {}
    for event in backend.generate(requests):
        found.setdefault((event.request_id, event.index), []).append(event)
    return found


def said(events: list[Event]) -> tuple[str, list[int], str | None]:
    ids = [token for event in events for token in event.token_ids]
    return "".join(event.text for event in events), ids, events[-1].finish_reason


def test_the_protocol_and_the_same_reading(theirs: LlamaCpp, own: ModelBundle) -> None:
    assert isinstance(theirs, Backend)
    assert theirs.capabilities().context_length == 256
    for text in TEXTS:
        assert theirs.tokenize(text) == own.tokenizer.encode(text)
    (events,) = answers(theirs, [Request(messages=[{"role": "user", "content": TEXTS[2]}],
                                         max_tokens=1)]).values()  # fmt: skip
    assert own.template is not None
    prompt = own.template.encode([{"role": "user", "content": TEXTS[2]}],
                                 add_generation_prompt=True)  # fmt: skip
    assert events[-1].usage is not None
    assert events[-1].usage.prompt_tokens == len(prompt)


def test_greedy_answers_are_the_own_engines(theirs: LlamaCpp, own: ModelBundle) -> None:
    """More requests than slots, text and ids, special tokens and pieces of characters among them.
    With random weights the likeliest stands well apart."""
    requests = [
        Request(text=text, max_tokens=24, sampling=GREEDY, id=str(number))
        for number, text in enumerate([*TEXTS, "and", "the lazy dog"])
    ]
    ours = answers(Engine(own), requests)
    found = answers(theirs, requests)
    assert found.keys() == ours.keys()
    same = [said(found[key]) == said(ours[key]) for key in ours]
    assert sum(same) >= 4, [(said(found[key]), said(ours[key])) for key in ours]


def test_probabilities_are_the_own_engines(theirs: LlamaCpp, own: ModelBundle) -> None:
    engine = Engine(own)
    for text in TEXTS:
        for one, other in zip(
            theirs.next_tokens(text, 5), engine.next_tokens(text, 5), strict=True
        ):
            assert one.id == other.id
            assert one.logprob == pytest.approx(other.logprob, abs=0.02)
    for (one,), (other,) in zip(
        ([*theirs.score([text], window=8, stride=4)] for text in TEXTS),
        ([*engine.score([text], window=8, stride=4)] for text in TEXTS),
        strict=True,
    ):
        assert (one.token_ids, one.bytes) == (other.token_ids, other.bytes)
        assert one.logprobs[0] is None
        assert one.logprobs[1:] == pytest.approx(other.logprobs[1:], abs=0.03)
    pairs = [("the quick", " fox"), ("the quick ", "dog"), ("", "the"), ("12", " 🙂")]
    for mine, ref in zip(theirs.likelihoods(pairs), engine.likelihoods(pairs), strict=True):
        assert mine.logprob == pytest.approx(ref.logprob, abs=0.05)
        assert (mine.greedy, mine.tokens, mine.bytes) == (ref.greedy, ref.tokens, ref.bytes)


def test_logprobs_of_an_answer(theirs: LlamaCpp, own: ModelBundle) -> None:
    request = Request(text=TEXTS[2], max_tokens=12, min_tokens=12, sampling=GREEDY, logprobs=3)
    (events,) = answers(theirs, [request]).values()
    told = [one for event in events for one in event.logprobs]
    _, ids, _ = said(events)
    assert [one.id for one in told] == ids
    assert len(ids) == 12
    row = own.tokenizer.encode(TEXTS[2]) + ids
    with torch.inference_mode():
        logits = own.module(torch.tensor([row]))[0, :, : own.tokenizer.vocab_size].float()
    expected = logits.log_softmax(-1)[len(row) - 13 : -1]
    for one, row_V in zip(told, expected, strict=True):
        assert one.logprob == pytest.approx(float(row_V[one.id]), abs=0.05)
        assert len(one.top) == 3
        assert one.processed == 0.0


def test_rows_of_the_table_that_are_no_token_are_never_drawn(
    theirs: LlamaCpp, own: ModelBundle
) -> None:
    """A sixth of this table is padding; at a high temperature it would be drawn."""
    hot = Sampling(temperature=5, seed=1)
    (events,) = answers(theirs, [Request(text="a", max_tokens=60, min_tokens=60,
                                         sampling=hot)]).values()  # fmt: skip
    _, ids, _ = said(events)
    assert len(ids) == 60
    assert max(ids) < own.tokenizer.vocab_size


def test_repetition_penalty_bias_and_filters_are_what_ours_are(
    theirs: LlamaCpp, own: ModelBundle
) -> None:
    for how in (
        Sampling(temperature=0, repetition_penalty=1.7),
        Sampling(temperature=0, logit_bias={300: 50.0}),
        Sampling(temperature=1.0, top_k=1, order=("top_k", "temperature", "top_p", "min_p")),
        Sampling(temperature=2.0, min_p=1.0, seed=4),
        Sampling(temperature=1.0, top_p=1e-6),
    ):
        request = Request(text="the lazy dog", max_tokens=8, min_tokens=8, sampling=how)
        (ours,) = answers(Engine(own), [request]).values()
        (found,) = answers(theirs, [request]).values()
        assert said(found) == said(ours), how


def test_seed_stop_n_and_abort(theirs: LlamaCpp) -> None:
    warm = Sampling(temperature=1, seed=7)
    request = Request(text="the", max_tokens=20, min_tokens=20, sampling=warm, n=2, id="twice")
    first, again = answers(theirs, [request]), answers(theirs, [request])
    assert {key: said(one) for key, one in first.items()} == {
        key: said(one) for key, one in again.items()
    }
    assert said(first["twice", 0]) != said(first["twice", 1])
    text, _, _ = said(first["twice", 0])
    stop = text[5:8]
    cut = Request(text="the", max_tokens=20, min_tokens=20, sampling=warm, stop=(stop,))
    (events,) = answers(theirs, [cut]).values()
    assert said(events)[0] == text[: text.index(stop)]
    assert said(events)[2] == "stop"

    events = []
    for event in theirs.generate([Request(text="the", max_tokens=200, min_tokens=200, id="gone")]):
        events.append(event)
        if len(events) == 3:
            theirs.abort("gone")
    assert events[-1].finish_reason == "abort"
    assert events[-1].usage is not None
    assert 3 <= events[-1].usage.completion_tokens < 200
    late = Request(text="the", max_tokens=200, min_tokens=200, deadline_s=1e-6)
    (events,) = answers(theirs, [late]).values()
    assert said(events) == ("", [], "deadline")
    # Closing the iterator ends what runs.
    running = theirs.generate([Request(text="the", max_tokens=200, min_tokens=200)])
    next(running)
    running.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Request(text="a", sampling=Sampling(presence_penalty=1)), "presence_penalty"),
        (Request(text="a", sampling=Sampling(frequency_penalty=1)), "frequency_penalty"),
        (Request(text="a", constraint=Constraint(regex="a+")), "constraint"),
        (Request(text="a", adapter="tuned"), "adapter"),
        (Request(text="a", max_tokens=5, min_tokens=2), "min_tokens"),
        (Request(text="a", logprobs=1, sampling=Sampling(temperature=0.5)), "log-probabilities"),
    ],
)
def test_what_it_would_answer_otherwise_is_refused(
    theirs: LlamaCpp, request_: Request, says: str
) -> None:
    with pytest.raises(Unsupported, match=says) as refused:
        list(theirs.generate([request_]))
    assert "own engine" in refused.value.remedy


def test_what_does_not_fit_is_refused(theirs: LlamaCpp, gguf: Path) -> None:
    with pytest.raises(BadInput, match="256"):
        list(theirs.generate([Request(text="a b " * 200)]))
    with pytest.raises(BadInput, match="outside"):
        list(theirs.generate([Request(token_ids=[9999])]))
    with pytest.raises(BadInput, match="reads 256"):
        LlamaCpp(gguf, context=512)
    (events,) = answers(theirs, [Request(text="a", sampling=GREEDY, min_tokens=0)]).values()
    assert events[-1].usage is not None
    assert events[-1].usage.total_tokens <= 256


def test_by_name(gguf: Path, tmp_path: Path) -> None:
    model = lw.load(str(gguf), backend="llama.cpp")
    assert model.generate("the", max_tokens=3, temperature=0).usage.completion_tokens <= 3
    with pytest.raises(Unsupported):
        _ = model.module
    with pytest.raises(BadInput, match="int8"):
        lw.load(str(gguf), backend="llama.cpp", dtype="int8")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(Unsupported, match="GGUF") as refused:
        lw.load(str(tmp_path), backend="llama.cpp")
    assert "export" in refused.value.remedy


def test_an_error_of_a_job_is_raised_and_ends_the_others(theirs: LlamaCpp) -> None:
    from langwright.providers.interleave import interleave

    def fails(_: object) -> None:
        raise BadInput("no", remedy="never")

    def goes_on(emit: Callable[[Event], bool]) -> None:
        while emit(Event("x", "x")):
            pass

    with pytest.raises(LangwrightError, match="no"):
        list(interleave([goes_on, fails], 2))


def test_tokens_that_end_within_a_character_are_found_by_their_bytes(
    small_tokenizer: Tokenizer,
) -> None:
    for text in ("🦜", " 猫", "é"):
        ids = small_tokenizer.encode(text)
        assert len(ids) > 1
        assert spelt(small_tokenizer, text, ids[-1], len(ids) - 1) == ids
    by_bytes = {small_tokenizer.token_bytes(token): token for token in range(256)}
    other = [by_bytes[bytes([byte])] for byte in "🤖".encode()]
    assert spelt(small_tokenizer, "🤖", other[-1], 3) == other
