from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from langwright.backend import Constraint, Request, Sampling
from langwright.errors import BadInput, Unsupported
from langwright.inference import Engine, EngineSettings, decoding
from langwright.inference.answer import Answer
from langwright.inference.sampler import Sampler
from langwright.inference.speculation import Lookup, Payoff
from langwright.model import ModelBundle
from langwright.tokens.train import train_bpe

pytestmark = pytest.mark.usefixtures("one_thread")

Make = Callable[..., ModelBundle]


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small models gain nothing by speculation: try it all the same."""
    monkeypatch.setattr(decoding, "WORTH_COMPILING", 0)
    monkeypatch.setattr(Payoff, "worth_trying", lambda self, live: live <= 4)
    monkeypatch.setattr(Payoff, "checked", lambda *_: None)


def engines(
    bundle: ModelBundle, draft: ModelBundle | None = None
) -> tuple[Engine, Engine, list[int]]:
    """Without and with speculation, and the lengths of what the latter checks."""
    plain = Engine(bundle, settings=EngineSettings(speculation="off"))
    guessing = Engine(bundle, draft=draft)
    checked: list[int] = []
    go_on = guessing._decoding.go_on

    def counted(cache: Any, slots: Any, ids: Sequence[Sequence[int]], adapters: Any) -> Any:
        checked.extend(len(row) for row in ids if len(row) > 1)
        return go_on(cache, slots, ids, adapters)

    guessing._decoding.go_on = counted  # type: ignore[method-assign]
    return plain, guessing, checked


def said(model: Engine, requests: Sequence[Request]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {request.id: [] for request in requests}
    for event in model.generate(requests):
        found[event.request_id] += event.token_ids
    return found


def repetitive(bundle: ModelBundle) -> list[Request]:
    ids = bundle.tokenizer.encode("the lazy dog jumps over the lazy fox and the lazy dog ")
    return [
        Request(
            token_ids=ids[:length],
            max_tokens=40,
            min_tokens=40,
            sampling=Sampling(temperature, seed=length),
            id=f"{length} {temperature}",
        )
        for length in (9, 14, len(ids))
        for temperature in (0.0, 0.4)
    ]


@pytest.mark.parametrize("together", [1, 3, 6])
def test_speculation_changes_no_answer(make_model: Make, together: int) -> None:
    bundle = make_model(21, context_length=256)
    plain, guessing, checked = engines(bundle)
    requests = repetitive(bundle)
    for start in range(0, len(requests), together):
        part = requests[start : start + together]
        assert said(guessing, part) == said(plain, part)
    if together < 6:
        assert len(checked) > 20


def test_a_draft_model_changes_no_answer_and_one_that_agrees_saves_steps(make_model: Make) -> None:
    bundle = make_model(21, context_length=256)
    requests = repetitive(bundle)
    for draft in (make_model(21, context_length=256), make_model(3)):
        plain, guessing, checked = engines(bundle, draft)
        for part in (requests[:1], requests[1:4]):
            assert said(guessing, part) == said(plain, part)
        if draft.module.shape.context_length == 256:
            # The first is greedy and alone: 39 tokens behind the first, five a check.
            assert checked[:7] == [5] * 7


def test_a_constraint_and_penalties_hold_while_guessing(make_model: Make) -> None:
    bundle = make_model(22, context_length=256)
    plain, guessing, checked = engines(bundle)
    requests = [
        Request(
            token_ids=[5, 6, 7],
            max_tokens=60,
            constraint=Constraint(regex="(ab|ba){4,20}"),
            sampling=Sampling(0.9, seed=2, presence_penalty=0.1),
            id="r",
        )
    ]
    assert said(guessing, requests) == said(plain, requests)
    assert checked


def test_lookup_tells_what_followed_the_last_time() -> None:
    def answer(ids: list[int], room: int = 100) -> Any:
        one = Answer.__new__(Answer)
        one.ids, one.prompt_length, one.limit = ids, len(ids), room
        return one

    lookup = Lookup()
    one = answer([1, 2, 3, 4, 5, 6, 9, 9, 1, 2, 3])
    assert lookup.guesses([one]) == [[4, 5, 6, 9]]
    one.ids.append(7)
    assert lookup.guesses([one]) == [[]]
    one.ids += [3, 4]  # two tokens that were there before
    assert lookup.guesses([one]) == [[5, 6, 9, 9]]
    assert lookup.guesses([answer([1, 2, 3, 1, 2], room=2)]) == [[3]]
    assert lookup.guesses([answer([1, 2, 3, 1, 2], room=1)]) == [[]]
    assert lookup.guesses([answer([1])]) == [[]]


def test_nothing_is_guessed_where_checking_would_not_be_exact(
    make_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By torch an answer would depend, by a bit, on when guessing was faster."""
    assert Engine(make_model(1))._scheduler._guesser is not None
    monkeypatch.setattr(decoding, "WORTH_COMPILING", 2**40)
    assert Engine(make_model(1))._scheduler._guesser is None
    with pytest.raises(Unsupported, match="compiled kernels only: the model is tiny"):
        Engine(make_model(1), settings=EngineSettings(deterministic=True), draft=make_model(1))


def test_a_draft_of_other_tokens_is_refused(make_model: Make) -> None:
    draft = make_model(1)
    draft.tokenizer = train_bpe(["another text, other merges " * 3], 320)
    with pytest.raises(BadInput, match="another tokenizer"):
        Engine(make_model(1), draft=draft)


@pytest.mark.parametrize("draws", [6_400, pytest.param(100_000, marks=pytest.mark.slow)])
def test_draws_while_guessing_follow_the_models_distribution(make_model: Make, draws: int) -> None:
    """Chi-square over all answers of three tokens, of which the last two are checked at once."""
    bundle = make_model(23)
    model = Engine(bundle, settings=EngineSettings(speculation="off", max_slots=64))
    sampling, prompt = Sampling(1.0, top_k=3), [5, 6, 7]

    def next_of(ids: list[int]) -> torch.Tensor:
        logits = bundle.module(torch.tensor([ids]))[0, -1, :307]
        return Sampler(sampling).distribution(logits).exp()

    expected: dict[tuple[int, ...], float] = {(): 1.0}
    likeliest = {}
    for _ in range(3):
        longer = {}
        for said, probability in expected.items():
            following = next_of(prompt + list(said))
            likeliest[said] = int(following.argmax())
            for token in following.nonzero()[:, 0].tolist():
                longer[(*said, token)] = probability * float(following[token])
        expected = longer

    class Likeliest:
        def guesses(self, live: Sequence[Answer]) -> list[list[int]]:
            result = []
            for answer in live:
                said = tuple(answer.ids[3:])
                second = likeliest[said]
                both = [second, likeliest.get((*said, second), 0)]
                result.append(both[: answer.room - 1])
            return result

    model._scheduler._guesser = Likeliest()
    model._scheduler._payoff.worth_trying = lambda live: True  # type: ignore[method-assign]
    counts = dict.fromkeys(expected, 0)
    for start in range(0, draws, 800):
        answers: dict[int, tuple[int, ...]] = {}
        request = Request(
            token_ids=prompt,
            max_tokens=3,
            min_tokens=3,
            n=800,
            sampling=Sampling(1.0, top_k=3, seed=start),
        )
        for event in model.generate([request]):
            answers[event.index] = answers.get(event.index, ()) + event.token_ids
        for said in answers.values():
            counts[said] += 1
    chi_square = sum((counts[said] - draws * p) ** 2 / (draws * p) for said, p in expected.items())
    assert len(expected) == 27
    assert chi_square < 54.1  # 26 degrees of freedom, exceeded once in a thousand
