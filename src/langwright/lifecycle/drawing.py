"""Two answers to each prompt, the next ones while somebody reads the last."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any

from langwright.backend import Event
from langwright.errors import BadSettings, Unsupported
from langwright.lifecycle.comparing import Answer, Drawn
from langwright.providers import Generation, Model
from langwright.training.ahead import Ahead
from langwright.training.prompts import Prompt


class Drawing:
    """Draws answers of one model or two, with the options `sampling`: answer i of prompt n with its
    seed + 2 n + i. Raises `BadSettings` for another number of models."""

    def __init__(
        self, names: Sequence[str], sampling: Mapping[str, Any], opened: Callable[[str], Model]
    ) -> None:
        if not 1 <= len(names) <= 2:
            raise BadSettings(f"There are {len(names)} models.", remedy="Name one, or two.")
        self.names = (names[0], names[-1])
        self.sampling = sampling
        self._opened, self._models = opened, dict[str, Model]()
        self._ended = False

    def open(self) -> None:
        """Now, so that nobody waits for it later. Raises `Unsupported` for what cannot chat."""
        for name in self.names:
            if name not in self._models:
                self._models[name] = self._opened(name)
            if not self._models[name].backend.capabilities().chat:
                raise Unsupported(
                    f"'{name}' has no chat template, so it cannot be asked.",
                    remedy="Fine-tune it for chat first, or import comparisons with --import.",
                )

    def each(self, prompts: Iterable[Prompt], start: int) -> Generator[Drawn, None, None]:
        """Those of `prompts`, which come one by one and are numbered from `start` on."""
        for number, prompt in enumerate(prompts, start):
            yield prompt, self._draw(prompt, number)

    def ahead(self, prompts: Sequence[Prompt], start: int) -> Generator[Drawn, None, None]:
        """Those of `prompts[start:]`, each begun when the one before it is taken. To be closed."""
        drawn = Ahead(lambda n: self._draw(prompts[n], n) if n < len(prompts) else [])
        try:
            for number in range(start, len(prompts)):
                yield prompts[number], drawn.get(number)
        finally:
            self._ended = True  # nobody waits for an answer that nobody reads
            drawn.close()

    def _draw(self, prompt: Prompt, number: int) -> list[Answer]:
        answers = []
        for place, name in enumerate(self.names):
            seed = self.sampling["seed"] + 2 * number + place
            events = self._models[name].stream(prompt, **{**self.sampling, "seed": seed})
            drawn = Generation.collect(self._until_ended(events))
            answers.append(Answer(drawn.text, name, seed, drawn.finish_reason))
        return answers

    def _until_ended(self, events: Iterable[Event]) -> Iterator[Event]:
        for event in events:
            if self._ended:
                raise CancelledError
            yield event
