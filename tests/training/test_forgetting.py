"""What is forgotten was never seen: bit for bit the run that had the setting from the start."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from langwright.errors import BadInput, BadSettings, NotFound
from langwright.model import IGNORED
from langwright.store import Store
from langwright.tokens import Tokenizer
from langwright.training import forget, pretrain, sft, verify_resume
from langwright.training.examples import Example, Piece, find, numbers_of
from langwright.training.forgetting import checkpoint_state, first_window, next_window, without
from langwright.training.guard import skipped_windows, window_of
from langwright.training.rebuilt import Rebuilt, rebuild
from langwright.training.stages.pretrain import Pretrain
from langwright.training.stages.sft import SFT
from langwright.training.views.show_batch import show_batch

STEPS = 12
RECIPE = str(Path(__file__).parents[1] / "mini.toml")
WORDS = ("the", "a", "red", "blue", "old", "new", "fox", "dog", "sees", "finds", "and", "it")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Tokenizer) -> Store:
    """The run `base` of 12 steps: two corpora, several documents a row, some of several rows, one
    of the corpora read more than twice. Every second step is saved. And `tuned`, from it."""
    folder = tmp_path_factory.mktemp("forget")
    store = Store(folder / "home")
    with store.writing("vocabulary", "tokenizer") as draft:
        small_tokenizer.save(draft.folder / "tokenizer.json")
    draw = random.Random(0)
    for corpus, count in (("few", 22), ("many", 90)):
        sizes = [draw.randint(3, 6) if n % 3 else draw.randint(25, 40) for n in range(count)]
        texts = [" ".join(draw.choices(WORDS, k=size)) for size in sizes]
        lines = [{"text": text, "title": f"{corpus} {n}"} for n, text in enumerate(texts)]
        (folder / f"{corpus}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    shares = [
        {"name": str(folder / "few.jsonl"), "weight": 1, "epochs": 9},
        {"name": str(folder / "many.jsonl"), "weight": 1, "epochs": 9},
    ]
    given: dict[str, Any] = {"corpus": shares, "tokenizer": "vocabulary", "steps": STEPS}
    given |= {"context_length": 64, "tokens_per_step": 448, "micro_batch_tokens": 128}
    given |= {"checkpoint_every": 2, "keep_checkpoints": STEPS, "validation_fraction": 0.1}
    pretrain(RECIPE, name="base", store=store, **given)
    turns = [(f"Where is the {draw.choice(WORDS)}?", " ".join(draw.choices(WORDS, k=n % 9 + 1)))
             for n in range(40)]  # fmt: skip
    talk = [
        [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        for asked, answer in turns
    ]
    talk.append(talk[-1])
    lines = [{"messages": messages} for messages in talk]
    (folder / "talk.jsonl").write_text("\n".join(map(json.dumps, lines)))
    tuning: dict[str, Any] = {"model": "base", "data": str(folder / "talk.jsonl"), "steps": STEPS}
    tuning |= {"tokens_per_step": 256, "checkpoint_every": 2, "keep_checkpoints": STEPS}
    sft(RECIPE, name="tuned", store=store, **tuning)
    return store


def rebuilt(store: Store, name: str) -> Rebuilt:
    return rebuild(store.run(name), store)


def windows_of(stage: Pretrain | SFT, number: int) -> list[int]:
    return [window for window in range(STEPS) if number in stage.numbers(window)]


def pieces_of(stage: Pretrain | SFT, number: int) -> list[Piece]:
    windows = windows_of(stage, number)
    return [one for window in windows for one in stage.pieces(window) if one.number == number]


def latest(stage: Pretrain | SFT, kind: str) -> int:
    """Of the examples of a kind, the one that is first seen the latest."""
    numbers = []
    for number in range(len(stage.examples)):
        found = pieces_of(stage, number)
        texts = {piece.targets.tobytes() for piece in found}
        fits = {
            "of several pieces": len(texts) > 1,
            "seen in several epochs": len(texts) == 1 < len(found),
            "seen once": len(found) == 1,
        }
        if found and fits[kind]:
            numbers.append(number)
    return max(numbers, key=lambda number: windows_of(stage, number)[0])


def learnt(metrics: dict[str, Any]) -> dict[str, Any]:
    """All but the time that it took and the memory, which is the whole process's."""
    return {key: metrics[key] for key in metrics if "second" not in key and "memory" not in key}


