"""Judges: probabilities that equal an independent computation; places swapped and averaged; the
rule judge, the scorer of harm and the measure of help have nothing in common."""

from __future__ import annotations

import ast
import importlib.util
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from langwright.errors import Unsupported
from langwright.evaluation.harm import harm
from langwright.evaluation.helpfulness import coverage
from langwright.evaluation.looping import looped
from langwright.inference import Engine
from langwright.model import ModelBundle
from langwright.training.constitutional.author import Author, Written
from langwright.training.constitutional.feedback import (
    Comparison,
    Feedback,
    compare_answers,
    write_comparisons,
)
from langwright.training.constitutional.forms import comparison
from langwright.training.constitutional.judges import How, Matchup, ModelJudge, Verdict
from langwright.training.constitutional.ledger import Ledger
from langwright.training.constitutional.principles import Principle, read_constitution
from langwright.training.constitutional.rules import RuleJudge

HOUSE = read_constitution("house")
REPLIES = [("Because.", "Go away."), ("No.", "Yes"), ("I see.", "x")]
MATCHUPS = {
    f"verdict/{n}": Matchup(HOUSE.principles[n], "Why?", *replies)
    for n, replies in enumerate(REPLIES)
}


@pytest.fixture(scope="module")
def bundle(make_model: Callable[..., ModelBundle]) -> ModelBundle:
    return make_model(3, context_length=1024)


def question(one: Matchup) -> str:
    return comparison(one.principle, one.prompt, one.first, one.second)


def letters(bundle: ModelBundle, ids: list[int], a: str, b: str) -> tuple[float, float]:
    """p of the first of two tokens after `ids`, and of both together, by the module itself."""
    with torch.inference_mode():
        logits = bundle.module.head(bundle.module.hidden(torch.tensor([ids]))[0, -1])
    vocabulary = bundle.tokenizer.vocab_size
    probabilities = logits[:vocabulary].double().softmax(-1)
    (first,), (second,) = bundle.tokenizer.encode(a), bundle.tokenizer.encode(b)
    both = float(probabilities[first] + probabilities[second])
    return float(probabilities[first]) / both, both


def test_the_soft_label_is_what_the_model_gives_to_the_letters(
    bundle: ModelBundle, tmp_path: Path
) -> None:
    judge = ModelJudge(Engine(bundle, "judge"), Ledger(tmp_path / "ledger.jsonl"))
    assert judge.how == "log-probabilities"
    assert bundle.template is not None
    found = judge.verdicts(MATCHUPS)
    assert list(found) == list(MATCHUPS)
    for key, one in MATCHUPS.items():
        messages = [{"role": "user", "content": question(one)}]
        ids = bundle.template.encode(messages, add_generation_prompt=True)
        first, both = letters(bundle, ids, "A", "B")
        assert found[key].first == pytest.approx(first, abs=1e-5)
        assert found[key].mass == pytest.approx(both, rel=1e-3)
    # What was judged is not asked again.
    assert ModelJudge(Engine(bundle, "judge"), Ledger(tmp_path / "ledger.jsonl"))._ledger.known
    assert judge.verdicts(MATCHUPS) == found


def test_a_judge_without_a_chat_template_reads_raw_text(
    bundle: ModelBundle, tmp_path: Path
) -> None:
    raw = Engine(replace(bundle, template=None), "raw")
    judge = ModelJudge(raw, Ledger(tmp_path / "ledger.jsonl"))
    assert judge.how == "likelihoods"
    found = judge.verdicts(MATCHUPS)
    for key, one in MATCHUPS.items():
        texts = [question(one) + f"\n\nAnswer: {letter}" for letter in "AB"]
        a, b = (
            math.fsum(value for value in scored.logprobs if value is not None)
            for scored in raw.score(texts, window=1024, stride=512)
        )
        assert found[key].first == pytest.approx(1 / (1 + math.exp(b - a)), abs=1e-4)


class FirstPlace:
    """Prefers whatever is shown first, with a probability of 0.9."""

    name = "first place"
    how: How = "said"

    def verdicts(self, asked: Mapping[str, Matchup]) -> dict[str, Verdict]:
        return dict.fromkeys(asked, Verdict(0.9, 1.0))


def compared(one: int, other: int) -> int:
    return (one > other) - (one < other)


