"""The own engine: a Backend over a decoder, several requests at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from threading import Condition

import torch

from langwright.backend import (
    Capabilities,
    Event,
    Likelihood,
    NextToken,
    Request,
    Scored,
)
from langwright.errors import BadInput, NotFound, Unsupported, suggest
from langwright.inference.answer import Answer, Inbox
from langwright.inference.branches import likelihoods
from langwright.inference.constraint import Grammars
from langwright.inference.decoding import Decoding
from langwright.inference.sampler import Sampler
from langwright.inference.scheduler import Scheduler
from langwright.inference.scoring import score_rows
from langwright.inference.settings import EngineSettings
from langwright.inference.speculation import Draft, Guesser, Lookup
from langwright.inference.stream import TextStream
from langwright.model import Adapters, ModelBundle


class Engine:
    """Generates, scores and tokenizes with one model held in memory.

    Several threads may use it at once: all `generate` calls that are open share its steps, so that
    a later call is answered while an earlier one still is. `adapters` are those that requests may
    name; `draft` is a smaller model of the same tokenizer, which foretells what the model says.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        name: str = "model",
        settings: EngineSettings | None = None,
        *,
        adapters: Adapters | None = None,
        draft: ModelBundle | None = None,
    ) -> None:
        self.bundle = bundle
        self.settings = settings or EngineSettings()
        self._name, self._adapters = name, adapters
        decoding = Decoding(
            bundle.module,
            bundle.tokenizer.vocab_size,
            adapters,
            deterministic=self.settings.deterministic,
            compiled=self.settings.compiled,
        )
        self._decoding = decoding
        self._scheduler = Scheduler(decoding, self.settings, self._guesser(draft))
        self._turn, self._busy = Condition(), False

    def _guesser(self, draft: ModelBundle | None) -> Guesser | None:
        # Checking several tokens at once can differ by a bit from drawing one at a time.
        if self.settings.deterministic:
            return None
        if draft is None:
            return Lookup() if self.settings.speculation == "ngram" else None
        if draft.tokenizer.fingerprint != self.bundle.tokenizer.fingerprint:
            raise BadInput(
                "The draft model has another tokenizer, so it foretells other tokens.",
                remedy="Take a smaller model of the same tokenizer.",
            )
        return Draft(Decoding(draft.module, draft.tokenizer.vocab_size))

    @property
    def name(self) -> str:
        return self._name

    def capabilities(self) -> Capabilities:
        return Capabilities(
            score=True,
            likelihood=True,
            logprobs=True,
            constraint=True,
            penalties=True,
            adapters=tuple(sorted(self._adapters.settings)) if self._adapters else (),
            tokenize=True,
            chat=self.bundle.template is not None,
            context_length=self._window,
        )

    def tokenize(self, text: str) -> list[int]:
        return self.bundle.tokenizer.encode(text)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise Unsupported(f"'{self._name}' gives no embeddings.", remedy="Use an encoder.")

    @property
    def decodes_by(self) -> str:
        """`compiled kernels`, or `torch` and why."""
        reason = self._decoding.choose()
        return "compiled kernels" if reason is None else f"torch: {reason}"

    def abort(self, request_id: str) -> None:
        for answer in self._scheduler.answers():
            if answer.request.id == request_id:
                for one in (answer, *answer.siblings):
                    one.aborted = True

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
        """Answer all requests. All are checked before the first token is drawn."""
        if len({request.id for request in requests}) < len(requests):
            raise BadInput(
                "Two requests have the same id, so their events could not be told apart.",
                remedy="Give each its own.",
            )
        inbox: Inbox = deque()
        answers = [self._answers(request, inbox) for request in requests]
        left = sum(len(group) for group in answers)
        # The first reads the prompt for the others of its request, who come behind it.
        with self._alone():
            self._scheduler.add(group[0] for group in answers)
        try:
            while left:
                self._go_on(inbox)
                while inbox:
                    event = inbox.popleft()
                    left -= event.finish_reason is not None
                    yield event
        finally:
            for group in answers:
                for one in group:
                    one.aborted = True
            with self._alone():
                self._scheduler.sweep()

    def _answers(self, request: Request, inbox: Inbox) -> list[Answer]:
        prompt = self.prompt_ids(request)
        known = set(self._adapters.settings) if self._adapters else set[str]()
        if request.adapter is not None and request.adapter not in known:
            raise NotFound(
                f"'{self._name}' holds no adapter '{request.adapter}'.",
                remedy=suggest(request.adapter, known),
            )
        vocabulary, room = self.bundle.tokenizer.vocab_size, self._window - len(prompt)
        if not all(0 <= token < vocabulary for token in request.sampling.logit_bias):
            raise BadInput(
                f"logit_bias has token ids outside 0 … {vocabulary - 1}.",
                remedy="Use ids of this model's tokenizer.",
            )
        limit = min(request.max_tokens or room, room)
        answers = [
            Answer(
                request,
                index,
                list(prompt),
                limit,
                Sampler(request.sampling, prompt, index),
                TextStream(self.bundle.tokenizer, request.stop),
                self.bundle.end_ids,
                inbox,
                self._grammars.matcher(request.constraint) if request.constraint else None,
            )
            for index in range(request.n)
        ]
        answers[0].siblings = answers[1:]
        return answers

    @cached_property
    def _grammars(self) -> Grammars:
        return Grammars(self.bundle.tokenizer, self.bundle.end_ids)

    def _go_on(self, inbox: Inbox) -> None:
        """Step until there is an event, or let another thread do it."""
        while not inbox:
            with self._turn:
                if self._busy:
                    self._turn.wait()
                    continue
            with self._alone():
                if not inbox:
                    self._scheduler.step()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other thread uses the model."""
        with self._turn:
            self._turn.wait_for(lambda: not self._busy)
            self._busy = True
        try:
            yield
        finally:
            with self._turn:
                self._busy = False
                self._turn.notify_all()

    @torch.inference_mode()
    def next_tokens(self, text: str, k: int = 5) -> list[NextToken]:
        """The `k` likeliest continuations of `text` (raw, no template)."""
        if k < 1:
            raise BadInput(f"k is {k}.", remedy="Ask for at least 1 token.")
        ids = self.prompt_ids(Request(text=text))
        module, tokenizer = self.bundle.module, self.bundle.tokenizer
        with self._alone():
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
        with self._alone():
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
        with self._alone():
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
