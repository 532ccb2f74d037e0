"""Choosing between answers, with a small random model that really answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import langwright as lw
from langwright.backend import Event
from langwright.errors import BadInput, BadSettings, Busy, NotFound, Unsupported
from langwright.lifecycle.comparing import Choice, Question, first_stands_right
from langwright.lifecycle.drawing import Drawing
from langwright.model import ModelBundle, save_folder
from langwright.providers import Model
from langwright.store import Store
from langwright.training.comparisons import Comparison, comparisons_of, write_comparisons

PROMPTS = ["the quick fox", "the lazy dog", "12 words", "and", "the the"]
HOW: dict[str, Any] = {"max_tokens": 6, "temperature": 1.0}


@pytest.fixture
def models(store: Store, make_model: Callable[..., ModelBundle]) -> None:
    """one and two differ; copy is one under another name, mute one without a template."""
    for name, seed in (("one", 1), ("two", 2), ("copy", 1), ("mute", 3)):
        bundle = make_model(seed, context_length=128)
        if name == "mute":
            bundle = replace(bundle, template=None)
        with store.writing(name, "model") as draft:
            save_folder(draft.folder, bundle)


class Rater:
    """Says what `judge` says of each question, and remembers all of them."""

    def __init__(self, judge: Callable[[Question], Choice]) -> None:
        self.judge, self.seen = judge, list[Question]()

    def __call__(self, question: Question) -> Choice:
        self.seen.append(question)
        return self.judge(question)


def smaller(question: Question) -> Choice:
    return "left" if question.left < question.right else "right"


def found(store: Store, name: str) -> list[Comparison]:
    return comparisons_of(store.get(name), store)


@pytest.mark.usefixtures("models")
def test_what_was_chosen_is_what_is_stored_wherever_it_stood(store: Store) -> None:
    rater = Rater(smaller)
    result = lw.compare("one", "two", prompts=PROMPTS, choose=rater, rater="anna", name="c",
                        store=store, **HOW)  # fmt: skip
    assert (result["comparisons"], result["artifact"], result["remaining"]) == (5, "c", 0)
    assert result["raters"] == ["anna"]
    stored = found(store, "c")
    first, second = lw.load("one", store=store), lw.load("two", store=store)
    places = set()
    for number, (one, question) in enumerate(zip(stored, rater.seen, strict=True)):
        assert one.messages == [{"role": "user", "content": PROMPTS[number]}]
        assert one.answers == [
            first.chat(PROMPTS[number], seed=2 * number, **HOW).text,
            second.chat(PROMPTS[number], seed=2 * number + 1, **HOW).text,
        ]
        assert one.pairs() == [(min(one.answers), max(one.answers))]
        assert (one.models, one.rater) == (["one", "two"], "anna")
        assert one.sampling == {"seed": 0, **HOW, "seeds": [2 * number, 2 * number + 1]}
        places.add(question.left == one.answers[0])
    assert places == {True, False}
    wins = sum(one.ranks == [0, 1] for one in stored)
    assert result["win_rate"]["value"] == wins / 5
    parents = {store.get("one").digest, store.get("two").digest}
    assert set(store.get("c").parents) == parents


def test_the_place_tells_nothing() -> None:
    """Balanced, and of one rater's places another's say nothing: both within four deviations."""
    sides = {
        rater: [first_stands_right("c", number, rater) for number in range(4000)]
        for rater in ("anna", "ben")
    }
    same = sum(a == b for a, b in zip(*sides.values(), strict=True))
    for count in (sum(sides["anna"]), sum(sides["ben"]), same):
        assert abs(count - 2000) < 4 * 4000**0.5 / 2


@pytest.mark.usefixtures("models")
def test_a_session_goes_on_where_it_was_left(store: Store, tmp_path: Path) -> None:
    whole = Rater(smaller)
    given: dict[str, Any] = {"prompts": PROMPTS, "rater": "anna", "store": store, **HOW}
    lw.compare("one", choose=whole, name="whole", **given)

    def quits(question: Question) -> Choice:
        return smaller(question) if question.number < 3 else "quit"

    result = lw.compare("one", choose=quits, name="c", **given)
    assert (result["comparisons"], result["remaining"]) == (2, 3)
    assert store.run("c").status == "stopped"

    def interrupts(question: Question) -> Choice:
        if question.number < 4:
            return smaller(question)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lw.compare("one", choose=interrupts, name="c", **given)
    assert len(found(store, "c")) == 3
    choices = store.run("c").folder / "choices.jsonl"
    with choices.open("a") as file:  # the power failed in the midst of a line
        file.write('{"item": 3, "ra')

    rest = Rater(smaller)
    result = lw.compare("one", choose=rest, name="c", **given)
    assert [question.number for question in rest.seen] == [4, 5]
    assert (result["comparisons"], result["remaining"]) == (5, 0)
    assert store.run("c").status == "finished"
    strip = {"at": None, "source": None}
    assert [one.to_json() | strip for one in found(store, "c")] == [
        one.to_json() | strip for one in found(store, "whole")
    ]
    # Finished: nobody is asked, and it is the same artifact.
    digest = store.get("c").digest
    assert lw.compare("one", choose=Rater(quits), name="c", **given) == result
    assert store.get("c").digest == digest
    with pytest.raises(BadSettings, match="temperature"):
        lw.compare("one", choose=rest, name="c", **given | {"temperature": 0.5})
    with pytest.raises(BadSettings, match="prompts"):
        lw.compare("one", choose=rest, name="c", **given | {"prompts": PROMPTS[:2]})


@pytest.mark.usefixtures("models")
def test_who_quits_does_not_wait_for_the_next_answers(store: Store) -> None:
    """The third prompt's are endless: they begin while the second is read, and are given up."""
    drawn: list[int] = []

    class Endless(Model):
        def stream(self, prompt: Any, **options: Any) -> Iterator[Event]:
            drawn.append(options["seed"])
            if options["seed"] < 4:
                yield from super().stream(prompt, **options)
                return
            for _ in range(10**7):
                yield Event("on and on")
            drawn.append(-1)

    model = lw.load("one", store=store)
    drawing = Drawing(["one"], {"seed": 0, **HOW}, lambda name: Endless(model.backend))
    drawing.open()
    prompts = [[{"role": "user", "content": text}] for text in PROMPTS]
    with closing(drawing.ahead(prompts, 0)) as ahead:
        assert [next(ahead)[0], next(ahead)[0]] == prompts[:2]
    assert set(drawn) <= {0, 1, 2, 3, 4}, "the endless answer was waited for"


