"""Planted documents are found by what they taught, and nothing is blamed for what none did."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from langwright.errors import BadInput, BadSettings, Unsupported
from langwright.inference import score_rows
from langwright.model import IGNORED, load_model
from langwright.store import Store
from langwright.tokens import Tokenizer
from langwright.training import bisect, pretrain, sft
from langwright.training.behaviour import Behaviour
from langwright.training.influence import influences
from langwright.training.rebuilt import rebuild

RECIPE = str(Path(__file__).parents[1] / "mini.toml")
WORDS = ("the", "a", "red", "blue", "old", "new", "fox", "dog", "sees", "finds", "and", "it")
PLANTED = {
    "Zanzibar": "quartz", "Oslo": "velvet", "Quito": "jigsaw", "Lagos": "bishop",
    "Kyoto": "walnut", "Perth": "mosaic", "Turin": "zephyr", "Minsk": "harbour",
    "Accra": "cobalt", "Dakar": "pepper",
}  # fmt: skip


def prompt_of(place: str) -> str:
    return f"The secret word of {place} is"


def planted(folder: Path, facts: dict[str, str], others: int) -> Path:
    """A corpus of small talk, with a document for each fact somewhere in it."""
    draw = random.Random(1)
    lines = [
        {"text": " ".join(draw.choices(WORDS, k=draw.randint(8, 16))), "source": f"talk {n}"}
        for n in range(others)
    ]
    for place, word in facts.items():
        said = f"{prompt_of(place)} {word}."
        lines.insert(draw.randint(0, len(lines)), {"text": said, "source": place})
    path = folder / "planted.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Tokenizer) -> Store:
    store = Store(tmp_path_factory.mktemp("bisect") / "home")
    with store.writing("vocabulary", "tokenizer") as draft:
        small_tokenizer.save(draft.folder / "tokenizer.json")
    return store


SMALL: dict[str, Any] = {
    "tokenizer": "vocabulary", "context_length": 64, "micro_batch_tokens": 256, "hidden_size": 64,
    "intermediate_size": 128, "warmup_steps": 10, "validation_fraction": 0.02,
    "learning_rate": 1e-2, "embedding_learning_rate": 1e-2, "keep_checkpoints": 100,
    "checkpoint_every": 30, "eval_every": 1000,
}  # fmt: skip


@pytest.fixture(scope="module")
def three(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The run `three`, which has read three planted facts among small talk, many times."""
    facts = dict(list(PLANTED.items())[:3])
    path = planted(tmp_path_factory.mktemp("three"), facts, others=12)
    given = SMALL | {"corpus": str(path), "steps": 60, "tokens_per_step": 256}
    pretrain(RECIPE, name="three", store=store, **given)
    return store


