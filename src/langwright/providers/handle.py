"""The handle on a model that people hold."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self, Unpack

from langwright.backend import Backend, Event, FinishReason, NextToken, TokenLogprob, Usage
from langwright.errors import BadInput, Damaged, Unsupported
from langwright.providers.options import Messages, Options, request_of

if TYPE_CHECKING:
    from langwright.inference import Inspection, InspectOptions, Neighbourhood, Order, TableName
    from langwright.model import Decoder, ModelBundle
    from langwright.tokens import ChatTemplate, Tokenizer


@dataclass(frozen=True)
class Timings:
    """Seconds from the call to the first token, and to the end."""

    first_token_s: float
    total_s: float


@dataclass(frozen=True)
class Generation:
    """A whole answer. `token_ids` holds the end token too, which has no text; `logprobs` are those
    of the tokens, where they were asked for."""

    text: str
    token_ids: list[int]
    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    logprobs: list[TokenLogprob]

    @classmethod
    def collect(cls, events: Iterable[Event]) -> Self:
        """The answer that `events` of one request make up, timed from now."""
        start = time.perf_counter()
        first, text, ids, last = 0.0, "", list[int](), Event("")
        told: list[TokenLogprob] = []
        for last in events:
            first = first or time.perf_counter() - start
            text += last.text
            ids += last.token_ids
            told += last.logprobs
        total = time.perf_counter() - start
        assert last.finish_reason, "the last event says why the answer ended"
        assert last.usage, "and what it took"
        return cls(text, ids, last.finish_reason, last.usage, Timings(first, total), told)

    def to_json(self) -> dict[str, Any]:
        """The object that `langwright generate --json` prints."""
        return asdict(self) | {"usage": self.usage.to_json()}


@dataclass(frozen=True)
class Score:
    """How well a model foresees a text: summed over the scored tokens, in nats.

    `bytes` are those of the scored tokens; `bits_per_byte` is nll_nats_sum / ln 2 / bytes;
    `perplexity` exp(nll_nats_sum / scored_tokens). `window` and `stride` are in tokens.
    """

    tokens: int
    scored_tokens: int
    bytes: int
    nll_nats_sum: float
    bits_per_byte: float
    perplexity: float
    window: int
    stride: int

    def to_json(self) -> dict[str, Any]:
        """The object that `langwright score --json` prints."""
        return asdict(self)


class Model:
    """A back end with the methods that people want. `load` makes one.

    `module`, `tokenizer` and `template` reach inside a model that this program runs itself.
    """

    def __init__(self, backend: Backend, bundle: ModelBundle | None = None) -> None:
        self.backend = backend
        self._bundle = bundle

    @property
    def name(self) -> str:
        return self.backend.name

    @property
    def bundle(self) -> ModelBundle:
        """All of a model that this program runs itself; `Unsupported` for another's."""
        return self._inside()

    @property
    def module(self) -> Decoder:
        return self._inside().module

    @property
    def tokenizer(self) -> Tokenizer:
        return self._inside().tokenizer

    @property
    def template(self) -> ChatTemplate | None:
        return self._inside().template

    def _inside(self) -> ModelBundle:
        if self._bundle is None:
            raise Unsupported(
                f"'{self.name}' is no decoder of our own engine, so its inside is out of reach.",
                remedy="Load a decoder of this machine without another back end; "
                "`langwright inspect` looks into an encoder too.",
            )
        return self._bundle

    def generate(self, prompt: str, **options: Unpack[Options]) -> Generation:
        """Continue raw text; no chat template is applied."""
        return Generation.collect(self.stream(prompt, **options))

    def chat(self, messages: str | Messages, **options: Unpack[Options]) -> Generation:
        """Answer a conversation (a text stands for one user turn) through the chat template."""
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        return Generation.collect(self.stream(messages, **options))

    def stream(self, prompt: str | Messages, **options: Unpack[Options]) -> Iterator[Event]:
        """The events of one answer as they come: text is continued raw, messages are answered."""
        return _unbroken(self.backend.generate([request_of(prompt, **options)]))

    def next_tokens(self, text: str, k: int = 5) -> list[NextToken]:
        """The `k` likeliest tokens after `text` (raw, no template), likeliest first."""
        if k < 1:
            raise BadInput(f"k is {k}.", remedy="Ask for at least 1 token.")
        return self.backend.next_tokens(text, k)

    def neighbours(
        self,
        text: str | None = None,
        k: int = 10,
        table: TableName = "input",
        *,
        by: Order = "cosine",
        id: int | None = None,
    ) -> Neighbourhood:
        """The `k` tokens whose rows in the `table` lie nearest to that of one token: `text`, whose
        blanks count (" cat"), or the token of that `id`. `by` is what nearness is measured by.

        Raises `BadInput` when the text is not exactly one token, `Unsupported` where another
        program runs the model.
        """
        # Here, since it brings torch, which a model of another program can do without.
        from langwright.inference import neighbours, token_for

        inside = self._inside()
        return neighbours(inside, token_for(inside.tokenizer, text, id), k, table, by)

    def embed(self, texts: Sequence[str], *, truncate: bool = False) -> list[list[float]]:
        """A vector for each of `texts`, as an encoder gives it.

        Raises `BadInput` for a text that is longer than the encoder reads, unless `truncate` allows
        to cut it there; `Unsupported` for a model without embeddings, or whose back end cannot tell
        whether it cuts.
        """
        if isinstance(texts, str):
            raise BadInput("One text is given bare.", remedy="Put it into a list.")
        if not truncate:
            return self.backend.embed(texts)
        from langwright.inference import Embedder

        if not isinstance(self.backend, Embedder):
            raise Unsupported(
                f"'{self.name}' does not cut texts that are too long.",
                remedy="Leave truncate out, and shorten the texts.",
            )
        return self.backend.embed(texts, truncate=True)

    def inspect(self, text: str, **options: Unpack[InspectOptions]) -> Inspection:
        """Look into the model while it reads `text` (raw, no template): surprisal and entropy of
        each token, the logit lens, attention, the effect of single heads and layers; the options
        are those of `InspectOptions`.

        Raises as `inference.inspect` does, and `Unsupported` where another program runs the model.
        """
        from langwright.inference import Engine, inspect

        inside = self._inside()
        # Its hooks hang on the module that answers others meanwhile.
        with self.backend.alone() if isinstance(self.backend, Engine) else nullcontext():
            return inspect(inside, text, **options)

    def score(self, text: str, window: int | None = None, stride: int | None = None) -> Score:
        """How well the model foresees `text`, read in windows of `window` tokens (default: the
        model's own) that begin `stride` tokens apart (default: half a window).

        Raises `BadInput` when no token can be scored, as in an empty text.
        """
        if window is None:
            window = self.backend.capabilities().context_length or 1024
        if stride is None:
            stride = max(1, window // 2)
        (scored,) = self.backend.score([text], window=window, stride=stride)
        logprobs = [value for value in scored.logprobs if value is not None]
        if not logprobs:
            raise BadInput(
                f"The text has {len(scored.token_ids)} tokens, and none of them can be scored: "
                "each needs something before it.",
                remedy="Give a longer text.",
            )
        nats = -math.fsum(logprobs)
        if not math.isfinite(nats):
            raise Damaged(
                f"'{self.name}' gives probabilities that are no numbers: its weights are damaged, "
                "or its training diverged.",
                remedy="Use an earlier checkpoint, or train with a lower learning_rate.",
            )
        return Score(
            tokens=len(scored.token_ids),
            scored_tokens=len(logprobs),
            bytes=scored.bytes,
            nll_nats_sum=nats,
            bits_per_byte=nats / math.log(2) / scored.bytes,
            perplexity=math.exp(nats / len(logprobs)),
            window=window,
            stride=stride,
        )


def _unbroken(events: Iterator[Event]) -> Iterator[Event]:
    """Raise what an answer broke off for."""
    for event in events:
        yield event
        if event.error is not None:
            raise Unsupported(event.error, remedy="Ask for something simpler.")