@pytest.mark.usefixtures("models")
def test_raters_are_asked_the_same_and_their_agreement_is_told(store: Store) -> None:
    anna, ben = Rater(smaller), Rater(lambda q: "tie" if q.number == 5 else smaller(q))
    given: dict[str, Any] = {"prompts": PROMPTS, "name": "c", "store": store, **HOW}
    lw.compare("one", "two", choose=anna, rater="anna", **given)
    with pytest.raises(BadInput, match="two raters"):
        lw.compare("c", agreement=True, store=store)
    result = lw.compare("one", "two", choose=ben, rater="ben", **given)
    assert (result["comparisons"], result["raters"]) == (10, ["anna", "ben"])
    assert [{q.left, q.right} for q in anna.seen] == [{q.left, q.right} for q in ben.seen]
    agreed = lw.compare("c", agreement=True, store=store)
    assert (agreed["raters"], agreed["units"]) == (["anna", "ben"], 5)
    assert agreed["share"]["value"] == 0.8
    assert 0 < agreed["alpha"]["value"] < 1
    assert 0 < agreed["kappa"]["value"] < 1


@pytest.mark.usefixtures("models")
def test_a_second_rater_who_says_the_same_makes_nothing_surer(store: Store) -> None:
    """Eight questions; raters who always agree tell as much as one of them."""
    prompts = [f"{number} words" for number in range(8)]
    given: dict[str, Any] = {"prompts": prompts, "name": "c", "store": store, **HOW}
    widths = []
    for number in range(5):
        found = lw.compare("one", "two", choose=smaller, rater=str(number), **given)["win_rate"]
        assert found["interval"][0] <= found["value"] <= found["interval"][1]
        widths.append(found["interval"][1] - found["interval"][0])
    assert 0 < found["value"] < 1
    assert min(widths[1:]) > 0.7 * widths[0]


@pytest.mark.usefixtures("models")
def test_ties_bad_ones_and_skips_give_no_pair(store: Store) -> None:
    choices: Iterator[Choice] = iter(["tie", "both bad", "skip", "left", "right"])
    result = lw.compare("one", prompts=PROMPTS, choose=lambda q: next(choices), name="c",
                        store=store, **HOW)  # fmt: skip
    assert result["comparisons"] == 4
    assert result["choices"] == {"tie": 1, "both bad": 1, "skip": 1, "left": 1, "right": 1}
    assert [len(one.pairs()) for one in found(store, "c")] == [0, 0, 1, 1]
    assert result["win_rate"] is None  # one model wrote both
    assert result["left_rate"]["value"] == 0.5


@pytest.mark.usefixtures("models")
def test_what_there_is_nothing_to_choose_of_is_not_asked(store: Store) -> None:
    nobody = Rater(smaller)
    result = lw.compare("one", "copy", prompts=PROMPTS, choose=nobody, name="c", store=store,
                        temperature=0.0, max_tokens=4)  # fmt: skip
    assert nobody.seen == []
    assert (result["comparisons"], result["artifact"], result["not_asked"]) == (0, None, 5)
    assert result["remaining"] == 0


