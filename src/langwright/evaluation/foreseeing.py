"""How well a model foresees whole texts: perplexity and bits per byte."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from langwright.backend import Backend
from langwright.errors import BadInput, Damaged, Unsupported
from langwright.evaluation.compression import xz_bits_per_byte
from langwright.evaluation.item import Item
from langwright.evaluation.ngram import WittenBell
from langwright.evaluation.outcome import Measured, Outcome
from langwright.evaluation.task import Task
from langwright.progress import progress

DOCUMENTS_AT_ONCE = 16
ORDER = 5
"""Of the n-gram baseline: the best on English text of a megabyte."""


def foresee(backend: Backend, task: Task, items: Sequence[Item]) -> Measured:
    """Each text in windows of `window` tokens that begin `stride` tokens apart.

    `bits_per_byte` counts the bytes of the scored tokens (a model without a start token cannot
    score the first of a text); `byte_perplexity` is 2 to its power; `word_perplexity` 2 to the
    power of bits per byte times bytes per word, where words are what white space parts, as lm-eval
    counts them; `perplexity` is by token, and so not to be compared between tokenizers.

    Baselines of bits per byte: a byte n-gram of order 5 that has read the other half of the texts,
    and xz on all of them.
    """
    can = backend.capabilities()
    if not can.score:
        raise Unsupported(
            f"'{backend.name}' does not tell the probabilities of given text, which the task "
            f"'{task.name}' asks for.",
            remedy="Use a model of this machine.",
        )
    window = task.window or can.context_length or 1024
    stride = task.stride or max(1, window // 2)
    outcomes = []
    with progress(f"{backend.name} on {task.name}", len(items)) as bar:
        for start in range(0, len(items), DOCUMENTS_AT_ONCE):
            part = items[start : start + DOCUMENTS_AT_ONCE]
            texts = [item.question for item in part]
            for item, scored in zip(
                part, backend.score(texts, window=window, stride=stride), strict=True
            ):
                logprobs = [value for value in scored.logprobs if value is not None]
                if not scored.bytes:
                    raise BadInput(
                        f"Row {item.index + 1} of {task.name} has no token that can be scored.",
                        remedy="Leave out empty texts.",
                    )
                bits = -math.fsum(logprobs) / math.log(2)
                if not math.isfinite(bits):
                    raise Damaged(
                        f"'{backend.name}' gives probabilities that are no numbers.",
                        remedy="Its weights are damaged, or its training diverged.",
                    )
                words = len(re.split(r"\s+", item.question))
                size = len(item.question.encode())
                rate = bits / scored.bytes
                scores = {
                    "bits_per_byte": (bits, float(scored.bytes)),
                    "byte_perplexity": (bits, float(scored.bytes)),
                    "word_perplexity": (rate * size, float(words)),
                    "perplexity": (bits * math.log(2), float(len(logprobs))),
                }
                log = {"text": item.question, "bits": bits, "bytes": scored.bytes}
                outcomes.append(Outcome(item.index, scores, log | {"tokens": len(logprobs)}))
            bar.advance(len(part))
    texts = [item.question for item in items]
    per_word = sum(len(text.encode()) for text in texts) / sum(
        len(re.split(r"\s+", text)) for text in texts
    )
    rates = _baselines([text.encode() for text in texts])
    baselines = {
        "bits_per_byte": rates,
        "byte_perplexity": {name: 2**rate for name, rate in rates.items()},
        "word_perplexity": {name: 2 ** (rate * per_word) for name, rate in rates.items()},
    }
    return Measured(outcomes, baselines, {"window": window, "stride": stride})


def _baselines(documents: list[bytes]) -> dict[str, float]:
    rates = {}
    if len(documents) > 1:
        nats = 0.0
        for half in (0, 1):
            model = WittenBell.fit(documents[half::2], ORDER)
            nats += float(model.nll(documents[1 - half :: 2])[:, -1].sum())
        rates[f"byte {ORDER}-gram"] = nats / math.log(2) / sum(map(len, documents))
    rates["xz"] = xz_bits_per_byte(b"", b"\n".join(documents))
    return rates
