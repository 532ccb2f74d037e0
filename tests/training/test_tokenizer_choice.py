"""Training with a tokenizer that was there before: its ids, and the marks of a turn behind them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import langwright as lw
from langwright.errors import BadInput, NotFound
from langwright.store import Store
from langwright.tokens import END_OF_TEXT, SPECIAL_TOKENS, read_known, train_tokenizer
from langwright.training import pretrain

TEXTS = ["the cat sat on the mat and the dog ate the hat"] * 20


@pytest.mark.slow
def test_gpt2s_encoding_gets_the_marks_of_a_turn(store: Store, recipe: str, data: Path) -> None:
    with store.writing("gpt2", "tokenizer") as draft:
        shutil.copy(data / "gpt2/vocab.bpe", draft.folder)
    result = pretrain(recipe, name="run", store=store, tokenizer="gpt2", steps=2)
    model = lw.load(result["model"], store=store)
    known = read_known(store.path(store.get("gpt2")))
    assert known is not None
    text = "Hello, wörld 🙂 1234\n\n  end"
    assert model.tokenizer.encode(text) == known.encode(text)
    assert model.tokenizer.special == {
        END_OF_TEXT: 50256,
        "<|im_start|>": 50257,
        "<|im_end|>": 50258,
    }
    assert lw.chat(model, "hi", max_tokens=2)["usage"]["completion_tokens"] <= 2
    parents = {node["name"] for node in lw.lineage(result["model"], store=store)["nodes"]}
    assert {"gpt2", "run-tokenizer"} <= parents


def test_a_tokenizer_with_the_marks_is_taken_as_it_is(store: Store, recipe: str) -> None:
    with store.writing("mine", "tokenizer") as draft:
        tokenizer = train_tokenizer("sentencepiece", TEXTS, 300)
        tokenizer.save(draft.folder / "tokenizer.json")
    pretrain(recipe, name="run", store=store, tokenizer="mine", steps=2)
    assert [one.name for one in store.artifacts("tokenizer")] == ["mine"]


def test_a_tokenizer_that_loses_text_is_refused(store: Store, recipe: str) -> None:
    with store.writing("words", "tokenizer") as draft:
        train_tokenizer("word", TEXTS, 30).save(draft.folder / "tokenizer.json")
    with pytest.raises(BadInput, match="every text back"):
        pretrain(recipe, name="run", store=store, tokenizer="words", steps=2)
    with pytest.raises(NotFound, match="words"):
        pretrain(recipe, name="run", store=store, tokenizer="word", steps=2)


def test_special_tokens_are_added_once() -> None:
    tokenizer = train_tokenizer("character", TEXTS, 300)
    assert tokenizer.with_special(*SPECIAL_TOKENS) is tokenizer
    longer = tokenizer.with_special("<|new|>", END_OF_TEXT)
    assert longer.special == tokenizer.special | {"<|new|>": tokenizer.vocab_size}
    assert longer.encode("the <|new|> cat") == tokenizer.encode("the <|new|> cat")
    assert longer.encode("<|new|>", allow_special=True) == [tokenizer.vocab_size]