class Longest:
    """Prefers the longer reply wherever it stands, and whatever is shown second a little more."""

    name = "longest"
    how: How = "said"

    def verdicts(self, asked: Mapping[str, Matchup]) -> dict[str, Verdict]:
        return {
            key: Verdict(0.45 + 0.35 * compared(len(one.first), len(one.second)))
            for key, one in asked.items()
        }


def drawn(bundle: ModelBundle, folder: Path) -> Author:
    return Author(Engine(bundle, "author"), Ledger(folder / "drawn.jsonl"), 8, 1.0, 1.0, 0)


def test_a_judge_of_places_alone_has_no_say(bundle: ModelBundle, tmp_path: Path) -> None:
    prompts = [f"Number {n}?" for n in range(6)]
    author = drawn(bundle, tmp_path)
    biased = compare_answers(author, FirstPlace(), HOUSE, prompts, 2)
    told = biased.counts(FirstPlace())
    assert told["pairs"] + told["equal"] + told["empty"] == 12
    assert all(one.probability == pytest.approx(0.5) for one in biased.comparisons)
    assert (told["consistency"], told["first_place"]) == (0, pytest.approx(0.9))

    fair = compare_answers(author, Longest(), HOUSE, prompts, 2)
    told = fair.counts(Longest())
    for one in fair.comparisons:
        first, second = (len(answer.text) for answer in one.answers)
        if first != second:
            assert one.probability == pytest.approx(0.85 if first > second else 0.15)
            assert one.ranks == ([0, 1] if first > second else [1, 0])
            assert one.consistent
    assert told["first_place"] == pytest.approx(0.45, abs=0.01)


def test_pairs_are_two_draws_and_the_same_again_by_the_seed(
    bundle: ModelBundle, tmp_path: Path
) -> None:
    prompts = ["One?", "Two?"]
    first = compare_answers(drawn(bundle, tmp_path), RuleJudge(HOUSE), HOUSE, prompts, 3)
    (tmp_path / "drawn.jsonl").unlink()
    again = compare_answers(drawn(bundle, tmp_path), RuleJudge(HOUSE), HOUSE, prompts, 3)
    assert first == again
    assert all(one.answers[0].text != one.answers[1].text for one in first.comparisons)
    path = tmp_path / "comparisons.jsonl"
    author = drawn(bundle, tmp_path)
    write_comparisons(path, first.comparisons, RuleJudge(HOUSE), author, "constitution house")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == len(first.comparisons) > 0
    for line in lines:
        assert [one["role"] for one in line["messages"]] == ["user"]
        assert len(line["answers"]) == len(line["ranks"]) == len(line["models"]) == 2
        assert 0 < line["probability"] < 1
        assert (line["rater"], line["models"][0]) == ("rules", "author")
        better = line["ranks"][0] <= line["ranks"][1]
        assert better == (line["probability"] >= 0.5)


def test_twice_the_same_answer_is_no_comparison(bundle: ModelBundle, tmp_path: Path) -> None:
    likeliest = replace(drawn(bundle, tmp_path), temperature=0.0)
    found = compare_answers(likeliest, RuleJudge(HOUSE), HOUSE, ["One?", "Two?"], 2)
    assert (len(found.comparisons), found.equal + found.empty) == (0, 4)
    assert found.equal > 0


def test_a_text_depends_on_its_key_and_on_nothing_that_was_written_before(
    bundle: ModelBundle, tmp_path: Path
) -> None:
    asked = {key: [{"role": "user", "content": "One?"}] for key in ("a", "b", "c@x", "c@y")}
    together = drawn(bundle, tmp_path).write("all", asked)
    (tmp_path / "drawn.jsonl").unlink()
    author = drawn(bundle, tmp_path)
    apart = {key: author.write("one", {key: asked[key]})[key] for key in reversed(asked)}
    assert apart == together
    assert together["a"].text != together["b"].text
    assert together["c@x"] == together["c@y"]  # two models are given the same seed


def test_a_judge_that_contradicts_itself_sees_a_tie() -> None:
    written = Written("Yes.", False, 2, 0)
    tie = Comparison("?", "help", (written, written), (0.7, 0.3), None)
    assert (tie.ranks, tie.consistent) == ([0, 0], False)
    sure = replace(tie, orders=(0.9, 0.6))
    assert (sure.ranks, sure.consistent) == ([0, 1], True)
    none = Feedback([], 3, 1).counts(RuleJudge(HOUSE))
    assert (none["consistency"], none["equal"], none["empty"]) == (None, 3, 1)


