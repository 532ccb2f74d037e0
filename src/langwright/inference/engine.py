"""The own engine: a Backend over a decoder, several requests at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from langwright.inference.answer import Answer, Inbox, answers_to
from langwright.inference.branches import likelihoods
from langwright.inference.decoding import Decoding
from langwright.inference.memory import memory_for
from langwright.inference.reader import Pair, Reader
from langwright.inference.scheduler import Scheduler
from langwright.inference.scoring import score_rows
from langwright.inference.settings import EngineSettings
from langwright.inference.speculation import Draft, Guesser, Lookup
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
        self.reader = Reader(name, bundle.text, bundle.module.shape.context_length)
        self._decoding = Decoding(
            bundle.module,
            bundle.tokenizer.vocab_size,
            adapters,
            deterministic=self.settings.deterministic,
            compiled=self.settings.compiled,
        )
        self._memory = memory_for(bundle.module, self.settings)
        self._scheduler = Scheduler(
            self._decoding, self.settings, self._guesser(draft), self._memory
        )
        self._open: list[list[Answer]] = []
        self._turn, self._busy = Condition(), False

    def _guesser(self, draft: ModelBundle | None) -> Guesser | None:
        if draft is None:
            # Checked by torch, several tokens at once can differ by a bit from one at a time: then
            # an answer would depend on when guessing was faster.
            exact = self._decoding.choose() is None
            return Lookup() if exact and self.settings.speculation == "ngram" else None
        if draft.tokenizer.fingerprint != self.bundle.tokenizer.fingerprint:
            raise BadInput(
                "The draft model has another tokenizer, so it foretells other tokens.",
                remedy="Take a smaller model of the same tokenizer.",
            )
        if self.settings.deterministic and (reason := self._decoding.choose()) is not None:
            raise Unsupported(
                f"A draft model and deterministic mode go together by compiled kernels only: "
                f"{reason}.",
                remedy="Leave one of them out.",
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
            chat=self.reader.parts.template is not None,
            context_length=self.reader.window,
            tools=bool(self.reader.form and self.reader.form.calls),
            think=bool(self.reader.parts.template and self.reader.parts.template.may_think),
            at_once=self.settings.max_slots,
        )

    def tokenize(self, text: str) -> list[int]:
        return self.reader.parts.tokenizer.encode(text)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise Unsupported(f"'{self._name}' gives no embeddings.", remedy="Use an encoder.")

    @property
    def decodes_by(self) -> str:
        """`compiled kernels`, or `torch` and why."""
        reason = self._decoding.choose()
        return "compiled kernels" if reason is None else f"torch: {reason}"

    def abort(self, request_id: str) -> None:
        for group in list(self._open):
            for answer in group:
                answer.aborted = answer.aborted or answer.request.id == request_id

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
        with self.alone():
            for group in answers:
                self._memory.check(group[0])
        self._open += answers
        try:
            # The first reads the prompt for the others of its request, who come behind it.
            with self.alone():
                self._scheduler.add(group[0] for group in answers)
            while left:
                self._go_on(inbox)
                while inbox:
                    event = inbox.popleft()
                    left -= event.finish_reason is not None
                    yield event
        finally:
            for group in answers:
                self._open.remove(group)
                for one in group:
                    one.aborted = True
            with self.alone():
                self._scheduler.sweep()

    def _answers(self, request: Request, inbox: Inbox) -> list[Answer]:
        known = set(self._adapters.settings) if self._adapters else set[str]()
        if request.adapter is not None and request.adapter not in known:
            raise NotFound(
                f"'{self._name}' holds no adapter '{request.adapter}'.",
                remedy=suggest(request.adapter, known),
            )
        answers = answers_to(request, self.reader, inbox)
        answers[0].siblings = answers[1:]
        return answers

    def _go_on(self, inbox: Inbox) -> None:
        """Step until there is an event, or let another thread do it."""
        while not inbox:
            with self._turn:
                if self._busy:
                    self._turn.wait()
                    continue
            with self.alone():
                if not inbox:
                    self._scheduler.step()

    @contextmanager
    def alone(self) -> Iterator[None]:
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

    def next_tokens(self, text: str, k: int = 5) -> list[NextToken]:
        """The `k` likeliest continuations of `text` (raw, no template)."""
        return self.reader.candidates(text, k, self._likeliest)

    @torch.inference_mode()
    def _likeliest(self, ids: list[int], k: int) -> list[tuple[int, float]]:
        module, vocabulary = self.bundle.module, self.reader.parts.tokenizer.vocab_size
        with self.alone():
            hidden = module.hidden(torch.tensor([ids], device=module.device))
            logits = module.head(hidden[0, -1])[:vocabulary].float()
        top = logits.log_softmax(-1).topk(min(k, vocabulary))
        return list(zip(top.indices.tolist(), top.values.tolist(), strict=True))

    def score(
        self, texts: Sequence[str], *, window: int | None = None, stride: int | None = None
    ) -> list[Scored]:
        """Log-probabilities of the tokens of each text; window and stride are in tokens."""
        window, stride = self.reader.windows(window, stride)
        rows = [self.reader.with_start(self.tokenize(text)) for text in texts]
        with self.alone():
            scores = score_rows(self.bundle.module, rows, window, stride)
        return list(map(self.reader.scored, rows, scores))

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        """See `Backend.likelihoods`; what pairs have in common is read once."""
        return self.reader.likelihoods(pairs, self._likelihoods)

    def _likelihoods(self, pairs: list[Pair]) -> list[tuple[float, bool]]:
        with self.alone():
            return likelihoods(self.bundle.module, pairs, self.reader.parts.tokenizer.vocab_size)
