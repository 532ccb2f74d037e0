"""Models on tasks, from rows to results."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from langwright.backend import Request
from langwright.errors import BadInput, BadSettings, Unsupported
from langwright.evaluation import evaluate
from langwright.evaluation.answering import winner
from langwright.inference import Engine
from langwright.model import ModelBundle
from langwright.providers import Model
from langwright.sandbox import available

pytestmark = pytest.mark.usefixtures("one_thread")

Make = Callable[..., ModelBundle]
Write = Callable[..., str]

WORDS = ["the", "quick", "fox", "and", "the", "lazy", "dog"]
QUIZ = [
    {
        "prompt": f"the {WORDS[n % 7]}",
        "choices": [WORDS[(n + k) % 7] + "!" * (k % 2) for k in range(2 + n % 3)],
        "answer": n % 2,
    }
    for n in range(30)
]
RESULT = {
    *("model", "task", "metric", "value", "stderr", "interval", "n", "num_fewshot", "baseline"),
    *("seed", "filter", "limit", "of", "fingerprint", "baseline_name"),
}


@pytest.fixture
def model(make_model: Make) -> Model:
    bundle = make_model(5, context_length=256)
    return Model(Engine(bundle, "small"), bundle)


def metric(found: dict[str, Any], name: str, filter: str = "none") -> dict[str, Any]:
    (one,) = [r for r in found["results"] if (r["metric"], r["filter"]) == (name, filter)]
    return dict(one)


def test_multiple_choice_is_the_likeliest_choice(
    model: Model, write: Write, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    found = evaluate(model, write("quiz.jsonl", QUIZ), log_samples=str(log))
    hits = {"acc": 0, "acc_norm": 0}
    for row in QUIZ:
        sums = [
            one.logprob
            for one in model.backend.likelihoods([(row["prompt"], " " + c) for c in row["choices"]])
        ]
        normed = [value / len(c) for value, c in zip(sums, row["choices"], strict=True)]
        hits["acc"] += sums.index(max(sums)) == row["answer"]
        hits["acc_norm"] += normed.index(max(normed)) == row["answer"]
    for name, count in hits.items():
        one = metric(found, name)
        assert one.keys() >= RESULT
        assert one["value"] == pytest.approx(count / 30)
        exact = stats.binomtest(count, 30).proportion_ci(0.95, "exact")
        assert one["interval"] == pytest.approx([exact.low, exact.high])
        assert (one["n"], one["of"], one["limit"], one["model"]) == (30, 30, None, "small")
        assert one["baselines"]["chance"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 3)
        assert (one["baseline_name"], one["baseline"]) == ("chance", one["baselines"]["chance"])
    assert metric(found, "acc")["value"] != metric(found, "acc_norm")["value"]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["row"] for line in lines] == QUIZ
    assert sum(line["metrics"]["acc"] for line in lines) == hits["acc"]
    assert len(lines[1]["logprobs"]) == 3


def test_a_limit_is_told_and_takes_the_first_rows(model: Model, write: Write) -> None:
    whole, few = (evaluate(model, write("q.jsonl", QUIZ[:k]), limit=7) for k in (30, 7))
    assert metric(whole, "acc")["value"] == metric(few, "acc")["value"]
    assert [metric(one, "acc")["of"] for one in (whole, few)] == [30, 7]
    assert metric(whole, "acc")["limit"] == 7
    with pytest.raises(BadInput, match="limit is 0"):
        evaluate(model, write("q.jsonl", QUIZ), limit=0)


def test_two_models_are_compared_item_by_item(
    model: Model, make_model: Make, write: Write, tmp_path: Path
) -> None:
    other = Model(Engine(make_model(8), "other"))
    log = tmp_path / "log.jsonl"
    path = write("q.jsonl", QUIZ)
    found = evaluate(model, path, compare=[other, model], log_samples=str(log))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    ours, theirs = (
        [line["metrics"]["acc"] for line in lines if line["model"] == name][:30]
        for name in ("small", "other")
    )
    one, _, same, _ = found["comparisons"]
    assert one["models"] == ["small", "other"]
    assert one["difference"] == pytest.approx((sum(ours) - sum(theirs)) / 30)
    alone = [
        sum(a > b for a, b in zip(*sides, strict=True))
        for sides in ((ours, theirs), (theirs, ours))
    ]
    assert [one["only_first"], one["only_second"]] == alone
    assert sum(alone) > 0
    assert one["p"] == pytest.approx(stats.binomtest(alone[0], sum(alone)).pvalue)
    assert (same["difference"], same["interval"], same["p"]) == (0, [0, 0], 1)


def test_a_continuation_is_as_likely_as_the_back_end_says(model: Model, write: Write) -> None:
    rows = [{"context": row["prompt"], "continuation": row["choices"][0]} for row in QUIZ]
    found = evaluate(model, write("c.jsonl", rows))
    pairs = [(row["context"], " " + row["continuation"]) for row in rows]
    told = model.backend.likelihoods(pairs)
    expected = math.exp(-sum(one.logprob for one in told) / 30)
    assert metric(found, "perplexity")["value"] == pytest.approx(expected)
    assert metric(found, "acc")["value"] == sum(one.greedy for one in told) / 30


def test_perplexity_is_that_of_score(model: Model, write: Write) -> None:
    texts = ["the quick fox " * 9, "and the lazy dog, the 12 words " * 3, "你好，世界！"]
    found = evaluate(model, write("t.jsonl", [{"text": t} for t in texts]), window=16, stride=4)
    scores = [model.score(text, window=16, stride=4) for text in texts]
    bits = sum(one.nll_nats_sum for one in scores) / math.log(2)
    rate = bits / sum(one.bytes for one in scores)
    one = metric(found, "bits_per_byte")
    assert one["value"] == pytest.approx(rate)
    assert (one["window"], one["stride"]) == (16, 4)
    assert set(one["baselines"]) == {"byte 5-gram", "xz"}
    assert metric(found, "byte_perplexity")["value"] == pytest.approx(2**rate)
    tokens = sum(one.scored_tokens for one in scores)
    assert metric(found, "perplexity")["value"] == pytest.approx(2 ** (bits / tokens))
    single = metric(evaluate(model, write("t.jsonl", [{"text": texts[0]}])), "bits_per_byte")
    assert single["interval"] is None
    assert single["baseline_name"] == "xz"


def test_answers_are_drawn_and_graded(model: Model, write: Write, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    rows = [{"question": f"{n}?", "answer": str(n % 3)} for n in range(8)]
    path = write("a.jsonl", rows)
    one = metric(
        evaluate(model, path, max_tokens=4, temperature=1.0, log_samples=str(log)), "exact_match"
    )
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert one["cut_answers"] == sum(line["cut"][0] for line in lines)
    assert one["empty_answers"] == sum(not line["responses"][0].strip() for line in lines)
    assert lines[0]["prompt"] == "Question: 0?\nAnswer:"
    assert (one["baseline_name"], one["baseline"]) == ("commonest answer", 3 / 8)
    again = evaluate(model, path, max_tokens=4, temperature=1.0, log_samples=str(log))
    assert metric(again, "exact_match") == one
    assert [json.loads(line) for line in log.read_text().splitlines()] == lines
    evaluate(model, path, max_tokens=4, temperature=1.0, seed=1, log_samples=str(log))
    assert [json.loads(line) for line in log.read_text().splitlines()] != lines
    assert evaluate(model, path, max_tokens=4, chat=True)["results"]


def test_the_commonest_of_several_answers_counts(scripted: Any, write: Write) -> None:
    said = ["So 4.", "It is 5.", "4", "no idea", "no idea", "5.0", "5", "4"]
    model = Model(scripted(lambda request, turn: said[turn]))
    rows = [{"question": "2 + 2?", "answer": 4}, {"question": "2 + 3?", "answer": 5}]
    found = evaluate(model, write("v.jsonl", rows), samples=4, temperature=0.7)
    assert metric(found, "exact_match", "maj@4")["value"] == 1
    assert metric(found, "exact_match", "mean@4")["value"] == 0.5
    seeds = [request.sampling.seed for request in model.backend.requests]  # type: ignore[attr-defined]
    assert len(set(seeds)) == 8


def test_a_vote() -> None:
    assert winner(["a", "b", "b"]) == 1
    assert winner(["a", "b", "b", "a"]) == 0  # the first to come
    assert winner(["", "", "c"]) == 2
    assert winner(["", ""]) == 0


def test_a_chain_of_thought_is_asked_for_and_its_answer_extracted(
    scripted: Any, write: Write
) -> None:
    thought = "Paris has the tower.\nThe answer is: Rome. No, the answer is Paris."
    model = Model(scripted(lambda request, turn: thought if turn else "I do not know"))
    rows = [{"prompt": "Capital?", "answer": "Paris"}] * 2
    found = evaluate(model, write("t.jsonl", rows), chain_of_thought="Let us think.", chat=True)
    one = metric(found, "exact_match")
    assert (one["value"], one["not_extracted"]) == (0.5, 1)
    request: Request = model.backend.requests[0]  # type: ignore[attr-defined]
    assert request.messages == [{"role": "user", "content": "Capital?\nLet us think."}]
    assert request.stop == ()  # a paragraph of thought does not end the answer


@pytest.mark.skipif(available() is not None, reason="programs cannot be isolated here")
def test_programs_pass_their_tests_in_the_sandbox(scripted: Any, write: Write) -> None:
    row = {
        "prompt": "def double(x):\n",
        "test": "def check(f):\n    assert f(2) == 4\n    assert f('a') == 'aa'",
        "entry_point": "double",
    }
    bodies = [
        "    return 2 * x\n",
        "```python\n    return x + x\n```\nThere you are.",
        "    return x ** 2\n",
        "    raise SystemExit\n",  # leaves with success before the tests are done
        "    import os; os._exit(0)\n",
        "    return (\n",
    ]
    model = Model(scripted(lambda request, turn: bodies[turn]))
    found = evaluate(model, write("p.jsonl", [row] * 6))
    one = metric(found, "pass@1")
    assert one["value"] == pytest.approx(2 / 6)
    assert (one["baseline_name"], one["baseline"]) == ("empty answer", 0)
    model = Model(scripted(lambda request, turn: bodies[turn]))
    both = evaluate(model, write("p.jsonl", [row] * 2), samples=3, temperature=0.5)
    assert metric(both, "pass@1")["value"] == pytest.approx(1 / 3)
    assert metric(both, "pass@3")["value"] == 0.5


PAIRS = [{"prompt": f"q{n}", "chosen": "good " * (n % 3 + 1), "rejected": "bad"} for n in range(6)]


def text_of(request: Request) -> str:
    return request.text or request.messages[0]["content"]  # type: ignore[index]


def test_a_judge_that_sees_the_place_alone_ties_everything(scripted: Any, write: Write) -> None:
    judge = Model(scripted(lambda request, turn: "A"))
    found = evaluate(judge, write("p.jsonl", PAIRS))
    rate = metric(found, "win_rate")
    assert (rate["value"], rate["ties"], rate["baseline"]) == (0.5, 6, 0.5)
    assert metric(found, "consistency")["value"] == 0
    assert metric(found, "first_place")["value"] == 1


def test_a_judge_that_reads_prefers_the_same_in_both_orders(scripted: Any, write: Write) -> None:
    def reads(request: Request, turn: int) -> str:
        text = text_of(request)
        return "A" if text.index("good") < text.index("bad") else "Answer B."

    for chat in (True, False):
        found = evaluate(Model(scripted(reads, chat=chat)), write("p.jsonl", PAIRS))
        assert metric(found, "win_rate")["value"] == 1
        assert metric(found, "consistency")["value"] == 1
        assert metric(found, "first_place")["value"] == 0.5


def test_a_judge_compares_a_models_answers_with_others(scripted: Any, write: Write) -> None:
    write("d.jsonl", [{"prompt": "q", "reference": "old"}] * 4)
    task = write("w.toml", 'kind = "preference"\ndata = "d.jsonl"\nagainst = "reference"\n')
    model = Model(scripted(lambda request, turn: "new" if turn else "old"))

    def newer(request: Request, turn: int) -> str:
        first, second = text_of(request).split("[Answer B]")
        return "A" if "new" in first else "B" if "new" in second else "Who knows?"

    found = evaluate(model, task, judge=Model(scripted(newer)))
    rate = metric(found, "win_rate")
    assert (rate["value"], rate["n"], rate["unclear_verdicts"]) == (7 / 8, 4, 2)
    with pytest.raises(BadInput, match="--judge"):
        evaluate(model, task)


def test_what_a_back_end_cannot_do_is_said(scripted: Any, write: Write) -> None:
    model = Model(scripted(lambda request, turn: "x", chat=False))
    with pytest.raises(Unsupported, match="how likely"):
        evaluate(model, write("q.jsonl", QUIZ))
    with pytest.raises(Unsupported, match="probabilities"):
        evaluate(model, write("t.jsonl", [{"text": "abc"}]))
    with pytest.raises(Unsupported, match="does not chat"):
        evaluate(model, write("a.jsonl", [{"prompt": "q", "answer": "x"}]), chat=True)


def test_what_does_not_fit_together_is_refused(model: Model, write: Write) -> None:
    quiz = write("q.jsonl", QUIZ)
    with pytest.raises(BadSettings, match="no samples"):
        evaluate(model, quiz, samples=3)
    with pytest.raises(BadSettings, match="--data"):
        evaluate(model, quiz, data=quiz)
    with pytest.raises(BadSettings, match="several tasks"):
        evaluate(model, ["copa", "piqa"], data=quiz)
    with pytest.raises(BadInput, match="no task"):
        evaluate(model, [])
