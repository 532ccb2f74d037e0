"""Foretelling tokens, to be checked by the model several at a time.

A foretold token counts only where the answer's own draw at its place comes out the same, so an
answer is the same with and without: the model's draws decide, and guesses only save steps. By torch
that holds but for rounding, which depends on how many tokens are read at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from langwright.inference.answer import Answer
from langwright.inference.decoding import Decoding
from langwright.model import KVCache

MOST_LIVE = 4
"""With more answers at once a step is no longer bound by reading the weights."""
GUESSES = 4
_ORDERS = (3, 2)


class Guesser(Protocol):
    def guesses(self, live: Sequence[Answer]) -> list[list[int]]:
        """What may come next in each answer, up to `GUESSES` tokens, or nothing."""
        ...


class Lookup:
    """What followed the last time that the same two or three tokens were there (prompt lookup)."""

    def __init__(self) -> None:
        self._seen: dict[Answer, tuple[int, dict[tuple[int, ...], int]]] = {}

    def guesses(self, live: Sequence[Answer]) -> list[list[int]]:
        self._seen = {one: self._seen.get(one, (0, {})) for one in live}
        return [self._guess(answer)[: answer.room - 1] for answer in live]

    def _guess(self, answer: Answer) -> list[int]:
        done, places = self._seen[answer]
        ids = answer.ids
        # The place behind each group of tokens; the last group is left for the next time.
        for end in range(max(done, 1), len(ids)):
            for order in _ORDERS:
                if end >= order:
                    places[tuple(ids[end - order : end])] = end
        self._seen[answer] = len(ids), places
        for order in _ORDERS:
            place = places.get(tuple(ids[-order:]))
            if place is not None:
                return ids[place : place + GUESSES]
        return []


class Draft:
    """A smaller model of the same tokens says what it would."""

    def __init__(self, decoding: Decoding) -> None:
        self._decoding = decoding
        self._cache: KVCache | None = None
        self._slots: dict[Answer, int] = {}

    def guesses(self, live: Sequence[Answer]) -> list[list[int]]:
        window = self._decoding.module.shape.context_length
        length = min(window, max(one.prompt_length + one.limit for one in live))
        cache = self._cache
        if cache is None or cache.length < length:
            module = self._decoding.module
            cache = self._cache = KVCache(
                module.shape, MOST_LIVE, length, module.dtype, module.device
            )
            self._slots = {}
        self._slots = {one: slot for one, slot in self._slots.items() if one in live}
        return [self._guess(answer, cache) for answer in live]

    def _guess(self, answer: Answer, cache: KVCache) -> list[int]:
        if answer not in self._slots:
            taken = self._slots.values()
            slot = next(slot for slot in range(MOST_LIVE) if slot not in taken)
            self._slots[answer], cache.lengths[slot] = slot, 0
        slot, known = self._slots[answer], len(answer.ids)
        most = min(GUESSES, answer.room - 1, cache.length - known)
        if most <= 0:
            return []
        # What it said itself and was taken is read already, all else is not.
        read = min(cache.lengths[slot], known - 1)
        guess, new = list[int](), answer.ids[read:]
        cache.lengths[slot] = read
        while len(guess) < most:
            logits = self._decoding.read(cache, slot, new, None, 1)
            assert logits is not None
            new = [int(logits[0].argmax())]
            guess += new
        return guess


class Payoff:
    """Whether checking guesses brings more tokens a second than drawing one at a time."""

    def __init__(self) -> None:
        self._step_s: dict[int, float] = {}
        self._check_s, self._gain = 0.0, 0.0
        self._wait, self._failures = 0, 0

    def worth_trying(self, live: int) -> bool:
        if live > MOST_LIVE or live not in self._step_s:
            return False
        self._wait -= 1
        return self._wait < 0

    def stepped(self, live: int, seconds: float) -> None:
        self._step_s[live] = _mean(self._step_s.get(live, seconds), seconds)

    def checked(self, live: int, seconds: float, drawn: int) -> None:
        """`drawn` tokens came of one check of `live` answers."""
        self._check_s = _mean(self._check_s or seconds, seconds)
        self._gain = _mean(self._gain or drawn / live, drawn / live)
        if self._gain * self._step_s[live] > self._check_s:
            self._failures = 0
        else:
            # Tried again ever more rarely: what is said next may repeat itself more.
            self._failures += 1
            self._wait = 2 ** min(self._failures, 8)


def _mean(before: float, now: float) -> float:
    return 0.7 * before + 0.3 * now