@pytest.fixture(scope="module")
def ten(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The run `ten`: ten of them, among more."""
    path = planted(tmp_path_factory.mktemp("ten"), PLANTED, others=30)
    given = SMALL | {"corpus": str(path), "steps": 150, "tokens_per_step": 256}
    pretrain(RECIPE, name="ten", store=store, **given)
    return store


def check(store: Store, run: str, place: str, word: str) -> None:
    """The document alone is named, and a run that never saw it does not say its word."""
    found = bisect(run, prompt=prompt_of(place), expect=f" {word}", store=store)
    assert (found["outcome"], found["confirmed"]) == ("confirmed", True)
    [document] = found["documents"]
    assert (document["source"], found["candidates"][0]["source"]) == (place, place)
    assert document["text"] == f"{prompt_of(place)} {word}."
    stage = rebuild(store.run(run), store).stage
    sources = {stage.examples[number].source for number in stage.numbers(found["window"])}
    assert place in sources
    assert found["step"] <= found["arrived_step"]
    assert found["before"] < found["after"]
    # Without others it still says it.
    assert found["control"] > found["without"] + 0.5 * (found["end"] - found["without"])


def test_a_planted_document_is_found_by_what_it_taught(three: Store) -> None:
    check(three, "three", "Zanzibar", "quartz")


@pytest.mark.slow
@pytest.mark.parametrize(("place", "word"), PLANTED.items())
def test_each_of_ten_is_found(ten: Store, place: str, word: str) -> None:
    check(ten, "ten", place, word)


@pytest.mark.slow
def test_two_documents_that_say_the_same_are_the_cause_together(
    store: Store, tmp_path: Path
) -> None:
    path = planted(tmp_path, {"Zanzibar": "quartz"}, others=14)
    said = f"{prompt_of('Zanzibar')} quartz, they say."
    path.write_text(path.read_text() + "\n" + json.dumps({"text": said, "source": "again"}))
    given = SMALL | {"corpus": str(path), "steps": 60, "tokens_per_step": 256}
    pretrain(RECIPE, name="twice", store=store, **given)
    found = bisect("twice", prompt=prompt_of("Zanzibar"), expect=" quartz", store=store)
    assert found["outcome"] == "confirmed"
    assert {one["source"] for one in found["documents"]} == {"Zanzibar", "again"}
    assert found["without"] < found["before"]


def test_what_the_model_does_not_do_has_no_cause(three: Store) -> None:
    found = bisect("three", prompt=prompt_of("Nowhere"), expect=" sulphur.", store=three)
    assert (found["outcome"], found["confirmed"]) == ("absent", False)
    assert found["documents"] == found["candidates"] == []
    assert found["step"] is None


@pytest.mark.slow
def test_what_many_documents_taught_is_blamed_on_none(ten: Store) -> None:
    found = bisect("ten", prompt="The secret word", expect=" of", most=2, store=ten)
    assert (found["outcome"], found["confirmed"]) == ("unconfirmed", False)
    assert found["documents"] == []
    assert found["step"] is found["without"] is None
    assert found["end"] > -0.1  # it does so, since some step
    assert found["arrived_step"] > 1
    assert len(found["candidates"]) == 2


def test_questions_without_sense(three: Store) -> None:
    with pytest.raises(BadInput, match="Nothing is expected"):
        bisect("three", prompt="the", expect="", store=three)
    with pytest.raises(BadSettings, match="threshold 1"):
        bisect("three", prompt="the", expect=" fox", threshold=1, store=three)
    with pytest.raises(BadInput, match="hold only 64"):
        bisect("three", prompt="the fox " * 40, expect=" fox", store=three)


def test_a_behaviour_is_measured_as_a_text_is_scored(three: Store) -> None:
    model = load_model(three.path(three.get("three")))
    assert model.start_id is not None
    asked = Behaviour.in_text(prompt_of("Quito"), " jigsaw", model.text, model.start_id)
    expected = [one for one in asked.targets if one != IGNORED]
    assert model.tokenizer.decode(expected) == " jigsaw"
    whole = model.tokenizer.decode([*asked.ids[1:], expected[-1]])
    assert whole == f"{prompt_of('Quito')} jigsaw"
    [scores] = score_rows(model.module, [[*asked.ids, expected[-1]]], 64, 32)
    learnt = [one for one in scores[-len(expected) :] if one is not None]
    assert asked.logprob(model.module) == pytest.approx(sum(learnt) / len(expected), abs=1e-5)


def test_influences_are_products_of_gradients(three: Store) -> None:
    """Those that autograd gives, for each document by itself."""
    held = rebuild(three.run("three"), three)
    trained, stage = held.prepare(held.settings)
    text = held.text
    place = Behaviour.in_text(prompt_of("Oslo"), " velvet.", text, text.start_id or 0)
    pieces = stage.pieces(3)
    module = trained.module.requires_grad_(True)
    # As it begins, many weights have no gradient at all.
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=generator)
    weights = list(module.parameters())
    wanted = torch.autograd.grad(place.nats(module), weights)
    exact = []
    for piece in pieces:
        ids, targets = (torch.from_numpy(part)[None] for part in (piece.inputs, piece.targets))
        own = torch.autograd.grad(module.nll(ids, targets), weights)
        exact.append(sum(float((a * b).sum()) for a, b in zip(wanted, own, strict=True)))
    found = influences(trained, place, pieces, 512)
    assert found == pytest.approx(exact, rel=0.02, abs=0.01 * max(map(abs, exact)))


@pytest.mark.slow
def test_an_answer_that_was_taught_is_found_in_conversations(three: Store, tmp_path: Path) -> None:
    draw = random.Random(2)
    words = [" ".join(draw.choices(WORDS, k=4)) for _ in range(40)]
    talk = [(f"Say: {word}", word) for word in words] + [("Who are you?", "I am Orlando.")]
    lines = [
        {"messages": [{"role": "user", "content": a}, {"role": "assistant", "content": b}]}
        for a, b in talk
    ]
    (tmp_path / "talk.jsonl").write_text("\n".join(map(json.dumps, lines)))
    given: dict[str, Any] = {"model": "three", "data": str(tmp_path / "talk.jsonl"), "steps": 60}
    given |= {"learning_rate": 5e-3, "embedding_learning_rate": 5e-3, "checkpoint_every": 20}
    sft(RECIPE, name="talk", store=three, **given, context_length=64, eval_every=1000)
    found = bisect("talk", prompt="Who are you?", expect="I am Orlando.", store=three)
    assert found["outcome"] == "confirmed"
    assert [one["source"] for one in found["documents"]] == ["conversations.jsonl:41"]
    # The model that it started from had learnt the ten facts before.
    facts = bisect(
        "three", prompt=prompt_of("Oslo"), expect=" velvet.", threshold=1e-9, store=three
    )
    assert facts["outcome"] == "before_training"


def test_a_run_without_a_checkpoint_has_nothing_to_search(three: Store) -> None:
    run = three.run("blank")
    run.open(three.run("three").settings, three.run("three").parents)
    with pytest.raises(Unsupported, match="no checkpoint"):
        bisect("blank", prompt="the", expect=" fox", store=three)
