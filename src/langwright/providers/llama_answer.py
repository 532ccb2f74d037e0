"""One answer while llama.cpp makes it: from its chunks to events."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np

from langwright.backend import Event, FinishReason, Request, TokenLogprob, Usage
from langwright.inference.stream import TextStream
from langwright.model.text_parts import TextParts
from langwright.providers.interleave import Emit
from langwright.tokens import Tokenizer

Distribution = Callable[[list[int], int], list[tuple[int, float]]]
"""The likeliest tokens after ids: at least so many."""


class Answer:
    """`ids` are the prompt and what was drawn. `lost` tokens behind them were drawn too, but not
    told: they have to be drawn again."""

    def __init__(
        self,
        request: Request,
        index: int,
        prompt: list[int],
        limit: int,
        parts: TextParts,
        aborted: AbstractSet[str],
    ) -> None:
        self.request, self.index, self.prompt = request, index, prompt
        self.ids = list(prompt)
        self.lost = 0
        self.error: Mapping[str, Any] | Exception | None = None
        self._limit, self._parts = limit, parts
        self._stream = TextStream(parts.tokenizer, request.stop)
        self._aborted = aborted
        self._begun = time.monotonic()
        self._cached: int | None = None
        self._before = 0
        self._reason: FinishReason | None = None

    @property
    def count(self) -> int:
        """Number of tokens that were drawn and told."""
        return len(self.ids) - len(self.prompt)

    @property
    def room(self) -> int:
        """Number of tokens that may yet be drawn."""
        return self._limit - self.count

    def begin(self, emit: Emit, distribution: Distribution) -> None:
        self._emit, self._distribution = emit, distribution

    def over(self) -> bool:
        """Whether nothing more is to be drawn."""
        deadline = self.request.deadline_s
        if self._reason is None:
            if self.request.id in self._aborted:
                self._reason = "abort"
            elif deadline is not None and time.monotonic() - self._begun > deadline:
                self._reason = "deadline"
        return self._reason is not None

    def go_on(self) -> None:
        """Be ready for the chunks of what is drawn behind `ids`."""
        self._before, self.lost = self.count, 0

    def chunk(self, chunk: Mapping[str, Any]) -> bool:
        """Take what llama.cpp says next; true ends it. Errors wait in `error`, for nothing that is
        raised here would reach anybody."""
        try:
            return self._chunk(chunk)
        except Exception as error:
            self.error = error
            return True

    def _chunk(self, chunk: Mapping[str, Any]) -> bool:
        if "error" in chunk:
            self.error = chunk["error"]
            return True
        told = chunk["__verbose"]
        if self._cached is None:
            self._cached = told.get("timings", {}).get("cache_n")
        missing = told["tokens_predicted"] - (self.count - self._before)
        if told["stop"]:
            self.lost = missing
            return False
        if self.over():
            return True
        if not told["tokens_predicted"]:  # how far it has read the prompt
            return False
        ids: list[int] | None = [told["tokens"][-1]]
        if missing > 1:
            ids = spelt(self._parts.tokenizer, told["content"], told["tokens"][-1], missing - 1)
        if ids is None:
            self.lost = missing
            return True
        probabilities = told.get("completion_probabilities")
        return self.take(ids, probabilities[-1] if probabilities else None)

    def take(self, ids: Sequence[int], told: Mapping[str, Any] | None = None) -> bool:
        """Go on with `ids`, of whose last `told` has the probabilities; true where that ends it."""
        text, taken, logprobs = "", list[int](), list[TokenLogprob]()
        for place, token in enumerate(ids):
            if self.request.logprobs is not None:
                own = told if place == len(ids) - 1 else None
                logprobs.append(self._logprob(token, own, self.request.logprobs))
            self.ids.append(token)
            taken.append(token)
            ended = token in self._parts.end_ids
            text += "" if ended else self._stream.feed(token)
            if ended or self._stream.stopped:
                self._reason = "stop"
            elif self.room <= 0:
                self._reason = "length"
            if self._reason is not None:
                break
        event = Event(
            self.request.id, text, tuple(taken), index=self.index, logprobs=tuple(logprobs)
        )
        if not self._emit(event):
            self._reason = self._reason or "abort"
        return self._reason is not None

    def end(self) -> None:
        """Say the last of it."""
        reason = self._reason or "stop"
        usage = Usage(len(self.prompt), self.count, self._cached or 0)
        self._emit(Event(self.request.id, self._stream.finish(), (), reason, usage, self.index))

    def _logprob(self, token: int, told: Mapping[str, Any] | None, count: int) -> TokenLogprob:
        if told is None or told["id"] != token:
            top = self._distribution(self.ids, self._parts.tokenizer.vocab_size)
            own = dict(top)[token]
        else:
            top = spread_logprobs(told["top_logprobs"], self._parts.tokenizer.vocab_size)
            own = dict(top).get(token, told["logprob"])
        processed = 0.0 if self.request.sampling.temperature == 0 else own
        return TokenLogprob(token, own, processed, tuple(top[:count]))


def spread_logprobs(told: Sequence[Mapping[str, Any]], num_tokens: int) -> list[tuple[int, float]]:
    """(id, log-probability) of those that are tokens, the likeliest first. Where all are there they
    are made to sum to 1: llama.cpp sums up in float32, which shifts all by up to 3e-4, and counts
    rows of the table that are no token."""
    found = [
        (one["id"], -np.inf if one["logprob"] is None else one["logprob"])
        for one in told
        if one["id"] < num_tokens
    ]
    if len(found) == num_tokens:
        total = np.logaddexp.reduce(np.array([value for _, value in found], dtype=np.float64))
        found = [(token, float(value - total)) for token, value in found]
    return found


def spelt(tokenizer: Tokenizer, text: str, last: int, missing: int) -> list[int] | None:
    """The ids of `missing` tokens and `last` behind them, whose text is `text`: none of the missing
    ends between two characters, or it would have been told. Where several spellings are possible,
    that of the tokenizer is taken, else the first. None where the bytes are not UTF-8, so that the
    text does not tell them.
    """
    if "\ufffd" in text:
        return None
    canonical = tokenizer.encode(text)
    if len(canonical) == missing + 1 and canonical[-1] == last:
        return canonical
    end = b"" if last in tokenizer.special.values() else tokenizer.token_bytes(last)
    gap = text.encode().removesuffix(end)
    by_bytes: dict[bytes, int] = {}
    for token in range(tokenizer.vocab_size):
        piece = tokenizer.token_bytes(token)
        if len(piece) <= len(gap):
            by_bytes.setdefault(piece, token)
    found = _cover(gap, missing, by_bytes)
    return None if found is None else [*found, last]


def _cover(gap: bytes, count: int, by_bytes: Mapping[bytes, int]) -> list[int] | None:
    """`count` tokens that spell `gap`."""
    if count == 0:
        return None if gap else []
    for cut in range(len(gap) - count + 1, 0, -1):
        token = by_bytes.get(gap[:cut])
        if token is not None:
            rest = _cover(gap[cut:], count - 1, by_bytes)
            if rest is not None:
                return [token, *rest]
    return None
