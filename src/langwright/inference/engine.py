"""The own engine: a Backend over a decoder, several requests at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from langwright.backend import (
    Capabilities,
    Event,
    FinishReason,
    Likelihood,
    NextToken,
    Request,
    Scored,
    Usage,
)
from langwright.errors import BadInput, Unsupported
from langwright.inference.branches import likelihoods
from langwright.inference.sampler import Sampler
from langwright.inference.scoring import score_rows
from langwright.inference.stream import TextStream
from langwright.model import KVCache, ModelBundle

MAX_SLOTS = 16


@dataclass
class _Live:
    """A request that holds a slot."""

    request: Request
    prompt: list[int]
    limit: int
    slot: int
    sampler: Sampler
    stream: TextStream
    count: int = 0
    next_id: int = -1
    reason: FinishReason | None = None


class Engine:
    """Generates, scores and tokenizes with one model held in memory.

    Requests share decode steps in up to 16 slots; a free slot takes the next request at once.
    """

    def __init__(self, bundle: ModelBundle, name: str = "model") -> None:
        self.bundle = bundle
        self._name = name
        self._aborted: set[str] = set()

    @property
    def name(self) -> str:
        return self._name

    def capabilities(self) -> Capabilities:
        return Capabilities(
            score=True,
            likelihood=True,
            tokenize=True,
            chat=self.bundle.template is not None,
            context_length=self._window,
        )

    def tokenize(self, text: str) -> list[int]:
        return self.bundle.tokenizer.encode(text)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise Unsupported(f"'{self._name}' gives no embeddings.", remedy="Use an encoder.")

    def abort(self, request_id: str) -> None:
        self._aborted.add(request_id)

    @property
    def _window(self) -> int:
        return self.bundle.module.shape.context_length

    def prompt_ids(self, request: Request) -> list[int]:
        """The ids that the model reads for a request. Raises when they do not fit its window."""
        if request.messages is not None:
            if self.bundle.template is None:
                raise Unsupported(
                    f"'{self._name}' has no chat template.",
                    remedy="Use `generate`, or fine-tune the model for chat first.",
                )
            ids = self.bundle.template.encode(request.messages, add_generation_prompt=True)
        elif request.text is not None:
            ids = self._with_start(self.tokenize(request.text))
        else:
            ids = list(request.token_ids or ())
        if not ids:
            raise BadInput(
                "The prompt is empty, and this model has no token to begin with.",
                remedy="Give at least one character.",
            )
        known = self.bundle.tokenizer.vocab_size
        if not all(0 <= token < known for token in ids):
            raise BadInput(
                f"The prompt has token ids outside 0 … {known - 1}.",
                remedy="Use ids of this model's tokenizer.",
            )
        if len(ids) >= self._window:
            raise BadInput(
                f"The prompt has {len(ids)} tokens; the model's window is {self._window} and must "
                "hold the answer too.",
                remedy="Shorten the prompt.",
            )
        return ids

    def _with_start(self, ids: list[int]) -> list[int]:
        return ids if self.bundle.start_id is None else [self.bundle.start_id, *ids]

    def generate(self, requests: Sequence[Request]) -> Iterator[Event]:
        """Answer all requests. All prompts are checked before the first token is drawn."""
        ids = {request.id for request in requests}
        if len(ids) < len(requests):
            raise BadInput(
                "Two requests have the same id, so their events could not be told apart.",
                remedy="Give each its own.",
            )
        waiting = []
        for request in requests:
            prompt = self.prompt_ids(request)
            room = self._window - len(prompt)
            waiting.append((request, prompt, min(request.max_tokens or room, room)))
        if not waiting:
            return
        longest = max(len(prompt) + limit for _, prompt, limit in waiting)
        module = self.bundle.module
        slots = min(MAX_SLOTS, len(waiting))
        cache = KVCache(module.shape, slots, longest, module.dtype)
        try:
            yield from self._answer(waiting, cache)
        finally:
            self._aborted.difference_update(ids)

    def _answer(
        self, waiting: list[tuple[Request, list[int], int]], cache: KVCache
    ) -> Iterator[Event]:
        free, live = list(range(len(cache.lengths))), list[_Live]()
        waiting.reverse()
        while waiting or live:
            while free and waiting:
                request, prompt, limit = waiting.pop()
                stream = TextStream(self.bundle.tokenizer, request.stop)
                sampler = Sampler(request.sampling)
                one = _Live(request, prompt, limit, free.pop(0), sampler, stream)
                cache.lengths[one.slot] = 0
                logits = self._step(torch.tensor([prompt]), cache, [one.slot])
                yield self._take(one, logits[0])
                live.append(one)
            live, ended = _part(live)
            free = sorted(free + [one.slot for one in ended])
            if live:
                live.sort(key=lambda one: one.slot)
                ids = torch.tensor([[one.next_id] for one in live])
                logits = self._step(ids, cache, [one.slot for one in live])
                for one, row in zip(live, logits, strict=True):
                    yield self._take(one, row)

    @torch.inference_mode()
    def _step(self, ids_BT: Tensor, cache: KVCache, slots: list[int]) -> Tensor:
        """Logits of the next token, [B, V]; rows of the table that are no token are ruled out."""
        module = self.bundle.module
        hidden = module.hidden(ids_BT, cache.rows(slots, ids_BT.shape[1]))
        logits = module.head(hidden[:, -1]).float()
        logits[:, self.bundle.tokenizer.vocab_size :] = float("-inf")
        return logits

    def _take(self, one: _Live, logits_V: Tensor) -> Event:
        """Draw one token for a request and say what came of it."""
        request = one.request
        if request.id in self._aborted:
            self._aborted.discard(request.id)
            one.reason = "abort"
            return Event(request.id, one.stream.finish(), (), one.reason, self._usage(one))
        token = one.sampler.draw(logits_V)
        one.next_id, one.count = token, one.count + 1
        text = "" if token in self.bundle.end_ids else one.stream.feed(token)
        if token in self.bundle.end_ids or one.stream.stopped:
            one.reason = "stop"
        elif one.count >= one.limit:
            one.reason = "length"
        if one.reason is None:
            return Event(request.id, text, (token,))
        text += one.stream.finish()
        return Event(request.id, text, (token,), one.reason, self._usage(one))

    @staticmethod
    def _usage(one: _Live) -> Usage:
        return Usage(len(one.prompt), one.count)

    @torch.inference_mode()
    def next_tokens(self, text: str, k: int = 5) -> list[NextToken]:
        """The `k` likeliest continuations of `text` (raw, no template)."""
        if k < 1:
            raise BadInput(f"k is {k}.", remedy="Ask for at least 1 token.")
        ids = self.prompt_ids(Request(text=text))
        module, tokenizer = self.bundle.module, self.bundle.tokenizer
        last_E = module.hidden(torch.tensor([ids]))[0, -1]
        logits = module.head(last_E)[: tokenizer.vocab_size].float()
        top = logits.log_softmax(-1).topk(min(k, logits.numel()))
        return [
            NextToken(index, tokenizer.decode([index]), float(torch.tensor(value).exp()), value)
            for index, value in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]

    def score(
        self, texts: Sequence[str], *, window: int | None = None, stride: int | None = None
    ) -> list[Scored]:
        """Log-probabilities of the tokens of each text; window and stride are in tokens."""
        window = self._window if window is None else window
        stride = max(1, window // 2) if stride is None else stride
        if not 2 <= window <= self._window or not 1 <= stride < window:
            raise BadInput(
                f"window is {window} and stride {stride}; the model's window is {self._window}.",
                remedy="Take 2 <= window <= the model's, and 1 <= stride < window.",
            )
        rows = [self._with_start(self.tokenize(text)) for text in texts]
        scores = score_rows(self.bundle.module, rows, window, stride)
        skip = 0 if self.bundle.start_id is None else 1
        results = []
        for row, values in zip(rows, scores, strict=True):
            counted = [
                len(self.bundle.tokenizer.token_bytes(token))
                for token, value in zip(row[skip:], values[skip:], strict=True)
                if value is not None
            ]
            results.append(Scored(tuple(row[skip:]), tuple(values[skip:]), sum(counted)))
        return results

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        """See `Backend.likelihoods`; pairs of one context read it once."""
        cut = [self._cut(*pair) for pair in pairs]
        found = likelihoods(self.bundle.module, cut, self.bundle.tokenizer.vocab_size)
        return [
            Likelihood(logprob, greedy, len(ids), len(continuation.encode()))
            for (logprob, greedy), (_, ids), (_, continuation) in zip(
                found, cut, pairs, strict=True
            )
        ]

    def _cut(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """The ids of both, as lm-eval cuts them."""
        bare = context.rstrip()
        continuation = context[len(bare) :] + continuation
        before = self._with_start(self.tokenize(bare))
        ids = self._with_start(self.tokenize(bare + continuation))[len(before) :]
        # A model without a start token has seen its end token before each document.
        before = before or [min(self.bundle.end_ids)]
        if not ids:
            raise BadInput("A continuation has no tokens.", remedy="Give at least one character.")
        if len(before) + len(ids) > self._window:
            raise BadInput(
                f"Context and continuation are {len(before) + len(ids)} tokens; the model's window "
                f"is {self._window}.",
                remedy="Shorten the context, with fewer examples perhaps.",
            )
        return before, ids


def _part(live: list[_Live]) -> tuple[list[_Live], list[_Live]]:
    return [one for one in live if one.reason is None], [one for one in live if one.reason]
