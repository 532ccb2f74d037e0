from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch

from langwright.errors import BadInput
from langwright.inference import Engine, score_rows, scoring
from langwright.model import Decoder, ModelBundle

pytestmark = pytest.mark.usefixtures("one_thread")

Make = Callable[..., ModelBundle]


def by_hand(module: Decoder, row: list[int], window: int, stride: int) -> list[float | None]:
    """Each token in the first window that holds it, one full forward pass for each."""
    values: list[float | None] = [None] * len(row)
    for at in range(1, len(row)):
        start = 0
        while start + window <= at:
            start += stride
        logits = module(torch.tensor([row[start:at]]))[0, -1]
        values[at] = float(logits.log_softmax(-1)[row[at]])
    return values


@pytest.mark.parametrize("case", range(6))
def test_scores_in_windows_equal_a_plain_loop(
    make_model: Make, monkeypatch: pytest.MonkeyPatch, case: int
) -> None:
    dice = random.Random(case)
    window = dice.randrange(2, 30)
    stride = dice.randrange(1, window)
    # Few tokens a pass, so that rows are spread over several.
    monkeypatch.setattr(scoring, "TOKENS_PER_PASS", dice.choice([1, 50, 4096]))
    module = make_model(case).module
    lengths = [0, 1, 2, window, window + 1, *(dice.randrange(60) for _ in range(4))]
    rows = [[dice.randrange(300) for _ in range(length)] for length in lengths]
    for row, values in zip(rows, score_rows(module, rows, window, stride), strict=True):
        expected = by_hand(module, row, window, stride)
        assert [value is None for value in values] == [value is None for value in expected]
        assert [value or 0.0 for value in values] == pytest.approx(
            [value or 0.0 for value in expected], abs=1e-4
        )


TEXTS = ["the fox", "", "🙂 你好 and the lazy dog, 12 times", "x" * 100, "a"]


def test_scored_bytes_are_those_of_the_text(make_model: Make) -> None:
    engine = Engine(make_model(1, start_id=305))
    for text, scored in zip(TEXTS, engine.score(TEXTS, window=10, stride=3), strict=True):
        assert scored.bytes == len(text.encode())
        assert list(scored.token_ids) == engine.tokenize(text)
        assert None not in scored.logprobs


def test_without_a_token_to_begin_with_the_first_is_not_scored(make_model: Make) -> None:
    bundle = make_model(1)
    engine = Engine(bundle)
    for text, scored in zip(TEXTS, engine.score(TEXTS), strict=True):
        first = bundle.tokenizer.token_bytes(scored.token_ids[0]) if text else b""
        assert scored.bytes == len(text.encode()) - len(first)
        assert [value is None for value in scored.logprobs[:2]] == [True, False][: len(text)]


def test_the_score_is_what_next_tokens_says(make_model: Make) -> None:
    engine = Engine(make_model(2, start_id=305, vocab_size=307))
    scored = engine.score(["the lazy"])[0]
    for at, before in enumerate(["", "the"]):
        said = {token.id: token.logprob for token in engine.next_tokens(before, 400)}
        assert scored.logprobs[at] == pytest.approx(said[scored.token_ids[at]], abs=1e-5)


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (65, 5), (10, 10), (10, -1), (-5, None)])
def test_windows_that_would_skip_or_not_fit_are_refused(
    make_model: Make, window: int, stride: int | None
) -> None:
    with pytest.raises(BadInput, match="window"):
        Engine(make_model()).score(["the"], window=window, stride=stride)
