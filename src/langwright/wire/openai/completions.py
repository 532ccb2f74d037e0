"""OpenAI's completions, the older call that continues raw text: evaluation needs its `echo`.

https://platform.openai.com/docs/api-reference/completions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from langwright.backend import Event, Request, TokenLogprob
from langwright.wire import sse
from langwright.wire.ask import Ask
from langwright.wire.body import BadBody, parse
from langwright.wire.failure import Failure
from langwright.wire.openai.chat_reply import finite, usage_json
from langwright.wire.openai.errors import error_json
from langwright.wire.openai.fields import ACCEPTED, SamplingBody, sampling_fields
from langwright.wire.openai.reasons import REASONS
from langwright.wire.reply import Envelope
from langwright.wire.whole import Whole, total_usage, wholes

MOST_PROMPTS = 256
"""Of one call."""
DEFAULT_MAX_TOKENS = 16
"""OpenAI's."""

_Ids = list[Annotated[int, Field(ge=0, lt=2**31)]]


class CompletionBody(SamplingBody):
    """`best_of` is honoured where it is `n`; `suffix` where it is empty."""

    ACCEPTED: ClassVar[Mapping[str, object]] = {**ACCEPTED, "suffix": "", "best_of": 1}

    prompt: str | _Ids | list[str] | list[_Ids]
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None

    def prompts(self) -> list[str | list[int]]:
        """One for each answer, or for each `n` of them."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [[one for one in self.prompt if isinstance(one, int)]]
        return [one for one in self.prompt if not isinstance(one, int)]


def read(raw: bytes, *, lenient: bool = False) -> Ask:
    """The call. Raises `BadBody`."""
    body, unheeded = parse(raw, CompletionBody, lenient=lenient)
    prompts = body.prompts()
    if not 1 <= len(prompts) <= MOST_PROMPTS:
        raise BadBody(
            f"There are {len(prompts)} prompts; a call has 1 to {MOST_PROMPTS}.", "prompt"
        )
    limit = DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens
    echoes = bool(body.echo)
    if limit == 0 and not echoes:
        if not lenient:
            raise BadBody("max_tokens: 0 goes with echo alone.", "max_tokens")
        limit, unheeded = DEFAULT_MAX_TOKENS, (*unheeded, "max_tokens")
    requests = tuple(
        Request(
            text=one if isinstance(one, str) else None,
            token_ids=one if isinstance(one, list) else None,
            max_tokens=limit,
            sampling=body.sampling(),
            stop=body.stops(),
            min_tokens=body.min_tokens or 0,
            n=body.n or 1,
            logprobs=body.logprobs,
            # An echo without them still needs the prompt's tokens, to be told as text.
            prompt_logprobs=(body.logprobs or 0) if echoes else None,
        )
        for one in prompts
    )
    return Ask(body.model, requests, bool(body.stream), body.wants_usage(), echoes, unheeded)


def write(ask: Ask) -> dict[str, Any]:
    """The body that asks for it: one prompt as such, several as a list."""
    first = ask.requests[0]
    prompts = [one.text if one.text is not None else one.token_ids for one in ask.requests]
    said: dict[str, Any] = {
        "model": ask.model,
        "prompt": prompts[0] if len(prompts) == 1 else prompts,
        **sampling_fields(first),
    }
    given = {
        "max_tokens": first.max_tokens,
        "logprobs": first.logprobs,
        "echo": ask.echo or None,
        "stream": ask.stream or None,
        "stream_options": {"include_usage": True} if ask.stream and ask.usage else None,
    }
    return said | {name: one for name, one in given.items() if one is not None}


Tokens = Sequence[tuple[int, TokenLogprob | None]]
"""Ids, each with what is told of it."""
Prompt = tuple[str, Tokens]


class CompletionReply:
    """Answers of `ask`; `Reply` says how it is used. Choice i of prompt p has the index
    p * n + i."""

    media_type = sse.MEDIA_TYPE

    def __init__(self, ask: Ask, envelope: Envelope) -> None:
        self._ask, self._envelope = ask, envelope
        self._first = {one.id: at * one.n for at, one in enumerate(ask.requests)}
        self._answers: dict[tuple[str, int], Whole] = {}
        self._told: dict[str, Prompt] = {}

    def begin(self) -> bytes:
        return b""

    def feed(self, event: Event) -> bytes:
        key = event.request_id, event.index
        known = key in self._answers
        one = self._answers.setdefault(key, Whole(*key))
        length = len(one.text)
        one.add(event)
        text, tokens, offset = event.text, _with(event.token_ids, event.logprobs), length
        if self._ask.echo:
            # All answers to a request have the same prompt, and the first tells of it.
            if event.request_id not in self._told:
                self._told[event.request_id] = self._prompt(one)
            before, ids = self._told[event.request_id]
            if known:
                offset += len(before)
            else:
                text, tokens = before + text, [*ids, *tokens]
        reason = None if event.finish_reason is None else REASONS[event.finish_reason]
        if not text and reason is None and not tokens:
            return b""
        return self._chunk(self._index(*key), text, tokens, offset, reason)

    def end(self) -> bytes:
        told = b""
        if self._ask.usage:
            usage = usage_json(total_usage(self._answers.values()))
            told = sse.message({**self._frame(), "choices": [], "usage": usage})
        return told + sse.DONE

    def fail(self, failure: Failure) -> bytes:
        return sse.message(error_json(failure)) + sse.DONE

    def whole(self, events: Sequence[Event]) -> dict[str, Any]:
        answers = wholes(events)
        choices = []
        for key, one in answers.items():
            assert one.finish_reason is not None
            text, tokens = one.text, _with(one.token_ids, one.logprobs)
            if self._ask.echo:
                before, ids = self._prompt(answers[one.request_id, 0])
                text, tokens = before + text, [*ids, *tokens]
            choices.append(
                self._choice(self._index(*key), text, tokens, 0, REASONS[one.finish_reason])
            )
        choices.sort(key=lambda one: int(one["index"]))
        usage = usage_json(total_usage(answers.values()))
        return {**self._frame(), "choices": choices, "usage": usage}

    def _index(self, request_id: str, index: int) -> int:
        return self._first[request_id] + index

    def _prompt(self, first: Whole) -> Prompt:
        """Of a request, as the first of its answers tells it."""
        request = next(one for one in self._ask.requests if one.id == first.request_id)
        ids = first.prompt_token_ids
        text = request.text
        if text is None:
            text = b"".join(map(self._envelope.piece, ids)).decode(errors="replace")
        if request.logprobs is None:
            return text, []
        return text, list(zip(ids, first.prompt_logprobs, strict=True))

    def _frame(self) -> dict[str, Any]:
        about = self._envelope
        return {
            "id": f"cmpl-{about.id}",
            "object": "text_completion",
            "created": about.created,
            "model": about.model,
            "system_fingerprint": about.fingerprint,
        }

    def _chunk(
        self,
        index: int,
        text: str,
        tokens: Tokens,
        offset: int,
        reason: str | None,
    ) -> bytes:
        chunk = {**self._frame(), "choices": [self._choice(index, text, tokens, offset, reason)]}
        if self._ask.usage:
            chunk["usage"] = None
        return sse.message(chunk)

    def _choice(
        self,
        index: int,
        text: str,
        tokens: Tokens,
        offset: int,
        reason: str | None,
    ) -> dict[str, Any]:
        told = None
        if self._ask.requests[0].logprobs is not None:
            told = self._logprobs(tokens, offset)
        return {"index": index, "text": text, "finish_reason": reason, "logprobs": told}

    def _logprobs(self, tokens: Tokens, offset: int) -> dict[str, Any]:
        """The form of the older API; `text_offset` is in characters."""
        pieces = [self._text(token) for token, _ in tokens]
        offsets = [offset]
        for piece in pieces:
            offsets.append(offsets[-1] + len(piece))
        return {
            "tokens": pieces,
            "token_logprobs": [None if one is None else finite(one.logprob) for _, one in tokens],
            "top_logprobs": [
                None if one is None else {self._text(at): finite(value) for at, value in one.top}
                for _, one in tokens
            ],
            "text_offset": offsets[:-1],
        }

    def _text(self, token: int) -> str:
        """As OpenAI writes bytes that are no text."""
        piece = self._envelope.piece(token)
        try:
            return piece.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


def _with(ids: Sequence[int], told: Sequence[TokenLogprob]) -> Tokens:
    """Nothing where nothing was asked for."""
    return list(zip(ids, told, strict=True)) if told else []
