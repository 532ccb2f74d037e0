"""Who reads and who is answered next: continuous batching."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from itertools import islice

from torch import Tensor

from langwright.inference.answer import Answer
from langwright.inference.decoding import Decoding
from langwright.inference.memory import Memory
from langwright.inference.settings import EngineSettings
from langwright.inference.speculation import Guesser, Payoff


class Scheduler:
    """Each step reads a piece of a prompt and draws a token for every answer that is under way, so
    that a late question does not wait for an early answer to end. First come, first served."""

    def __init__(
        self,
        decoding: Decoding,
        settings: EngineSettings,
        guesser: Guesser | None,
        memory: Memory,
    ) -> None:
        self._decoding, self._settings, self._guesser = decoding, settings, guesser
        self.memory = memory
        self._waiting: deque[Answer] = deque()
        self._reading: deque[Answer] = deque()
        self._live: list[Answer] = []
        self._payoff = Payoff()
        self._version = decoding.version()
        self._begun: dict[Answer, Tensor] = {}  # logits behind prompts that siblings have read

    def answers(self) -> list[Answer]:
        """All that wait, are read or are answered."""
        return [*self._waiting, *self._reading, *self._live]

    def add(self, answers: Iterable[Answer]) -> None:
        self._waiting.extend(answers)

    def step(self) -> None:
        """Go on by one token each."""
        self.sweep()
        self._admit()
        self._read()
        self._decode()
        self.sweep()

    def sweep(self) -> None:
        """Let go what has ended, was aborted or is past its deadline."""
        now = time.monotonic()
        for answer in self.answers():
            if answer.reason is None and answer.aborted:
                answer.end("abort")
            elif answer.reason is None and answer.late(now):
                answer.end("deadline")
        for answer in self.answers():
            if answer.reason is not None:
                self.memory.leave(answer)
                self._begun.pop(answer, None)
        self._waiting = deque(one for one in self._waiting if one.reason is None)
        self._reading = deque(one for one in self._reading if one.reason is None)
        self._live = [one for one in self._live if one.reason is None]
        if not self.answers():
            self.memory.rest()
            self._decoding.release()

    def _admit(self) -> None:
        """Give free slots to those who wait."""
        room = self._settings.max_slots - len(self._reading) - len(self._live)
        coming = list(islice(self._waiting, room))
        if not coming:
            return
        if (version := self._decoding.version()) != self._version:
            self.memory.forget()
            self._version = version
        for answer in self.memory.admit(coming):
            self._waiting.popleft()
            if answer in self._begun:
                self._live.append(answer)
                answer.begin(self._begun.pop(answer))
            else:
                self._reading.append(answer)

    def _read(self) -> None:
        """Read up to two chunks of prompts."""
        budget = 2 * self._settings.prefill_chunk
        while budget > 0 and self._reading:
            answer, cache = self._reading[0], self.memory.cache
            chunk, start = self._settings.prefill_chunk, cache.lengths[answer.slot]
            end = min(start - start % chunk + chunk, answer.prompt_length)
            whole = end == answer.prompt_length
            last = end - start if answer.tells_prompt else int(whole)
            logits = self._decoding.read(
                cache, answer.slot, answer.ids[start:end], answer.request.adapter, last
            )
            budget -= end - start
            if end % chunk == 0:
                self.memory.store(answer, end)
            if answer.tells_prompt:
                assert logits is not None
                answer.read(logits, start)
            if whole:
                assert logits is not None
                self._reading.popleft()
                self._live.append(answer)
                self._share_prompt(answer, logits[-1])
                answer.begin(logits[-1])

    def _share_prompt(self, answer: Answer, logits_V: Tensor) -> None:
        """Keep what the prompt left for the other answers of its request, who come next."""
        if not answer.siblings:
            return
        self.memory.keep(answer, answer.siblings)
        for sibling in answer.siblings:
            sibling.cached = answer.cached
            self._begun[sibling] = logits_V
        self._waiting.extendleft(reversed(answer.siblings))
        answer.siblings = []

    def _decode(self) -> None:
        """Draw a token for each that is under way, or several where they were foretold."""
        live = sorted((one for one in self._live if one.reason is None), key=lambda one: one.slot)
        if not live:
            return
        if self._guesser is not None and self._payoff.worth_trying(len(live)):
            guesses = self._guesser.guesses(live)
            if any(guesses):
                self._check(live, guesses)
                return
        begun = time.perf_counter()
        logits = self._go_on(live, [[one.ids[-1]] for one in live])
        likeliest = logits.numpy().argmax(-1).tolist() if any(one.plain for one in live) else []
        for row, answer in enumerate(live):
            if answer.plain:
                answer.take(likeliest[row])
            else:
                answer.draw(logits[row])
        self._payoff.stepped(len(live), time.perf_counter() - begun)

    def _check(self, live: list[Answer], guesses: list[list[int]]) -> None:
        """Draw tokens as long as they come out as they were guessed, and one more."""
        cache, begun = self.memory.cache, time.perf_counter()
        before = sum(one.count for one in live)
        starts = [cache.lengths[one.slot] for one in live]
        ids = [[one.ids[-1], *guess] for one, guess in zip(live, guesses, strict=True)]
        checked = self._go_on(live, ids).split([len(row) for row in ids])
        for answer, start, guess, logits in zip(live, starts, guesses, checked, strict=True):
            right = 0
            while answer.draw(logits[right]) in guess[right : right + 1] and not answer.reason:
                right += 1
            cache.lengths[answer.slot] = start + right + 1
        drawn = sum(one.count for one in live) - before
        self._payoff.checked(len(live), time.perf_counter() - begun, drawn)

    def _go_on(self, live: list[Answer], ids: list[list[int]]) -> Tensor:
        slots, adapters = [one.slot for one in live], [one.request.adapter for one in live]
        return self._decoding.go_on(self.memory.cache, slots, ids, adapters)
