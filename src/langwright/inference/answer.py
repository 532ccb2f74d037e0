"""One answer while it is being made."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from langwright.backend import Event, FinishReason, Request, TokenLogprob, Usage
from langwright.inference.constraint import Matcher
from langwright.inference.reader import Reader
from langwright.inference.sampler import Sampler, without
from langwright.inference.stream import SpeechStream
from langwright.tokens import Said

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
    stream: SpeechStream
    end_ids: frozenset[int]
    inbox: Inbox
    matcher: Matcher | None = None
    call_matcher: Callable[[], Matcher] | None = None
    slot: int = -1
    cached: int = 0
    aborted: bool = False
    reason: FinishReason | None = None
    siblings: list[Answer] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)
    prompt_length: int = 0
    prompt_told: list[TokenLogprob | None] = field(default_factory=list)
    _begun: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.prompt_length = len(self.ids)
        self._in_call = False

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

    @property
    def tells_prompt(self) -> bool:
        """Whether the log-probabilities of the prompt are still to be told."""
        return self.request.prompt_logprobs is not None and self.index == 0

    def late(self, now: float) -> bool:
        deadline = self.request.deadline_s
        return deadline is not None and now - self.begun > deadline

    def begin(self, logits_V: Tensor) -> None:
        """Draw the first token, by the logits behind the prompt; or end, where only that was to be
        read."""
        if self.limit:
            self.draw(logits_V)
        else:
            self.end("length")

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
            if self.matcher.complete and self._in_call:
                self.matcher, self._in_call = None, False
            elif self.matcher.complete:
                ended = True
        said = Said() if token in self.end_ids else self.stream.feed(token)
        if self.call_matcher is not None and self.matcher is None and self.stream.calling:
            self.matcher, self._in_call = self.call_matcher(), True
        if ended or self.stream.stopped is not None:
            self.end("stop", said, (token,), told)
        elif self.room <= 0:
            self.end("length", said, (token,), told)
        else:
            self._say(said, token_ids=(token,), logprobs=told)

    def end(
        self,
        reason: FinishReason,
        said: Said | None = None,
        tokens: tuple[int, ...] = (),
        told: tuple[TokenLogprob, ...] = (),
        error: str | None = None,
    ) -> None:
        """Say the last of it, and of those that have waited for its prompt to be read."""
        self.reason = reason
        for sibling in self.siblings:
            sibling.end(reason)
        self._say(
            (said or Said()) + self.stream.finish(),
            token_ids=tokens,
            logprobs=told,
            finish_reason=reason,
            usage=Usage(self.prompt_length, self.count, self.cached),
            error=error,
            stop=self.stream.stopped,
        )

    def read(self, logits_TV: Tensor, start: int) -> None:
        """Learn how likely the prompt's tokens are from the logits behind those from `start` on."""
        if not self.prompt_told:
            self.prompt_told.append(None)
        own_TV = logits_TV.float().log_softmax(-1)
        for own_V, token in zip(own_TV, self.ids[start + 1 : self.prompt_length], strict=False):
            told = _told(token, own_V, float(own_V[token]), self.request.prompt_logprobs or 0)
            self.prompt_told.append(told)

    def _say(self, said: Said, **more: Any) -> None:
        told, self.prompt_told = tuple(self.prompt_told), []
        if not self._begun:
            self._begun = True
            more.setdefault("usage", Usage(self.prompt_length, self.count, self.cached))
        self.inbox.append(
            Event(
                self.request.id,
                said.text,
                index=self.index,
                thought=said.thought,
                calls=said.calls,
                prompt_token_ids=tuple(self.ids[: self.prompt_length]) if told else (),
                prompt_logprobs=told,
                **more,
            )
        )

    def _told(self, token: int, logits_V: Tensor, adjusted_V: Tensor, count: int) -> TokenLogprob:
        processed = float(self.sampler.distribution(adjusted_V)[token])
        return _told(token, logits_V.float().log_softmax(-1), processed, count)


def _told(token: int, own_V: Tensor, processed: float, count: int) -> TokenLogprob:
    top = own_V.topk(min(count, own_V.numel()))
    pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return TokenLogprob(token, float(own_V[token]), processed, tuple(pairs))


def answers_to(request: Request, reader: Reader, inbox: Inbox) -> list[Answer]:
    """The `n` answers of a request, none of them begun. Raises for what cannot be read or kept."""
    prompt, parts = reader.prompt_ids(request), reader.parts
    limit = reader.limit(request, prompt)
    calls = bool(request.tools) and request.tool_choice == "auto" and reader.marks_calls
    # Made before it is needed: what cannot be kept to is an error of this call, not of a step.
    rest = reader.call_matcher(request, begun=True) if calls else None
    return [
        Answer(
            request,
            index,
            list(prompt),
            limit,
            Sampler(request.sampling, prompt, index),
            reader.stream(request, prompt),
            parts.end_ids,
            inbox,
            reader.matcher(request),
            None if rest is None else rest.copy,
        )
        for index in range(request.n)
    ]
