"""llama.cpp as a Backend, in this process, for GGUF files.

The server inside xllamacpp is called directly; it gets token ids, never text, so that tokenizer and
chat template are the ones that this program uses everywhere.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from langwright.backend import (
    Capabilities,
    Event,
    Likelihood,
    NextToken,
    PartialBackend,
    Request,
    Scored,
)
from langwright.errors import BadInput, Unsupported
from langwright.inference.reader import Pair, Reader, reads
from langwright.model.gguf_file import GGUFFile
from langwright.model.gguf_model import text_of
from langwright.providers.interleave import interleave
from langwright.providers.llama_answer import Answer, spread_logprobs
from langwright.providers.llama_server import open_server

CONTEXT = 4096
"""Tokens of a slot, unless the model reads fewer or more are asked for."""

HONOURED = frozenset(
    {
        "stop", "n", "temperature", "top_k", "top_p", "min_p", "order", "seed", "logit_bias",
        "repetition_penalty", "deadline_s", "min_tokens", "logprobs",
    }
)  # fmt: skip
_ALL = 2**31 - 1
_TOLD = {"verbose": True, "return_tokens": True}
_STREAM = {"stream": True, "timings_per_token": True, "return_progress": True}


class LlamaCpp(PartialBackend):
    """Generates and scores with one GGUF file. `slots` requests are answered at once, each with
    room for `context` tokens (default: 4096, or fewer where the model reads fewer).

    Refused, since llama.cpp means something else by them or has nothing of the kind: frequency and
    presence penalties (it counts the prompt too), constraints, adapters, `min_tokens` but for
    `max_tokens` itself, and `logprobs` where the filters leave a distribution that it does not tell
    (any but temperature 0, or 1 with nothing else).

    While it streams it does not tell the ids of tokens that end within a character. They are found
    by their bytes, which has one solution but in rare cases; bytes that are no character at all are
    drawn again.
    """

    kind = "llama.cpp has nothing that means the same"

    def __init__(
        self, path: Path, name: str = "model", *, slots: int = 4, context: int | None = None
    ) -> None:
        super().__init__(name)
        file = GGUFFile(path)
        family = file.fields.get("general.architecture")
        longest = int(file.fields.get(f"{family}.context_length", CONTEXT))
        if context is not None and context > longest:
            raise BadInput(
                f"The context is {context} tokens; the model reads {longest}.",
                remedy="Ask for fewer.",
            )
        window = context or min(longest, CONTEXT)
        more = f"Shorten the prompt, or load it as LlamaCpp(path, context=N), up to {longest}."
        self._rows = len(file.fields["tokenizer.ggml.tokens"])
        self.reader = Reader(name, text_of(file), window, more)
        self.slots = slots
        self._server = open_server(path, slots, window)
        self._aborted: set[str] = set()

    def capabilities(self) -> Capabilities:
        return Capabilities(
            score=True,
            likelihood=True,
            tokenize=True,
            logprobs=True,
            chat=self.reader.parts.template is not None,
            context_length=self.reader.window,
        )

    def tokenize(self, text: str) -> list[int]:
        return self.reader.parts.tokenizer.encode(text)

    def abort(self, request_id: str) -> None:
        self._aborted.add(request_id)

    def generate(self, requests: Sequence[Request]) -> Iterator[Event]:
        """Answer all requests. All are checked before the first token is drawn."""
        self.check(requests, HONOURED)
        answers = []
        for request in requests:
            prompt = self.reader.prompt_ids(request)
            limit = self.reader.limit(request, prompt)
            self._check_exact(request, limit)
            answers += [
                Answer(request, index, prompt, limit, self.reader.parts, self._aborted)
                for index in range(request.n)
            ]
        return self._events(answers, {request.id for request in requests})

    def _events(self, answers: list[Answer], ids: set[str]) -> Iterator[Event]:
        try:
            jobs = [self._job(answer) for answer in answers]
            yield from interleave(jobs, self.slots)
        finally:
            self._aborted -= ids

    def _job(self, answer: Answer) -> Callable[[Callable[[Event], bool]], None]:
        def job(emit: Callable[[Event], bool]) -> None:
            answer.begin(emit, self._distribution)
            while not answer.over():
                asked = self._asked(answer)
                answer.go_on()
                self._server.handle_completions(asked | _TOLD | _STREAM, answer.chunk)
                if answer.error is not None:
                    raise _error(answer.error)
                if answer.lost:
                    again = asked | {"prompt": answer.ids, "n_predict": answer.lost}
                    answer.take(_tokens(self._complete(again)))
            answer.end()

        return job

    def _check_exact(self, request: Request, limit: int) -> None:
        """Refuse what llama.cpp would answer otherwise than asked."""
        if request.min_tokens not in (0, request.max_tokens):
            raise self.cannot("does not honour min_tokens, but for max_tokens itself")
        told = request.sampling
        plain = told.temperature == 0 or (
            told.temperature == 1
            and (told.top_k, told.top_p, told.min_p) == (0, 1, 0)
            and told.repetition_penalty == 1
            and not told.logit_bias
        )
        if request.logprobs is not None and not plain:
            raise self.cannot("does not tell the processed log-probabilities of this sampling")

    def _asked(self, answer: Answer) -> dict[str, Any]:
        request, how = answer.request, answer.request.sampling
        bias: list[list[Any]] = [[token, value] for token, value in how.logit_bias.items()]
        bias += [[token, False] for token in self._no_tokens]
        seed = secrets.randbits(32) if how.seed is None else how.seed + answer.index
        seed += answer.count * 2**16  # or what goes on would be drawn by the same numbers again
        asked: dict[str, Any] = {
            "prompt": answer.ids,
            "n_predict": answer.room,
            "temperature": how.temperature,
            "top_k": how.top_k,
            "top_p": how.top_p,
            "min_p": how.min_p,
            "samplers": ["penalties", *how.order],
            "repeat_penalty": how.repetition_penalty,
            "repeat_last_n": self.reader.window,
            "seed": seed % (2**32 - 1),  # the last means that it draws one itself
            "logit_bias": bias,
            "ignore_eos": request.min_tokens > 0,
            "cache_prompt": True,
        }
        if request.logprobs is not None:
            asked["n_probs"] = self._count(request.logprobs)
        return asked

    @cached_property
    def _no_tokens(self) -> range:
        """Rows of the table that are no token."""
        return range(self._vocabulary, self._rows)

    @property
    def _vocabulary(self) -> int:
        return self.reader.parts.tokenizer.vocab_size

    def _count(self, count: int) -> int:
        """How many alternatives to ask for: all, where some that are no token must be left out."""
        return _ALL if self._no_tokens else max(1, count)

    def next_tokens(self, text: str, k: int = 5) -> list[NextToken]:
        return self.reader.candidates(text, k, self._distribution)

    def score(
        self, texts: Sequence[str], *, window: int | None = None, stride: int | None = None
    ) -> list[Scored]:
        """See `Engine.score`. It takes a step for each token, since llama.cpp tells of no more."""
        window, stride = self.reader.windows(window, stride)
        rows = [self.reader.with_start(self.tokenize(text)) for text in texts]

        def values(row: list[int], slot: int) -> list[float | None]:
            found: list[float | None] = [None] * len(row)
            for start, done, end in reads(len(row), window, stride):
                for place in range(done, end):
                    foretold = self._foretold(row[start:place], row[place], slot, self._rows)
                    found[place] = foretold[0]
            return found

        return list(map(self.reader.scored, rows, self._in_slots(values, rows)))

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        """See `Backend.likelihoods`. It takes a step for each token of a continuation."""

        def found(pair: Pair, slot: int) -> tuple[float, bool]:
            context, ids = pair
            told = [
                self._foretold(context + ids[:place], token, slot, self._vocabulary)
                for place, token in enumerate(ids)
            ]
            return math.fsum(value for value, _ in told), all(right for _, right in told)

        return self.reader.likelihoods(pairs, lambda cut: self._in_slots(found, cut))

    def _in_slots(self, work: Callable[[Any, int], Any], items: Sequence[Any]) -> list[Any]:
        """`work` on all items, each slot on one at a time."""
        from concurrent.futures import ThreadPoolExecutor

        free: SimpleQueue[int] = SimpleQueue()
        for slot in range(self.slots):
            free.put(slot)

        def one(item: Any) -> Any:
            slot = free.get()
            try:
                return work(item, slot)
            finally:
                free.put(slot)

        with ThreadPoolExecutor(self.slots) as pool:
            return list(pool.map(one, items))

    def _foretold(self, ids: list[int], token: int, slot: int, rows: int) -> tuple[float, bool]:
        """The log-probability of `token` after `ids` among the first `rows` of the table, and
        whether it is the likeliest."""
        if rows == self._rows:
            told = self._forced(ids, token, 1, slot)
            if told is not None:
                return float(told["logprob"]), told["top_logprobs"][0]["id"] == token
        found = self._distribution(ids, _ALL, rows, slot)
        return dict(found)[token], found[0][0] == token

    def _distribution(
        self, ids: list[int], count: int, rows: int | None = None, slot: int = -1
    ) -> list[tuple[int, float]]:
        """The likeliest `count` tokens after `ids`, or more."""
        told = self._forced(ids, self._letter, self._count(count), slot)
        assert told is not None, "a letter has a text"
        return spread_logprobs(told["top_logprobs"], rows or self._vocabulary)

    @cached_property
    def _letter(self) -> int:
        return self.tokenize("a")[-1]

    def _forced(self, ids: list[int], token: int, count: int, slot: int) -> dict[str, Any] | None:
        """What llama.cpp tells of the place after `ids`, where it is made to draw `token`: the
        probabilities are those before the bias. None of a token that ends within a character."""
        answer = self._complete(
            {
                "prompt": ids,
                "n_predict": 1,
                "n_probs": count,
                "logit_bias": [[token, 1e5]],
                "samplers": [],
                "id_slot": slot,
                "cache_prompt": True,
            }
        )
        logprobs = answer["choices"][0]["logprobs"]
        return logprobs["content"][0] if logprobs else None

    def _complete(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._server.handle_completions({**asked, **_TOLD})
        if "error" in answer:
            raise _error(answer["error"])
        return answer


def _tokens(answer: Mapping[str, Any]) -> list[int]:
    return list(answer["__verbose"]["tokens"])


def _error(told: Mapping[str, Any] | Exception) -> Exception:
    if isinstance(told, Exception):
        return told
    said = f"llama.cpp refuses: {told.get('message')}."
    if told.get("type") == "exceed_context_size_error":
        return BadInput(said, remedy="Shorten the prompt, or load it with a larger context.")
    return Unsupported(said, remedy="Change the request, or use the own engine.")