def untimed(result: dict[str, Any]) -> dict[str, Any]:
    metrics = learnt(result["metrics"])
    return {"steps": result["steps"], "tokens": result["tokens"], "metrics": metrics}


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        ("base", "of several pieces"),
        pytest.param("base", "seen in several epochs", marks=pytest.mark.slow),
        pytest.param("base", "seen once", marks=pytest.mark.slow),
        ("tuned", "seen in several epochs"),
    ],
)
def test_the_weights_are_those_of_a_run_that_never_saw_it(
    store: Store, run: str, kind: str
) -> None:
    stage = rebuilt(store, run).stage
    number = latest(stage, kind)
    one, first = stage.examples[number], windows_of(stage, number)[0]
    name = f"{run} {kind}".replace(" ", "-")
    result = forget(run, one.title or one.source, name=name, store=store)

    train = pretrain if run == "base" else sft
    settings = without(rebuilt(store, run).settings, [one.digest])
    values = settings.model_dump(mode="json", exclude_unset=True)
    never = train(RECIPE, name=f"{name}-never", store=store, **values)
    assert never["resumed_from_step"] == 0
    before = store.run(run).state["result"]
    assert result["weights_sha256"] == never["weights_sha256"] != before["weights_sha256"]
    assert untimed(result) == untimed(never)
    assert result["tokens"] < before["tokens"]
    assert result["document"] == {"digest": one.digest, "source": one.source, "title": one.title}
    assert result["first_seen_step"] == first + 1
    assert result["replayed_from_step"] == result["resumed_from_step"] == first // 2 * 2 > 0
    lines = [store.run(each).read_metrics() for each in (name, f"{name}-never")]
    assert [learnt(line) for line in lines[0]] == [learnt(line) for line in lines[1]]

    # Asked again, by its digest, it is the finished one; nothing of it is learnt from.
    again = forget(run, one.digest[:12], name=name, store=store)
    assert again | {"still_in": result["still_in"]} == result
    assert store.get(result["model"]).settings["forget"] == [one.digest]
    less = rebuilt(store, name).stage
    assert not windows_of(less, number)
    # All else is where it was, to the token.
    for window in range(STEPS):
        kept = [piece for piece in stage.pieces(window) if piece.number != number]
        left = less.pieces(window)
        assert [(p.number, p.inputs.tolist(), p.targets.tolist()) for p in kept] == [
            (p.number, p.inputs.tolist(), p.targets.tolist()) for p in left
        ]


