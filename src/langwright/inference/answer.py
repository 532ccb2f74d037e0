"""One answer while it is being made."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from torch import Tensor

from langwright.backend import Event, FinishReason, Request, TokenLogprob, Usage
from langwright.inference.constraint import Matcher
from langwright.inference.reader import Reader
from langwright.inference.sampler import Sampler, without
from langwright.inference.stream import TextStream

Inbox = deque[Event]


@dataclass(eq=False)
class Answer:
    """One of a request's answers. `ids` are the prompt and what was drawn, of which the slot holds
    all but the last; `inbox` takes its events."""

    request: Request
    index: int
    ids: list[int]
    limit: int
    sampler: Sampler
    stream: TextStream
    end_ids: frozenset[int]
    inbox: Inbox
    matcher: Matcher | None = None
    slot: int = -1
    cached: int = 0
    aborted: bool = False
    reason: FinishReason | None = None
    siblings: list[Answer] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)
    prompt_length: int = 0

    def __post_init__(self) -> None:
        self.prompt_length = len(self.ids)

    @property
    def count(self) -> int:
        """Number of tokens that were drawn."""
        return len(self.ids) - self.prompt_length

    @property
    def room(self) -> int:
        """Number of tokens that may yet be drawn."""
        return self.limit - self.count

    @property
    def salt(self) -> str:
        """Keeps apart what is known of a prompt by an adapter and without."""
        return self.request.adapter or ""

    @property
    def plain(self) -> bool:
        """Whether the next token is just the likeliest, and nothing else is asked."""
        request = self.request
        return (
            self.sampler.plain
            and self.matcher is None
            and request.logprobs is None
            and self.count >= request.min_tokens
        )

    def late(self, now: float) -> bool:
        deadline = self.request.deadline_s
        return deadline is not None and now - self.begun > deadline

    def draw(self, logits_V: Tensor) -> int:
        """Draw the next token by the model's logits and say what came of it."""
        adjusted = self.sampler.adjusted(logits_V)
        if self.count < self.request.min_tokens:
            adjusted = without(adjusted, self.end_ids)
        if self.matcher is not None:
            adjusted = self.matcher.masked(adjusted)
        token = self.sampler.draw(adjusted)
        told: tuple[TokenLogprob, ...] = ()
        if self.request.logprobs is not None:
            told = (self._told(token, logits_V, adjusted, self.request.logprobs),)
        self.take(token, told)
        return token

    def take(self, token: int, told: tuple[TokenLogprob, ...] = ()) -> None:
        """Go on with `token`."""
        self.ids.append(token)
        self.sampler.drew(token)
        ended = token in self.end_ids
        if self.matcher is not None:
            self.matcher.drew(token)
            if (error := self.matcher.error) is not None:
                self.end("error", error=f"The constraint could not be followed further: {error}")
                return
            ended = ended or self.matcher.complete
        text = "" if token in self.end_ids else self.stream.feed(token)
        if ended or self.stream.stopped:
            self.end("stop", text, (token,), told)
        elif self.room <= 0:
            self.end("length", text, (token,), told)
        else:
            self.inbox.append(
                Event(self.request.id, text, (token,), index=self.index, logprobs=told)
            )

    def end(
        self,
        reason: FinishReason,
        text: str = "",
        tokens: tuple[int, ...] = (),
        told: tuple[TokenLogprob, ...] = (),
        error: str | None = None,
    ) -> None:
        """Say the last of it, and of those that have waited for its prompt to be read."""
        self.reason = reason
        for sibling in self.siblings:
            sibling.end(reason)
        usage = Usage(self.prompt_length, self.count, self.cached)
        text += self.stream.finish()
        self.inbox.append(
            Event(self.request.id, text, tokens, reason, usage, self.index, told, error)
        )

    def _told(self, token: int, logits_V: Tensor, adjusted_V: Tensor, count: int) -> TokenLogprob:
        own = logits_V.float().log_softmax(-1)
        top = own.topk(min(count, own.numel()))
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        processed = float(self.sampler.distribution(adjusted_V)[token])
        return TokenLogprob(token, float(own[token]), processed, tuple(pairs))


def answers_to(request: Request, reader: Reader, inbox: Inbox) -> list[Answer]:
    """The `n` answers of a request, none of them begun. Raises for what cannot be read or kept."""
    prompt, parts = reader.prompt_ids(request), reader.parts
    limit = reader.limit(request, prompt)
    return [
        Answer(
            request,
            index,
            list(prompt),
            limit,
            Sampler(request.sampling, prompt, index),
            TextStream(parts.tokenizer, request.stop),
            parts.end_ids,
            inbox,
            reader.grammars.matcher(request.constraint) if request.constraint else None,
        )
        for index in range(request.n)
    ]
