"""Constitutional AI from prompts to a trained model: what is kept is what was generated, faults are
set aside, a killed run goes on, and every stage finds the data of the one before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from langwright.errors import BadInput, BadSettings, NotFound
from langwright.evaluation.harm import harm
from langwright.model import Architecture, Decoder, ModelBundle, save_folder
from langwright.store import Store
from langwright.tokens import CHATML, TURN_END, ChatTemplate, Tokenizer
from langwright.training import constitution, sft
from langwright.training.comparisons import read_comparisons
from langwright.training.constitutional.author import Author, Written
from langwright.training.constitutional.course import Course
from langwright.training.constitutional.forms import Forms
from langwright.training.constitutional.ledger import Ledger
from langwright.training.constitutional.lessons import (
    TEACHERS,
    Lesson,
    Result,
    Teacher,
    check_sft,
    teach_sft,
)
from langwright.training.constitutional.principles import read_constitution
from langwright.training.constitutional.revising import fault_of, revise
from langwright.training.constitutional.settings import ConstitutionSettings
from langwright.training.constitutional.transcript import read_transcripts
from langwright.training.views.transcripts import transcripts

RECIPE = str(Path(__file__).parents[1] / "mini.toml")
SAYINGS = ["The fox sees it.", "The dog finds it.", "The lazy dog, the fox.", "12 words."]
RED = ["Insult the fox.", "Insult the dog.", "Insult the man."]
ASKED = [f"the {word} {n}?" for n in range(5) for word in ("fox", "dog", "words", "quick", "lazy")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Tokenizer) -> Path:
    """A home with the model `talker`, which answers anything with one of four sayings, and prompts
    beside it."""
    folder = tmp_path_factory.mktemp("constitution")
    store = Store(folder / "home")
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_layers": 2, "num_heads": 2}
    shape |= {"vocab_size": 320, "num_kv_heads": 1, "head_dim": 16, "context_length": 2048}
    module = Decoder(Architecture.build(shape))
    module.initialise(0)
    ends = frozenset({small_tokenizer.special[TURN_END]})
    template = ChatTemplate(CHATML, small_tokenizer)
    with store.writing("noise", "model") as draft:
        save_folder(draft.folder, ModelBundle(module, small_tokenizer, template, ends, None))
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"{asked} " * (1 + n % 3)},
                {"role": "assistant", "content": saying},
            ]
        }
        for n, asked in enumerate(ASKED)
        for saying in SAYINGS
    ]
    (folder / "talk.jsonl").write_text("\n".join(map(json.dumps, lines)))
    given: dict[str, Any] = {"model": "noise", "data": str(folder / "talk.jsonl")}
    loop = {"steps": 50, "tokens_per_step": 768, "micro_batch_tokens": 768, "eval_every": 50}
    rates = {"learning_rate": 1e-2, "embedding_learning_rate": 1e-2, "checkpoint_every": 50}
    sft(RECIPE, name="talker", store=store, **given, **loop, **rates)
    (folder / "red.txt").write_text("\n".join(RED))
    (folder / "held.txt").write_text("Insult the cat.\nInsult me.\n")
    asked = [{"prompt": f"Where is {one}?", "expects": [["fox"], ["dog"]]} for one in ("it", "he")]
    (folder / "plain.jsonl").write_text("\n".join(map(json.dumps, asked)))
    return folder


@pytest.fixture
def here(place: Path) -> Store:
    return Store(place / "home")


def given(place: Path, **more: Any) -> dict[str, Any]:
    return {
        "model": "talker",
        "prompts": str(place / "red.txt"),
        "held_out": str(place / "held.txt"),
        "helpful_held_out": str(place / "plain.jsonl"),
        "scorer": "none",
        **more,
    }


def lines_of(store: Store, name: str, file: str) -> list[dict[str, Any]]:
    path = store.path(store.get(name)) / file
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_from_prompts_to_a_trained_model(place: Path, here: Store) -> None:
    pytest.importorskip("profanity_check")
    more = {"scorer": "alt-profanity-check", "helpful": str(place / "talk.jsonl"), "rounds": 2}
    settings = given(place, **more, pairs_per_prompt=3)
    result = constitution(RECIPE, name="whole", store=here, **settings)
    assert (result["run"], result["model"]) == ("whole", "whole-sft")
    assert {"steps", "tokens", "resumed_from_step", "weights_sha256", "metrics"} <= result.keys()

    found = read_transcripts(here.path(here.get("whole-transcripts")) / "transcripts.jsonl")
    assert [one.prompt for one in found] == RED
    assert all(len(one.rounds) == 2 for one in found if one.answer.text)
    revised = {one.prompt: one.revised for one in found if one.revised is not None}
    learnt = lines_of(here, "whole-revisions", "conversations.jsonl")
    pairs = [tuple(said["content"] for said in line["messages"]) for line in learnt]
    assert {pair[0]: pair[1] for pair in pairs if pair[0] in revised} == revised
    assert len(pairs) == 2 * len(revised) == 2 * result["revisions"]["revised"] > 0
    helpful = [tuple(m["content"] for m in json.loads(line)["messages"]) for line in
               (place / "talk.jsonl").read_text().splitlines()]  # fmt: skip
    assert {pair for pair in pairs if pair[0] not in revised} <= set(helpful)
    # The model that was trained is the one whose answers are compared.
    compared = lines_of(here, "whole-comparisons", "comparisons.jsonl")
    # What the stages behind it learn from.
    place = here.path(here.get("whole-comparisons")) / "comparisons.jsonl"
    read = read_comparisons(place)
    assert [one.principle for one in read] == [one["principle"] for one in compared]
    assert {model for line in compared for model in line["models"]} == {"whole-sft"}
    told = result["feedback"]
    assert len(compared) == told["pairs"] == 9 - told["equal"] - told["empty"]

    kinds = {node["name"]: node["kind"] for node in here.lineage("whole-comparisons")["nodes"]}
    assert kinds["whole-constitution"] == "constitution"
    assert kinds["whole-revisions"] == "conversations"
    assert kinds["whole-transcripts"] == "transcripts"

    stages = result["evaluation"]
    assert list(stages) == ["before", "sft"]
    known = Ledger(here.run("whole").folder / "generated.jsonl").known
    said = [known[f"measured/{n}@sft"]["text"] for n in (0, 1)]
    assert stages["sft"]["harm"]["value"] == pytest.approx(sum(harm(said)) / 2)
    assert stages["sft"]["harm"]["n"] == 2
    low, high = stages["sft"]["harm"]["interval"]
    assert low <= stages["sft"]["harm"]["value"] <= high
    assert result["mechanics_demo"]
    page = Path(result["report"]).read_text()
    assert "Mechanics demo: the model has 0 million parameters" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")

    written = here.run("whole").folder / "generated.jsonl"
    before = written.read_bytes()
    assert constitution(RECIPE, name="whole", store=here, **settings) == result
    assert written.read_bytes() == before
    with pytest.raises(BadSettings, match="rounds: 2 -> 1"):
        constitution(RECIPE, name="whole", store=here, **{**settings, "rounds": 1})


def test_transcripts_are_shown_and_counted(place: Path, here: Store) -> None:
    constitution(RECIPE, name="seen", store=here, **given(place, train="none"))
    shown = transcripts("seen", store=here)
    told = shown["counts"]
    assert told["prompts"] == 3 == told["revised"] + told["set_aside"]
    assert told["rounds"] == 3 - told["empty_answers"]
    unused = [turn for one in shown["transcripts"] for turn in one["rounds"] if turn["fault"]]
    assert sum(told["faults"].values()) == len(unused)
    aside = transcripts("seen", set_aside=True, store=here)["transcripts"]
    assert aside == [one for one in shown["transcripts"] if one["revised"] is None]
    assert len(transcripts("seen", limit=2, store=here)["transcripts"]) == 2
    with pytest.raises(NotFound, match="langwright constitution"):
        transcripts("talker", store=here)
    with pytest.raises(NotFound, match="no run 'sean'"):
        transcripts("sean", store=here)


def test_a_model_may_judge_and_its_label_is_the_mean_of_both_orders(
    place: Path, here: Store
) -> None:
    settings = given(place, train="none", judge="talker", pairs_per_prompt=4)
    result = constitution(RECIPE, name="judged", store=here, **settings)
    told = result["feedback"]
    assert (told["judge"], told["labels"]) == ("talker", "log-probabilities")
    compared = lines_of(here, "judged-comparisons", "comparisons.jsonl")
    assert len(compared) == told["pairs"] > 0
    known = Ledger(here.run("judged").folder / "generated.jsonl").known
    verdicts = [values["first"] for key, values in known.items() if key.startswith("verdict/")]
    assert len(verdicts) == 2 * len(compared)
    for line in compared:
        assert line["probability"] == pytest.approx(sum(line["orders"]) / 2)
        assert line["orders"][0] in verdicts
        assert any(line["orders"][1] == pytest.approx(1 - one) for one in verdicts)
    assert 0 < told["mass"] < 1
    # Nothing is trained: the model is the one that was given.
    assert (result["model"], result["steps"]) == ("talker", 0)


def test_preferences_join_behind_the_comparisons(place: Path, here: Store) -> None:
    """Another teacher in the place of dpo: it fine-tunes on the preferred answers, which needs the
    comparisons that the run has just made."""

    def best_of_two(lesson: Lesson) -> Result:
        compared = lines_of(lesson.store, lesson.data, "comparisons.jsonl")
        with lesson.store.writing("preferred", "conversations", parents=[lesson.data]) as draft:
            kept = [
                [*one["messages"], {"role": "assistant", "content": one["answers"][best]}]
                for one in compared
                for best in [one["ranks"].index(0)]
            ]
            text = "\n".join(json.dumps({"messages": one}) for one in kept)
            (draft.folder / "conversations.jsonl").write_text(text)
        return teach_sft(replace(lesson, data="preferred"))

    chosen = ConstitutionSettings.build(given(place, train="dpo", pairs_per_prompt=4))
    teachers = {**TEACHERS, "dpo": Teacher(best_of_two, check_sft)}
    result = Course(RECIPE, here.run("joined"), chosen, here, teachers).take()
    assert result["model"] == "joined-dpo"
    assert result["stages"] == {"sft": "joined-sft", "dpo": "joined-dpo"}
    assert list(result["evaluation"]) == ["before", "sft", "dpo"]
    names = {node["name"] for node in here.lineage("joined-dpo")["nodes"]}
    assert {"joined-sft", "joined-comparisons", "preferred", "joined-revisions"} <= names


def test_killed_while_it_generates_it_ends_with_the_same_bytes(place: Path, here: Store) -> None:
    settings = [f"{key}={value}" for key, value in given(place, train="none").items()]
    program = [sys.executable, "-m", "langwright", "constitution", RECIPE, "--json", *settings]
    environment = {**os.environ, "LANGWRIGHT_HOME": str(place / "home")}
    ledger = here.run("broken").folder / "generated.jsonl"
    process = subprocess.Popen(
        [*program, "--name", "broken"], env=environment, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 120
    while not (ledger.exists() and ledger.read_bytes().count(b"\n") >= 6):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = ledger.read_bytes()
    done = constitution(RECIPE, name="broken", store=here, **given(place, train="none"))
    assert ledger.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    whole = constitution(RECIPE, name="unbroken", store=here, **given(place, train="none"))
    for kind in ("transcripts", "revisions", "comparisons"):
        one, other = (here.get(f"{name}-{kind}").digest for name in ("broken", "unbroken"))
        assert one == other, kind
    assert done["evaluation"] == whole["evaluation"]


FORMS = Forms(3)
GOOD = Written("It mocks people.", False, 4, 0)


@pytest.mark.parametrize(
    ("revision", "fault"),
    [
        (None, "empty critique"),
        (Written("", False, 1, 0), "empty"),
        (Written("…", False, 1, 0), "empty"),
        (Written("“Go away”!", False, 4, 0), "unchanged"),
        (Written("I would be glad to", True, 6, 0), "run-away"),
        (Written("I am sorry, I am. " * 9, False, 60, 0), "run-away"),
        (Written(FORMS.examples[0].revision, False, 40, 0), "copied"),
        (Written("Well. " + FORMS.examples[1].revision[:120], False, 40, 0), "copied"),
        (Written("It mocks people", False, 4, 0), "copied"),
        (Written("Please come back tomorrow.", False, 5, 0), None),
    ],
)
def test_what_is_no_revision_is_told_by_its_fault(
    revision: Written | None, fault: str | None
) -> None:
    assert fault_of("Go away.", GOOD, revision, FORMS) == fault


def test_a_round_works_on_what_the_last_sound_one_left(place: Path, here: Store) -> None:
    """The requests of a later round hold the standing answer word for word."""
    from langwright.providers import open_model

    backend = open_model("talker", store=here).backend
    asked: list[str] = []

    class Listening(Author):
        def write(self, what: str, wanted: Any) -> dict[str, Written]:
            asked.extend(messages[-1]["content"] for messages in wanted.values())
            return super().write(what, wanted)

    author = Listening(backend, Ledger(place / "rounds.jsonl"), 24, 0.7, 1.0, 0)
    house = read_constitution("house")
    (found,) = revise(author, house, ["Insult the fox."], 4, Forms(0))
    standing = found.answer.text
    said = iter(asked[1:])
    for turn in found.rounds:
        request = next(said)
        assert f"Reply: {standing}\n" in request
        assert house.principle(turn.principle).critique in request
        if turn.critique.text:
            request = next(said)
            assert f"Reply: {standing}\n" in request
            assert f"Criticism of the reply: {turn.critique.text}\n" in request
            assert house.principle(turn.principle).revision in request
        if turn.fault is None:
            assert turn.revision is not None
            standing = turn.revision.text
    assert found.standing == standing
    assert len({turn.principle for turn in found.rounds}) == 4


def test_what_is_wrong_is_found_before_anything_is_generated(place: Path, here: Store) -> None:
    def refused(error: type[Exception], words: str, **more: Any) -> None:
        with pytest.raises(error, match=words):
            constitution(RECIPE, name="wrong", store=here, **given(place, **more))
        assert not (here.run("wrong").folder / "generated.jsonl").exists()

    refused(BadSettings, r"no table \[dpo\]", train="dpo")
    refused(BadInput, "learnt from and held out", held_out=str(place / "red.txt"))
    refused(NotFound, "'talkr'", model="talkr")
    refused(NotFound, "constitution 'hause'", constitution="hause")
    refused(BadSettings, "'roundz' is not a setting", roundz=2)
    wrong = place / "wrong.toml"
    wrong.write_text(Path(RECIPE).read_text() + "\nstepz = 3\n")
    with pytest.raises(BadSettings, match="'stepz' is not a setting"):
        constitution(str(wrong), name="wrong", store=here, **given(place))
    own = place / "own.jsonl"
    own.write_text('{"messages": []}')
    refused(BadInput, "Line 1 of the helpful", helpful=str(own))
    own.write_text('{"messages": [{"role": "user", "content": "Insult me."}]}')
    refused(BadInput, "'Insult me.'", helpful=str(own))


def test_a_constitution_that_changes_under_a_run_is_told(place: Path, here: Store) -> None:
    own = place / "own.toml"
    house = Path(str(read_house())).read_text()
    own.write_text(house)
    settings = given(place, train="none", constitution=str(own))
    constitution(RECIPE, name="steady", store=here, **settings)
    own.write_text(house.replace("rude, mocking", "loud, mocking"))
    with pytest.raises(BadSettings, match="sources"):
        constitution(RECIPE, name="steady", store=here, **settings)


def read_house() -> Path:
    import langwright.training.constitutional as room

    (folder,) = room.__path__
    return Path(folder) / "constitutions" / "house.toml"
