"""What an answer earns by rules, by a judge, and by several together."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from langwright.backend import Capabilities, Likelihood
from langwright.errors import BadInput, Unsupported
from langwright.evaluation.graders import Exact, Form, Number, Pattern
from langwright.evaluation.rewards import (
    Asked,
    Combined,
    Graded,
    Length,
    Overlap,
    Rating,
    Rule,
    Sentiment,
    Verdict,
    overlap,
    probability_of_first,
    sentiment,
)
from langwright.evaluation.rewards.sentiment import NEGATIVE, NEGATORS, POSITIVE
from langwright.inference import Engine
from langwright.model import ModelBundle

PROMPT = [{"role": "user", "content": "What is 40 + 2?"}]


def test_a_grader_earns_what_it_says() -> None:
    number = Graded(grader=Number(), right="answer")
    assert number(PROMPT, "It is 42.", {"answer": 42}) == 1
    assert number(PROMPT, "It is 41.", {"answer": 42}) == 0
    several = Graded(grader=Exact(), right="names")
    assert several(PROMPT, "forty two", {"names": ["42", "Forty two"]}) == 1
    assert Graded(grader=Pattern(pattern=r"#### \d+$"))(PROMPT, "so #### 42", {}) == 1
    form = Graded(grader=Form(rules={"max_words": 2, "begins": "It"}))
    assert (form(PROMPT, "It is", {}), form(PROMPT, "It is so", {})) == (1, 0)


def test_a_reward_that_has_nothing_to_compare_with_is_an_error() -> None:
    with pytest.raises(BadInput, match="compares with a right answer"):
        Graded(grader=Exact())(PROMPT, "42", {"answer": "42"})
    with pytest.raises(BadInput, match="cannot be filled in"):
        Graded(grader=Exact(), right="solution")(PROMPT, "42", {"answer": "42"})


def test_overlap_is_squads_f1() -> None:
    """By hand: of 5 words and of 4, 3 are shared: 2 * 3 / 9. Articles, case and stops are none."""
    assert overlap("The cat sat on my mat.", "a Cat sat there, on") == pytest.approx(6 / 9)
    assert overlap("red red", "red") == pytest.approx(2 / 3)
    assert overlap("red", "blue") == overlap("", "blue") == 0
    assert overlap("!", "the") == overlap("Yes.", "yes") == 1
    several = Overlap(right="names")
    assert several(PROMPT, "forty two", {"names": ["42", "Forty two"]}) == 1
    with pytest.raises(BadInput, match="cannot be filled in"):
        several(PROMPT, "forty two", {})


def test_rules_are_read_from_settings() -> None:
    read = TypeAdapter(Rule).validate_python(
        {"kind": "graded", "grader": {"kind": "number"}, "right": "answer"}
    )
    assert read.each([Asked(PROMPT, "42", {"answer": "42"})]) == [1.0]
    assert TypeAdapter(Rule).validate_python({"kind": "length", "most": 3}) == Length(most=3)


def test_length_falls_evenly_on_both_sides() -> None:
    reward = Length(least=4, most=6, slack=4)
    earned = [reward(PROMPT, "word " * num, {}) for num in range(12)]
    assert earned == [0, 0.25, 0.5, 0.75, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0]


@pytest.mark.parametrize(
    ("text", "mood"),
    [
        ("What a wonderful, happy day!", 1),
        ("A terrible bore.", -1),
        ("It was good, and it was bad.", 0),
        ("The table has four legs.", 0),
        ("", 0),
        ("This is not good.", -1),
        ("It isn't a very good film.", -1),
        ("It isn’t bad at all", 1),
        ("No. It was a great success.", 1),
        ("I do not know whether it was great", 1),
        ("good good good good", 1),
        ("great, lovely, awful", 1 / 3),
    ],
)
def test_the_mood_of_a_text(text: str, mood: float) -> None:
    assert sentiment(text) == pytest.approx(mood)
    assert Sentiment()(PROMPT, text, {}) == pytest.approx(mood)
    assert Sentiment(wanted="negative")(PROMPT, text, {}) == pytest.approx(-mood)


def test_no_word_has_two_moods() -> None:
    assert not (POSITIVE & NEGATIVE | POSITIVE & NEGATORS | NEGATIVE & NEGATORS)
    assert min(len(POSITIVE), len(NEGATIVE)) > 100


def test_the_parts_of_a_sum_stay_visible(scripted: Any) -> None:
    silent = scripted(lambda request, turn: ["9", "I would rather not say"][turn])
    asked = [Asked(PROMPT, "42", {"answer": "42"}), Asked(PROMPT, "It may be 41", {"answer": "42"})]
    right, short = Graded(grader=Number(), right="answer"), Length(most=1, slack=4)
    both = Combined({"right": (2.0, right), "short": (-0.5, short)})
    found = both.rewarded(asked)
    assert found.parts == {"right": [1.0, 0.0], "short": [1.0, 0.25]}
    assert found.totals == both.each(asked) == [1.5, -0.125]
    assert both(*asked[1]) == -0.125
    found = Combined({"judge": (1.0, Rating(silent)), "short": (1.0, Length(most=9))}).rewarded(
        asked
    )
    assert found.totals[0] == pytest.approx(8 / 9 + 1)
    assert math.isnan(found.totals[1])
    assert found.parts["short"] == [1.0, 1.0]
    with pytest.raises(BadInput, match="no reward"):
        Combined({})


@pytest.mark.parametrize(
    ("said", "worth"),
    [
        ("10", 1.0),
        ("1", 0.0),
        ("8/10", 7 / 9),
        ("I give it 5.5 of 10.", 0.5),
        ("0", None),
        ("11", None),
        ("good", None),
    ],
)
def test_the_number_that_a_judge_says(scripted: Any, said: str, worth: float | None) -> None:
    judge = scripted(lambda request, turn: said)
    found = Rating(judge, "polite")(PROMPT, "Dear Sir, it is 42.", {})
    assert math.isnan(found) if worth is None else found == pytest.approx(worth)
    read = judge.requests[0].messages[0]["content"]
    assert "What is 40 + 2?" in read
    assert "Dear Sir, it is 42." in read
    assert "how polite is it" in read


def test_a_verdict_is_the_models_own_probability_of_its_first_token(
    make_model: Callable[..., ModelBundle],
) -> None:
    """Also where one word, or both, lie beyond the hundred tokens that a judge tells of."""
    bundle = make_model(context_length=1024)
    template, tokenizer = bundle.template, bundle.tokenizer
    assert template is not None
    question = "Is 42 the answer?"
    ids = template.encode([{"role": "user", "content": question}], add_generation_prompt=True)
    with torch.no_grad():
        logits = bundle.module(torch.tensor([ids]))[0, -1]
    logprobs = logits[: tokenizer.vocab_size].log_softmax(0)  # the table is padded
    falling = logprobs.argsort(descending=True).tolist()
    texts = {at: tokenizer.decode([token]) for at, token in enumerate(falling)}
    words = {at: text for at, text in texts.items() if tokenizer.encode(text) == [falling[at]]}
    likely, less = [at for at in words if at < 100][:2]
    rare, rarer = [at for at in words if at >= 100][:2]
    judge = Engine(bundle)

    def odds(first: int, second: int) -> float:
        return float((logprobs[falling[first]] - logprobs[falling[second]]).sigmoid())

    def told(first: int, second: int) -> float:
        return probability_of_first(judge, [question], (words[first], words[second]))[0]

    assert told(likely, less) == pytest.approx(odds(likely, less), abs=1e-5)
    assert told(less, likely) == pytest.approx(odds(less, likely), abs=1e-5)
    assert told(rare, less) == pytest.approx(odds(99, less), abs=1e-5)
    assert told(less, rare) == pytest.approx(odds(less, 99), abs=1e-5)
    assert math.isnan(told(rare, rarer))


def test_a_judge_without_a_template_compares_two_continuations(scripted: Any) -> None:
    class Likely(scripted):  # type: ignore[misc]
        def capabilities(self) -> Capabilities:
            return Capabilities(likelihood=True)

        def likelihoods(self, pairs: Any) -> list[Likelihood]:
            assert [second for _, second in pairs] == [" Yes", " No"]
            return [Likelihood(one, True, 1, 4) for one in (-1.0, -3.0)]

    found = Verdict(Likely(lambda *_: ""))(PROMPT, "42", {})
    assert found == pytest.approx(1 / (1 + math.exp(-2)))


def test_a_judge_that_tells_no_probabilities_is_refused(
    scripted: Any, make_model: Callable[..., ModelBundle]
) -> None:
    with pytest.raises(Unsupported, match="no probabilities"):
        Verdict(scripted(lambda *_: "Yes"))(PROMPT, "42", {})
    with pytest.raises(BadInput, match="same token"):
        probability_of_first(Engine(make_model()), ["?"], ("No", "None"))
