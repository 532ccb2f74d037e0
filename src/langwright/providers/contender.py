"""One contender of `bench`, measured in a process of its own: its memory and threads are its own.

Run as `python -m langwright.providers.contender ORDER`, where ORDER is the JSON of an `Order`; the
answer is one line of JSON on standard output.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from langwright.backend import Backend, Device, Dtype, Event, Request, Sampling
from langwright.errors import LangwrightError, Unsupported
from langwright.store import Store

SHARED = 400
"""Tokens of the prefix that two prompts share."""
_TEXT = """
the of and to in is was for on that by with from at his it an as are this be which were
had has but not have their one also its new first two after he her they who been other
when time during there into all she would more year over some only can most between
years about made up later city world state part war many three people than under name
area made work small large house light water river mountain paper machine number letter
garden winter summer engine bridge music history language science question answer
station village island captain soldier teacher doctor market money
"""
_WORDS = _TEXT.split()


@dataclass(frozen=True)
class Order:
    """What to measure: prompts of `prompt_tokens`, answers of `tokens`."""

    model: str
    backend: str
    dtype: Dtype
    device: Device
    concurrency: tuple[int, ...]
    prompt_tokens: int
    tokens: int
    seed: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        values = json.loads(text)
        return cls(**values | {"concurrency": tuple(values["concurrency"])})


@dataclass
class Told:
    """The events of one request with the seconds at which they came."""

    times: list[float]
    counts: list[int]
    last: Event | None = None

    @property
    def completion_tokens(self) -> int:
        usage = self.last.usage if self.last else None
        return usage.completion_tokens if usage else sum(self.counts)

    @property
    def prompt_tokens(self) -> int | None:
        usage = self.last.usage if self.last else None
        return usage.prompt_tokens if usage else None


class Contender:
    """A back end with prompts for it. Prompts are drawn at random, so that none begins like another
    and no prefix cache helps where it should not."""

    def __init__(self, backend: Backend, seed: int) -> None:
        self.backend = backend
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._ids: list[int] | None = None
        if backend.capabilities().tokenize:
            self._ids = sorted(set(backend.tokenize(" ".join(_WORDS))))
        self._plain = False  # min_tokens was refused

    def prompt(self, length: int) -> list[int]:
        """`length` random tokens; where the back end takes only text, random words stand for
        tokens."""
        choices: Sequence[int] = self._ids if self._ids else range(len(_WORDS))
        return self._random.choices(choices, k=length)

    def ask(self, prompts: Iterable[Sequence[int]], tokens: int) -> tuple[list[Told], float]:
        """Answer all prompts at once: what each was told, and the seconds in all."""
        requests = [self._request(prompt, tokens, number) for number, prompt in enumerate(prompts)]
        told = {request.id: Told([], []) for request in requests}
        start = time.perf_counter()
        try:
            for event in self.backend.generate(requests):
                one = told[event.request_id]
                if event.error is not None:
                    raise Unsupported(
                        f"The answer broke off: {event.error}", remedy="Try smaller sizes."
                    )
                one.last = event
                # A back end that tells no ids tells a token by its text.
                count = len(event.token_ids) or int(bool(event.text))
                if count:
                    one.times.append(time.perf_counter() - start)
                    one.counts.append(count)
        except Unsupported as error:
            if self._plain or "min_tokens" not in error.message:
                raise
            self._plain = True
            return self.ask(prompts, tokens)
        return [told[request.id] for request in requests], time.perf_counter() - start

    def _request(self, prompt: Sequence[int], tokens: int, number: int) -> Request:
        sampling = Sampling(temperature=1.0, seed=number)
        least = 0 if self._plain else tokens
        if self._ids is None:
            words = " ".join(_WORDS[index] for index in prompt)
            return Request(text=words, max_tokens=tokens, min_tokens=least, sampling=sampling)
        return Request(token_ids=prompt, max_tokens=tokens, min_tokens=least, sampling=sampling)


def measure(contender: Contender, order: Order) -> dict[str, Any]:
    """All figures but those of loading and memory; seconds, and tokens a second."""
    length = order.prompt_tokens
    contender.ask([contender.prompt(min(16, length))], 4)  # warms up

    (first,), _ = contender.ask([contender.prompt(length)], 1)
    read = first.prompt_tokens or length
    shared = min(SHARED, max(1, length - 8))
    prefix = contender.prompt(shared)
    contender.ask([prefix + contender.prompt(length - shared)], 1)
    (second,), _ = contender.ask([prefix + contender.prompt(length - shared)], 1)

    rows, gaps = [], list[float]()
    for number in order.concurrency:
        told, wall = contender.ask([contender.prompt(length) for _ in range(number)], order.tokens)
        if number == 1:
            gaps = _gaps(told[0])
        total = sum(one.completion_tokens for one in told)
        rows.append(
            {
                "concurrency": number,
                "decode_tokens_per_s": _steady(told),
                "total_tokens_per_s": total / wall,
            }
        )
    gaps = gaps or _gaps(contender.ask([contender.prompt(length)], order.tokens)[0][0])
    return {
        "first_token_s": first.times[0],
        "first_token_shared_prefix_s": second.times[0],
        "shared_prefix_tokens": shared,
        "prefill_tokens_per_s": read / first.times[0],
        "inter_token_s": statistics.median(gaps) if gaps else None,
        "inter_token_p95_s": _p95(gaps) if gaps else None,
        "concurrent": rows,
    }


def _gaps(told: Told) -> list[float]:
    """Seconds from one token to the next; tokens that come together share theirs."""
    gaps: list[float] = []
    for before, after, count in zip(told.times, told.times[1:], told.counts[1:], strict=False):
        gaps += [(after - before) / count] * count
    return gaps


def _p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def _steady(told: list[Told]) -> float | None:
    """Tokens a second while all requests are being answered: from when the last of them began to
    when the first of them ended. None where there is no such time."""
    start = max(one.times[0] for one in told)
    end = min(one.times[-1] for one in told)
    if end <= start:
        return None
    count = sum(
        count
        for one in told
        for at, count in zip(one.times, one.counts, strict=True)
        if start < at <= end
    )
    return count / (end - start)


def peak_memory() -> int | None:
    """Most bytes that this process had resident, mapped files among them; None on Windows."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: on Linux it counts what the program that started this one had.
        lines = status.read_text().splitlines()
        found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        if found:
            return 1024 * int(found[0])
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def open_contender(
    model: str, backend: str, dtype: Dtype, device: Device, *, slots: int, context: int
) -> tuple[Backend, bool]:
    """A back end for `bench`, and whether its memory is this process's."""
    from langwright.providers.backends import open_other
    from langwright.providers.open import is_address, open_model, places_of

    if backend == "own":
        return open_model(model, dtype=dtype, device=device).backend, not is_address(model)
    place, added = places_of(model, Store())
    if added is not None:
        raise Unsupported(
            f"{backend} is given no adapter here.", remedy=f"Export '{model}' as one model first."
        )
    return open_other(place, backend, dtype, slots=slots, context=context), True


def prepare(backend: str) -> None:
    """Import what a back end needs."""
    rooms = {"llama.cpp": "providers.llama_cpp", "transformers": "providers.transformers_"}
    import_module(f"langwright.{rooms.get(backend, 'inference')}")
    if backend == "transformers":  # which imports its parts when they are asked for
        import_module("transformers.models.auto.modeling_auto")


def run(order: Order) -> dict[str, Any]:
    """Load the contender and measure it."""
    prepare(order.backend)  # importing is not loading
    start = time.perf_counter()
    backend, own_memory = open_contender(
        order.model,
        order.backend,
        order.dtype,
        order.device,
        slots=max(order.concurrency),
        context=order.prompt_tokens + order.tokens + 16,
    )
    loaded = time.perf_counter() - start
    found = measure(Contender(backend, order.seed), order)
    return {
        "load_s": loaded,
        **found,
        "peak_memory_bytes": peak_memory() if own_memory else None,
    }


def main(text: str) -> None:
    """Print the figures as one line, or `{"error": …}`."""
    try:
        found = run(Order.from_json(text))
    except LangwrightError as error:
        found = error.to_json()
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
