"""What the verbs generate, chat, next-tokens, neighbours, score, embed and tokens answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Unpack

from langwright.errors import BadInput
from langwright.providers.handle import Model
from langwright.providers.open import load_tokenizer, open_model
from langwright.providers.options import Messages, Options
from langwright.store import Store

if TYPE_CHECKING:
    from langwright.inference import Order, TableName

Answer = dict[str, Any]


def generate(model: str | Model, prompt: str, **options: Unpack[Options]) -> Answer:
    """`langwright generate`: continue raw text (see `Model.generate`)."""
    return _opened(model).generate(prompt, **options).to_json()


def chat(model: str | Model, messages: str | Messages, **options: Unpack[Options]) -> Answer:
    """`langwright chat`: answer a conversation; a text stands for one user turn."""
    return _opened(model).chat(messages, **options).to_json()


def next_tokens(model: str | Model, text: str, k: int = 5) -> Answer:
    """`langwright next-tokens`: the `k` likeliest tokens after raw `text`."""
    opened = _opened(model)
    found = [asdict(token) for token in opened.next_tokens(text, k)]
    return {"model": opened.name, "tokens": found}


def neighbours(
    model: str | Model,
    text: str | None = None,
    k: int = 10,
    table: TableName = "input",
    *,
    by: Order = "cosine",
    id: int | None = None,
) -> Answer:
    """`langwright neighbours`: the tokens nearest to one token (see `Model.neighbours`)."""
    opened = _opened(model)
    return {"model": opened.name} | opened.neighbours(text, k, table, by=by, id=id).to_json()


def score(
    model: str | Model, text: str, *, window: int | None = None, stride: int | None = None
) -> Answer:
    """`langwright score`: how well the model foresees `text` (see `Model.score`)."""
    return _opened(model).score(text, window, stride).to_json()


def embed(model: str | Model, texts: Sequence[str], *, truncate: bool = False) -> Answer:
    """`langwright embed`: a vector for each text (see `Model.embed`). `usage` counts the tokens
    that were read; null where the back end does not tell them."""
    opened = _opened(model)
    vectors = opened.embed(texts, truncate=truncate)
    usage, can = None, opened.backend.capabilities()
    if can.tokenize:
        longest = can.context_length or sys.maxsize
        count = sum(min(len(opened.backend.tokenize(text)), longest) for text in texts)
        usage = {"prompt_tokens": count, "total_tokens": count}
    return {"model": opened.name, "embeddings": vectors, "usage": usage}


def tokens(text: str, encodings: Sequence[str], *, store: Store | None = None) -> Answer:
    """`langwright tokens`: `text` cut by each of `encodings`, names of models or tokenizers.

    `pieces` show bytes that are not UTF-8 by themselves as U+FFFD; `piece_bytes` are exact.
    `words` is null where the script puts no blanks between them, and so is `per_word`.
    """
    store = store or Store()
    if not encodings:
        known = sorted({a.name for a in store.artifacts() if a.kind in ("model", "tokenizer")})
        remedy = f"Known here: {', '.join(known)}." if known else "`langwright pull` brings one."
        raise BadInput("No encoding is named.", remedy=f"Name a model or tokenizer. {remedy}")
    from langwright.tokens import count_words  # here, as in `open`

    words = count_words(text)
    cut = [_encoding(name, text, words, store) for name in encodings]
    return {"characters": len(text), "words": words, "encodings": cut}


def _encoding(name: str, text: str, words: int | None, store: Store) -> Answer:
    tokenizer = load_tokenizer(name, store=store)
    ids = tokenizer.encode(text)
    pieces = [tokenizer.token_bytes(token) for token in ids]
    return {
        "name": name,
        "count": len(ids),
        "bytes": sum(map(len, pieces)),
        "per_word": len(ids) / words if words else None,
        "per_character": len(ids) / len(text) if text else None,
        "ids": ids,
        "pieces": [piece.decode("utf-8", errors="replace") for piece in pieces],
        "piece_bytes": [list(piece) for piece in pieces],
    }


def _opened(model: str | Model) -> Model:
    return open_model(model) if isinstance(model, str) else model