@pytest.mark.usefixtures("models")
def test_prompts_may_come_one_by_one_and_of_a_file(store: Store, tmp_path: Path) -> None:
    coming = iter(PROMPTS[:2])
    result = lw.compare("one", prompts=coming, choose=smaller, name="c", store=store, **HOW)
    assert (result["comparisons"], result["remaining"]) == (2, 0)
    again = Rater(smaller)
    more = lw.compare("one", prompts=iter(["and"]), choose=again, name="c", store=store, **HOW)
    assert (more["comparisons"], [q.number for q in again.seen]) == (3, [3])

    (tmp_path / "p.txt").write_text("the quick fox\n\nthe lazy dog\n")
    rows = [{"prompt": "the quick fox"}, {"messages": [{"role": "user", "content": PROMPTS[1]}]}]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("p.txt", "p.jsonl"):
        lw.compare("one", prompts=str(tmp_path / name), choose=smaller, name=name, store=store,
                   **HOW)  # fmt: skip
        asked = [one.messages[-1]["content"] for one in found(store, name)]
        assert asked == PROMPTS[:2], name
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"prompt": " "}\n')
    with pytest.raises(BadInput, match="line 2: the prompt is empty"):
        lw.compare("one", prompts=str(tmp_path / "p.jsonl"), choose=smaller, store=store)


@pytest.mark.usefixtures("models")
def test_two_raters_at_once_do_not_write_into_each_other(store: Store) -> None:
    def another(question: Question) -> Choice:
        lw.compare("one", prompts=PROMPTS, choose=smaller, rater="ben", name="c", store=store,
                   **HOW)  # fmt: skip
        return "tie"

    with pytest.raises(Busy):
        lw.compare("one", prompts=PROMPTS, choose=another, name="c", store=store, **HOW)


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(
    ("names", "changes", "error"),
    [
        (("won",), {}, NotFound),
        (("mute",), {}, Unsupported),
        (("one", "two", "copy"), {}, BadSettings),
        ((), {}, BadSettings),
        (("one",), {"choose": None}, BadSettings),
        (("one",), {"prompts": []}, BadSettings),
        (("one",), {"temperature": 0.0}, BadSettings),
        (("one",), {"logprobs": 1}, BadSettings),
        (("one",), {"keep_empty": True}, BadSettings),
        (("one",), {"import_file": "f.jsonl"}, BadSettings),
        (("one",), {"agreement": True}, BadSettings),
        (("one",), {"choose": lambda question: "middle"}, BadInput),
    ],
)
def test_what_does_not_go_together_is_refused_and_leaves_no_artifact(
    store: Store, names: tuple[str, ...], changes: dict[str, Any], error: type[Exception]
) -> None:
    given: dict[str, Any] = {"prompts": PROMPTS, "choose": smaller, "store": store}
    with pytest.raises(error):
        lw.compare(*names, **given | changes)
    assert store.artifacts("comparisons") == []


def test_agreement_of_several_imported_raters(store: Store) -> None:
    """Krippendorff's example of two observers with two labels (2011, A), as comparisons: 0.095."""
    labels = {"anna": "0100000010", "ben": "1110010000"}
    for rater, given in labels.items():
        rows = [
            Comparison(
                [{"role": "user", "content": f"{number}?"}],
                ["a", "b"] if rater == "anna" else ["b", "a"],  # where they stand says nothing
                [0, 1] if (label == "0") == (rater == "anna") else [1, 0],
            )
            for number, label in enumerate(given)
        ]
        with store.writing(rater, "comparisons") as draft:
            write_comparisons(draft.folder, rows)
    result = lw.compare("anna", "ben", agreement=True, store=store)
    assert (result["raters"], result["units"], result["judged_again"]) == (["anna", "ben"], 10, 0)
    assert result["alpha"]["value"] == pytest.approx(0.095, abs=5e-4)
    assert result["share"]["value"] == 0.6

    third = [Comparison([{"role": "user", "content": "0?"}], ["a", "b"], [0, 0], rater="cleo")]
    with store.writing("cleo", "comparisons") as draft:
        write_comparisons(draft.folder, third * 2)
    three = lw.compare("anna", "ben", "cleo", agreement=True, store=store)
    assert (three["kappa"], three["judged_again"], three["judged_by_one"]) == (None, 1, 0)
    assert [one["raters"] for one in three["pairs"]] == [
        ["anna", "ben"], ["anna", "cleo"], ["ben", "cleo"]
    ]  # fmt: skip
    assert [one["units"] for one in three["pairs"]] == [10, 1, 1]