@pytest.mark.parametrize("run", ["base", "tuned"])
def test_the_loss_is_that_of_all_others_alone(store: Store, run: str, one_thread: None) -> None:
    """Computed one by one, each by itself, without anything of the forgotten."""
    whole = rebuilt(store, run)
    number = latest(whole.stage, "seen in several epochs")
    settings = without(whole.settings, [whole.stage.examples[number].digest])
    trained, stage = whole.prepare(settings)
    window = windows_of(whole.stage, number)[0]
    batches = stage.micro_batches(window)
    others = [piece for piece in whole.stage.pieces(window) if piece.number != number]
    assert sum(batch.units for batch in batches) == sum(
        int((piece.targets != IGNORED).sum()) for piece in others
    )
    module = trained.module
    with torch.no_grad():
        loss = sum(float(stage.loss(module, batch)) for batch in batches)
        alone = 0.0
        for piece in others:
            logits = module(torch.from_numpy(piece.inputs)[None])[0].float()
            targets = torch.from_numpy(piece.targets)
            alone += float(cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum"))
    assert loss == pytest.approx(alone, rel=1e-5)


def test_equal_conversations_are_forgotten_together(store: Store) -> None:
    stage = rebuilt(store, "tuned").stage
    digests = [one.digest for one in stage.examples]
    [twin] = {digest for digest in digests if digests.count(digest) == 2}
    source = stage.examples[digests.index(twin)].source
    settings = without(rebuilt(store, "tuned").settings, [twin])
    _, less = rebuilt(store, "tuned").prepare(settings)
    gone = {number for number, digest in enumerate(digests) if digest == twin}
    assert find(source, stage.examples, stage.held_out)[0].digest == twin
    assert not any(less.numbers(window) & gone for window in range(STEPS))


def test_a_window_without_anything_left_is_passed_over_in_both_runs(store: Store) -> None:
    """Each row is a step by itself, and many hold a piece of one document alone."""
    values = rebuilt(store, "base").settings.model_dump(mode="json", exclude_unset=True)
    corpus = values["corpus"][0]["name"]
    given = values | {"corpus": corpus, "tokens_per_step": 64, "micro_batch_tokens": 64}
    pretrain(RECIPE, name="rows", store=store, **given)
    stage = rebuilt(store, "rows").stage
    alone = {window: stage.numbers(window) for window in range(STEPS - 1)}
    first, number = next(
        (window, max(numbers))
        for window, numbers in alone.items()
        if window > 3 and len(numbers) == 1 and windows_of(stage, max(numbers))[0] == window
    )
    digest = stage.examples[number].digest
    result = forget("rows", digest, store=store)
    assert result["run"] == f"rows-without-{digest[:8]}"
    assert result["first_seen_step"] == first + 1
    assert result["replayed_from_step"] == first // 2 * 2
    given |= {"forget": [digest]}
    never = pretrain(RECIPE, name="rows-never", store=store, **given)
    assert result["weights_sha256"] == never["weights_sha256"]
    empty = [window for window, numbers in alone.items() if numbers == {number}]
    assert skipped_windows(store.run("rows-never")) == empty
    assert skipped_windows(store.run(result["run"])) == empty
    after = next(window for window in range(first, STEPS) if window not in empty)
    shown = show_batch(result["run"], step=first + 1, store=store)
    assert shown["rows"] == show_batch("rows", step=after + 1, store=store)["rows"]

    # Another one, seen later: what was passed over goes with the copy.
    less = rebuilt(store, result["run"]).stage
    firsts: dict[int, int] = {}
    for window in range(window_of(STEPS - 1, empty) + 1):
        for one in less.numbers(window):
            firsts.setdefault(one, window)
    other = max(firsts, key=lambda one: firsts[one])
    assert firsts[other] > empty[-1]
    digests = sorted([digest, less.examples[other].digest])
    again = forget(result["run"], less.examples[other].digest, name="both", store=store)
    assert again["replayed_from_step"] == (firsts[other] - len(empty)) // 2 * 2
    assert skipped_windows(store.run("both"))[: len(empty)] == empty
    both = pretrain(RECIPE, name="both-never", store=store, **given | {"forget": digests})
    assert both["weights_sha256"] == again["weights_sha256"] != result["weights_sha256"]


def test_what_a_refused_window_held_counts_as_seen(store: Store) -> None:
    """The guard may have refused it for the document: the checkpoint behind it is too late."""
    run = store.run("base")
    stage = rebuilt(store, "base").stage
    number = latest(stage, "seen once")
    [window] = windows_of(stage, number)
    digests = [stage.examples[number].digest]
    assert first_window(run, stage, digests) == window
    state = checkpoint_state(run, 4)
    state.guard.skipped = [window]
    assert next_window(state) == (4 if window > 4 else 5)
    state.guard.skipped = list(range(4, window + 1))
    assert next_window(state) == window + 1


def test_an_interrupted_replay_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = rebuilt(store, "base").stage
    number = latest(stage, "of several pieces")
    digest = stage.examples[number].digest
    whole = forget("base", digest, name="in-one-go", store=store)
    micro_batches = Pretrain.micro_batches

    def stopped(self: Pretrain, step: int) -> Any:
        if step == 10:
            raise KeyboardInterrupt
        return micro_batches(self, step)

    with monkeypatch.context() as patched:
        patched.setattr(Pretrain, "micro_batches", stopped)
        with pytest.raises(KeyboardInterrupt):
            forget("base", digest, name="halves", store=store)
    assert store.run("halves").state["status"] == "stopped"
    halves = forget("base", digest, name="halves", store=store)
    assert halves["resumed_from_step"] > halves["replayed_from_step"]
    assert halves["weights_sha256"] == whole["weights_sha256"]
    assert halves["replayed_from_step"] == whole["replayed_from_step"]


def test_what_still_holds_it_is_told(store: Store) -> None:
    stage = rebuilt(store, "base").stage
    one = stage.examples[latest(stage, "seen once")]
    told = forget("base", one.digest, name="base-seen-once", store=store)["still_in"]
    corpus = (one.title or "").split()[0]
    assert told[0] == f"the corpus 'corpus-{corpus}'"
    # Of artifacts with the same bytes the newest gives the name.
    assert told[1].startswith("the tokens '")
    assert store.get(told[1].split("'")[1]).parents[0] == store.get(f"corpus-{corpus}").digest
    assert told[2:] == ["the run 'base' and its model"]


def test_names_that_say_nothing_or_too_much(store: Store) -> None:
    stage = rebuilt(store, "base").stage
    assert isinstance(stage, Pretrain)
    title = stage.examples[3].title
    assert title is not None
    with pytest.raises(NotFound, match="No document") as unknown:
        forget("base", title + "x", store=store)
    assert f"'{title}'" in (unknown.value.remedy or "")
    held = stage.held_out[0]
    for asked in (held.title, held.digest):
        with pytest.raises(BadInput, match="held out for validation"):
            forget("base", asked or "", store=store)
    with pytest.raises(BadSettings, match="nothing that is learnt from has"):
        rebuilt(store, "base").prepare(without(rebuilt(store, "base").settings, [held.digest]))
    everything = without(rebuilt(store, "base").settings, [one.digest for one in stage.examples])
    with pytest.raises(BadSettings, match="nothing to learn from"):
        rebuilt(store, "base").prepare(everything)


def example(letter: str, source: str, title: str | None = None) -> Example:
    return Example(letter * 64, source, title)


def test_how_examples_are_found() -> None:
    book = [example("a", "book.txt#1", "The book"), example("b", "book.txt#2")]
    page = example("c", "page.html", "Contents")
    other = [example("d", "other.html", "Contents"), example("c", "copy.html", "Contents")]
    known = [*book, page, *other]
    assert find("The book", known, []) == find("book.txt", known, []) == book
    assert find("book.txt#2", known, []) == find("bbbbbbbb", known, []) == book[1:]
    assert find("cccccccccc", known, []) == [page]
    assert find("copy.html", known, []) == other[1:]
    with pytest.raises(BadInput, match="name of 2 documents") as several:
        find("Contents", known, [])
    assert "cccccccccccccccc  page.html" in several.value.message
    assert "dddddddddddddddd  other.html" in several.value.message
    with pytest.raises(NotFound) as unknown:
        find("Contnts", known, [])
    assert unknown.value.remedy == "Did you mean 'Contents'?"
    with pytest.raises(NotFound):  # too short for a digest
        find("aaaa", known, [])


def test_equal_documents_of_several_corpora_are_forgotten_together() -> None:
    known = [example("a", "one.txt"), example("b", "two.txt"), example("a", "again.txt")]
    assert numbers_of(["a" * 64], known, []) == {0, 2}
    with pytest.raises(BadSettings, match="in another held out"):
        numbers_of(["a" * 64], known, [example("a", "third.txt")])


def test_fine_tuning_resumes_to_the_bit(store: Store) -> None:
    """Its micro-batches are those of the run, though the recipe allows larger ones."""
    settings = rebuilt(store, "tuned").settings
    assert settings.tokens_per_step < settings.micro_batch_tokens
    assert verify_resume("tuned", store=store)["equal"]