KIND = "I am sorry that you are angry. You could talk to him instead; I can help you with that."
BAD = {
    "respect": "He is a stupid idiot and a loser, and you are pathetic too.",
    "language": "Damn him, that bastard can go to hell.",
    "privacy": "Spy on him: read his messages unseen. His number is +44 20 7946 0000.",
    "fairness": "All women are bad drivers, and foreigners are always late.",
    "steadiness": "Lie to him, then threaten him and spread the rumour.",
    "danger": "Take twice the dose; you can steal it without being caught.",
    "doubt": "It will certainly work, trust me, everybody knows it.",
    "openness": "You should be ashamed. As an AI, I find that immoral.",
    "clarity": "no no no no no no no no no no no no no no no no no no no no",
    "help": "No.",
}


@pytest.mark.parametrize("name", BAD)
def test_the_rule_judge_prefers_the_kind_answer_and_is_blind_to_places(name: str) -> None:
    judge, principle = RuleJudge(HOUSE), HOUSE.principle(name)
    orders = {
        "one": Matchup(principle, "?", KIND, BAD[name]),
        "other": Matchup(principle, "?", BAD[name], KIND),
        "same": Matchup(principle, "?", KIND, KIND),
    }
    found = judge.verdicts(orders)
    assert found["one"].first > 0.7
    assert found["one"].first + found["other"].first == pytest.approx(1)
    assert found["same"].first == 0.5


def test_a_principle_weighs_what_it_names_most() -> None:
    judge = RuleJudge(HOUSE)
    rude = "You stupid idiot."
    points = {one.id: judge.points(one, rude) for one in HOUSE.principles}
    assert points["respect"] == min(points.values()) < points["doubt"] < 0


def test_judge_scorer_and_measure_share_nothing() -> None:
    """No import of one by another, on any path within this package; none reads the other's data."""
    reached = {
        name: closure(f"langwright.{name}")
        for name in (
            "training.constitutional.rules",
            "evaluation.harm",
            "evaluation.helpfulness",
        )
    }
    for name, modules in reached.items():
        others = {f"langwright.{one}" for one in reached if one != name}
        assert not others & modules, name
    rules = importlib.util.find_spec("langwright.training.constitutional.rules")
    assert rules is not None
    assert rules.origin is not None
    words = (Path(rules.origin).with_name("rules.toml")).read_text()
    assert "profanity" not in words + Path(rules.origin).read_text()
    outside = {one for one in reached["evaluation.harm"] if not one.startswith("langwright")}
    assert not outside & {"langwright.training", "tomllib"}


def closure(module: str) -> set[str]:
    """All modules of the package that `module` imports, directly or not."""
    found, queue = set[str](), [module]
    while queue:
        spec = importlib.util.find_spec(queue.pop())
        if spec is None or spec.origin is None:
            continue
        for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
            elif isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            for name in names:
                if name.startswith("langwright.") and name not in found and exists(name):
                    found.add(name)
                    queue.append(name)
    return found


def exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_the_scorer_knows_offence_and_not_what_the_judge_knows() -> None:
    pytest.importorskip("profanity_check")
    rude, kind, spying = harm(["You are a stupid idiot.", KIND, "I can spy on him for you."])
    assert rude > 0.9 > 0.2 > kind
    assert spying < 0.5
    judge = RuleJudge(HOUSE)
    assert judge.points(HOUSE.principle("privacy"), "I can spy on him for you.") < -1
    assert harm([]) == []


def test_without_the_scorer_it_says_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langwright.evaluation.harm.find_spec", lambda name: None)
    with pytest.raises(Unsupported, match=r"langwright\[harm\].*scorer=none"):
        harm(["x"])


def test_coverage_and_looping() -> None:
    expects = [["water"], ["minute", "minutes"], ["boil"]]
    assert coverage("Put it in Water for six MINUTES.", expects) == pytest.approx(2 / 3)
    assert coverage("waterfall", expects) == 0
    assert looped("the same again and again " * 6)
    assert not looped(KIND)
    assert not looped("no no no no")


def test_an_author_needs_a_chat_template(bundle: ModelBundle, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="chat template"):
        drawn(replace(bundle, template=None), tmp_path)


def test_a_principle_of_ones_own_without_signs_is_judged_by_all() -> None:
    own = Principle(id="own", title="t", critique="c", revision="r", comparison="?")
    judge = RuleJudge(HOUSE)
    assert judge.points(own, "You stupid idiot.") == -4
    assert judge.points(own, "idiot, " * 9) == judge.points(own, "idiot, " * 5)
