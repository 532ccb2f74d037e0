"""From requests and texts to the ids that a model reads, and from its figures to the answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from langwright.backend import Likelihood, NextToken, Request, Scored
from langwright.errors import BadInput, TooLong, Unsupported
from langwright.inference.constraint import Grammars, Matcher
from langwright.inference.stream import SpeechStream
from langwright.model.text_parts import TextParts
from langwright.tokens import THINK, Speech, SpeechForm, marks, speech_form

Pair = tuple[list[int], list[int]]
"""The ids of a context and of its continuation."""
Likeliest = Callable[[list[int], int], list[tuple[int, float]]]


@dataclass(frozen=True)
class Reader:
    """`window` is how many tokens the model reads, `longer` what to do where that is too little."""

    name: str
    parts: TextParts
    window: int
    longer: str = "Shorten the prompt."

    @cached_property
    def grammars(self) -> Grammars:
        """What makes the matchers of constraints."""
        return Grammars(self.parts.tokenizer, self.parts.end_ids)

    def with_start(self, ids: list[int]) -> list[int]:
        start = self.parts.start_id
        return ids if start is None else [start, *ids]

    def prompt_ids(self, request: Request) -> list[int]:
        """The ids of a request's prompt. Raises when they do not fit the window."""
        self._check_bytes(request)
        if request.messages is not None:
            if self.parts.template is None:
                raise Unsupported(
                    f"'{self.name}' has no chat template.",
                    remedy="Use `generate`, or fine-tune the model for chat first.",
                )
            tools = None if request.tool_choice == "none" else request.tools
            ids = self.parts.template.encode(
                request.messages, tools=tools, add_generation_prompt=True, think=request.think
            )
        elif request.text is not None:
            ids = self.with_start(self.parts.tokenizer.encode(request.text))
        else:
            ids = list(request.token_ids or ())
        if not ids:
            raise BadInput(
                "The prompt is empty, and this model has no token to begin with.",
                remedy="Give at least one character.",
            )
        known = self.parts.tokenizer.vocab_size
        if not all(0 <= token < known for token in (*ids, *request.sampling.logit_bias)):
            raise BadInput(
                f"The prompt or logit_bias has token ids outside 0 … {known - 1}.",
                remedy="Use ids of this model's tokenizer.",
            )
        if len(ids) >= self.window:
            raise TooLong(len(ids), self.window, remedy=self.longer)
        return ids

    def _check_bytes(self, request: Request) -> None:
        """Raises `TooLong` for what no cutting could make short enough, before it is cut: that
        takes memory and time."""
        if not self.parts.tokenizer.lossless:
            return
        texts = [request.text or ""]
        texts += [str(one.get("content") or "") for one in request.messages or ()]
        # Without the blanks at both ends, which templates may take away.
        least = -(-sum(len(text.strip()) for text in texts) // self._longest)
        if least >= self.window:
            raise TooLong(least, self.window, remedy=self.longer, at_least=True)

    @cached_property
    def _longest(self) -> int:
        """Bytes of the longest token; a character has one at least."""
        tokenizer = self.parts.tokenizer
        return max(len(tokenizer.token_bytes(one)) for one in range(tokenizer.vocab_size))

    def limit(self, request: Request, prompt: Sequence[int]) -> int:
        """How many tokens the answer may have."""
        room = self.window - len(prompt)
        return room if request.max_tokens is None else min(request.max_tokens, room)

    @cached_property
    def form(self) -> SpeechForm | None:
        """How the model writes thoughts and calls."""
        return None if self.parts.template is None else speech_form(self.parts.template)

    @property
    def marks_calls(self) -> bool:
        """Whether something stands before a call that tells it from text."""
        return bool(self.form and self.form.calls and self.form.calls.mark)

    def stream(self, request: Request, prompt: Sequence[int]) -> SpeechStream:
        """What takes the answer to that prompt apart. Raises `Unsupported` for tools that the model
        calls in a way that cannot be told."""
        tokenizer, form = self.parts.tokenizer, self.form
        if request.messages is None or form is None:
            return SpeechStream(tokenizer, request.stop)
        calls = bool(request.tools) and request.tool_choice != "none"
        if calls and form.calls is None:
            raise Unsupported(
                f"The chat template of '{self.name}' has no form of calls that is known here.",
                remedy="Leave the tools out, or take a model that writes calls as JSON.",
            )
        thinking = form.thinks and tokenizer.decode(prompt[-8:]).rstrip().endswith(THINK)
        speech = Speech(form, calls=calls, thinking=thinking)
        return SpeechStream(tokenizer, request.stop, speech, marks(form, tokenizer))

    def matcher(self, request: Request) -> Matcher | None:
        """What the answer must keep to from its beginning on."""
        if request.constraint is not None:
            return self.grammars.matcher(request.constraint)
        if request.tool_choice in ("auto", "none"):
            return None
        return self.call_matcher(request, begun=False)

    def call_matcher(self, request: Request, *, begun: bool) -> Matcher:
        """What calls must keep to; `begun`: the rest of one, whose mark is there already."""
        assert self.form is not None
        assert self.form.calls is not None
        tools = list(request.tools or ())
        if request.tool_choice not in ("auto", "required"):
            tools = [one for one in tools if one["function"]["name"] == request.tool_choice]
            if not tools:
                raise BadInput(
                    f"tool_choice is '{request.tool_choice}', which is none of the tools.",
                    remedy="Name one of them, or leave it out.",
                )
        several = request.tool_choice == "required"
        return self.grammars.calls(self.form.calls, tools, begun=begun, several=several)

    def candidates(
        self, text: str, k: int, likeliest: Callable[[list[int], int], list[tuple[int, float]]]
    ) -> list[NextToken]:
        """For `Backend.next_tokens`: `likeliest` gives at least `k` (id, log-probability) behind
        ids, the likeliest first."""
        if k < 1:
            raise BadInput(f"k is {k}.", remedy="Ask for at least 1 token.")
        found = likeliest(self.prompt_ids(Request(text=text)), k)
        decode = self.parts.tokenizer.decode
        return [
            NextToken(token, decode([token]), math.exp(value), value) for token, value in found[:k]
        ]

    def likelihoods(
        self,
        pairs: Sequence[tuple[str, str]],
        of_ids: Callable[[list[Pair]], Sequence[tuple[float, bool]]],
    ) -> list[Likelihood]:
        """For `Backend.likelihoods`: `of_ids` gives of each pair of ids the log-probability of the
        continuation, and whether each of its tokens is the likeliest."""
        cut = [self.cut(*pair) for pair in pairs]
        return [
            Likelihood(logprob, greedy, len(ids), len(continuation.encode()))
            for (logprob, greedy), (_, ids), (_, continuation) in zip(
                of_ids(cut), cut, pairs, strict=True
            )
        ]

    def cut(self, context: str, continuation: str) -> Pair:
        """The ids of both, as lm-eval cuts them (see `Backend.likelihoods`)."""
        bare = context.rstrip()
        continuation = context[len(bare) :] + continuation
        encode = self.parts.tokenizer.encode
        before = self.with_start(encode(bare))
        ids = self.with_start(encode(bare + continuation))[len(before) :]
        # A model without a start token has seen its end token before each document.
        before = before or [min(self.parts.end_ids)]
        if not ids:
            raise BadInput("A continuation has no tokens.", remedy="Give at least one character.")
        if len(before) + len(ids) > self.window:
            raise BadInput(
                f"Context and continuation are {len(before) + len(ids)} tokens; the model's window "
                f"is {self.window}.",
                remedy=self.longer,
            )
        return before, ids

    def windows(self, window: int | None, stride: int | None) -> tuple[int, int]:
        """What `Backend.score` is asked for, with its defaults."""
        window = self.window if window is None else window
        stride = max(1, window // 2) if stride is None else stride
        if not 2 <= window <= self.window or not 1 <= stride < window:
            raise BadInput(
                f"window is {window} and stride {stride}; the model's window is {self.window}.",
                remedy="Take 2 <= window <= the model's, and 1 <= stride < window.",
            )
        return window, stride

    def scored(self, row: Sequence[int], values: Sequence[float | None]) -> Scored:
        """The result for a text whose ids, the start token before them, are `row`."""
        skip = 0 if self.parts.start_id is None else 1
        ids, logprobs = tuple(row[skip:]), tuple(values[skip:])
        counted = (
            len(self.parts.tokenizer.token_bytes(token))
            for token, value in zip(ids, logprobs, strict=True)
            if value is not None
        )
        return Scored(ids, logprobs, sum(counted))


def reads(length: int, window: int, stride: int) -> list[tuple[int, int, int]]:
    """The windows of a row of `length` tokens: (start, first token to score, end)."""
    found, start, done = [], 0, 1
    while done < length:
        end = min(start + window, length)
        found.append((start, done, end))
        start, done = start + stride, end
    return found
