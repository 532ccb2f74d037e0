"""transformers as a Backend, for the families of Hugging Face folders that we do not have."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from langwright.backend import (
    OPTIONS,
    Capabilities,
    Dtype,
    Event,
    Likelihood,
    NextToken,
    PartialBackend,
    Request,
    Scored,
)
from langwright.errors import BadInput, Unsupported
from langwright.inference.answer import Answer, answers_to
from langwright.inference.reader import Reader, reads
from langwright.model.folder import text_of_folder

_HONOURED = OPTIONS - {"adapter"}
TOGETHER = 16
"""Answers that are decoded together; their prompts must be equally long."""
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "auto": "auto"}


class Transformers(PartialBackend):
    """Generates and scores with a folder that transformers reads: safetensors only, and no code of
    the folder's is run. Tokenizer, template and sampling are ours, so that all options of a request
    but adapters are honoured.

    Raises `Unsupported` for what transformers or our tokenizer does not read.
    """

    kind = "transformers computes it"

    def __init__(self, path: Path, name: str = "model", *, dtype: Dtype = "float32") -> None:
        super().__init__(name)
        if dtype not in _DTYPES:
            raise BadInput(
                f"With transformers weights are not held in {dtype}.",
                remedy=f"Take one of {', '.join(_DTYPES)}.",
            )
        library = _package()
        if not sorted(path.glob("*.safetensors")):
            raise Unsupported(
                f"'{name}' has no safetensors file, and other files of weights are not opened.",
                remedy="Give a Hugging Face folder with model.safetensors.",
            )
        try:
            self._model = library.AutoModelForCausalLM.from_pretrained(
                path,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                dtype=_DTYPES[dtype],
            ).eval()
        except (ValueError, OSError, KeyError, ImportError) as error:
            said = str(error).strip().partition("\n")[0]
            raise Unsupported(
                f"transformers does not read '{name}': {said}", remedy="Use another model."
            ) from None
        longest = getattr(self._model.config, "max_position_embeddings", None) or 4096
        self.reader = Reader(name, text_of_folder(path), int(longest))
        self._aborted: set[str] = set()

    def capabilities(self) -> Capabilities:
        return Capabilities(
            score=True,
            likelihood=True,
            tokenize=True,
            logprobs=True,
            constraint=True,
            penalties=True,
            chat=self.reader.parts.template is not None,
            context_length=self.reader.window,
        )

    def tokenize(self, text: str) -> list[int]:
        return self.reader.parts.tokenizer.encode(text)

    def abort(self, request_id: str) -> None:
        self._aborted.add(request_id)

    def generate(self, requests: Sequence[Request]) -> Iterator[Event]:
        """Answer all requests, those with equally long prompts together. All are checked first."""
        self.check(requests, _HONOURED)
        inbox: deque[Event] = deque()
        answers = [one for request in requests for one in answers_to(request, self.reader, inbox)]
        return self._events(answers, inbox, {request.id for request in requests})

    def _events(self, answers: list[Answer], inbox: deque[Event], ids: set[str]) -> Iterator[Event]:
        try:
            while answers:
                length = len(answers[0].ids)
                group = [one for one in answers if len(one.ids) == length][:TOGETHER]
                answers = [one for one in answers if one not in group]
                for _ in self._steps(group):
                    while inbox:
                        yield inbox.popleft()
        finally:
            self._aborted -= ids

    def _steps(self, group: list[Answer]) -> Iterator[None]:
        """Answer a group; a step each."""
        ids_BT, cache = torch.tensor([one.ids for one in group]), None
        while True:
            for one in group:
                if one.reason is None and one.request.id in self._aborted:
                    one.end("abort")
                elif one.reason is None and one.late(time.monotonic()):
                    one.end("deadline")
            yield
            if all(one.reason is not None for one in group):
                return
            with torch.inference_mode():
                told = self._model(input_ids=ids_BT, past_key_values=cache, use_cache=True)
                logits_BV = self._only_tokens(told.logits[:, -1])
                for one, row in zip(group, logits_BV, strict=True):
                    if one.reason is None:
                        one.draw(row)
            cache = getattr(told, "past_key_values", None)
            # A row that has ended goes on beside the others; nobody hears of it.
            drawn = torch.tensor([[one.ids[-1]] for one in group])
            ids_BT = drawn if cache is not None else torch.cat([ids_BT, drawn], 1)

    def _only_tokens(self, logits: Tensor) -> Tensor:
        """In float32, without the rows of the table that are no token."""
        logits = logits.float().clone()
        logits[..., self.reader.parts.tokenizer.vocab_size :] = float("-inf")
        return logits

    @torch.inference_mode()
    def _logits(self, ids: Sequence[int]) -> Tensor:
        """[T, V]"""
        logits: Tensor = self._model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        return logits.float()

    def next_tokens(self, text: str, k: int = 5) -> list[NextToken]:
        return self.reader.candidates(text, k, self._likeliest)

    def _likeliest(self, ids: list[int], k: int) -> list[tuple[int, float]]:
        logprobs = self._only_tokens(self._logits(ids)[-1]).log_softmax(-1)
        top = logprobs.topk(min(k, self.reader.parts.tokenizer.vocab_size))
        return list(zip(top.indices.tolist(), top.values.tolist(), strict=True))

    def score(
        self, texts: Sequence[str], *, window: int | None = None, stride: int | None = None
    ) -> list[Scored]:
        window, stride = self.reader.windows(window, stride)
        found = []
        for text in texts:
            row = self.reader.with_start(self.tokenize(text))
            values: list[float | None] = [None] * len(row)
            for start, done, end in reads(len(row), window, stride):
                logprobs = self._logits(row[start : end - 1]).log_softmax(-1)
                told = logprobs[done - start - 1 :].gather(-1, torch.tensor(row[done:end])[:, None])
                values[done:end] = told[:, 0].tolist()
            found.append(self.reader.scored(row, values))
        return found

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        return self.reader.likelihoods(pairs, lambda cut: [self._likelihood(*one) for one in cut])

    def _likelihood(self, before: list[int], ids: list[int]) -> tuple[float, bool]:
        logits = self._only_tokens(self._logits([*before, *ids[:-1]])[len(before) - 1 :])
        wanted = torch.tensor(ids)
        told = logits.log_softmax(-1).gather(-1, wanted[:, None])
        return float(told.double().sum()), bool((logits.argmax(-1) == wanted).all())


def _package() -> Any:
    try:
        library = import_module("transformers")
    except ImportError:
        raise Unsupported(
            "transformers is not installed.", remedy="pip install 'langwright[backends]'"
        ) from None
    library.logging.set_verbosity_error()
    return library
