"""The verb `bisect`: the step, the batch and the documents that brought a behaviour."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from langwright.errors import BadInput, BadSettings, Unsupported
from langwright.progress import say
from langwright.store import Run, Store
from langwright.tokens import END_OF_TEXT
from langwright.training.behaviour import Behaviour
from langwright.training.forgetting import (
    Chosen,
    begin_without,
    copy_checkpoint,
    without,
)
from langwright.training.influence import influences
from langwright.training.rebuilt import Rebuilt, rebuild
from langwright.training.replay import checkpoint_steps, folder_of, require_one_process
from langwright.training.run_stage import complete
from langwright.training.schedule import learning_rate_factor
from langwright.training.stages.sft import SFT
from langwright.training.trained import Model, Trained

SHOWN_CHARACTERS = 200
NEVER = 10**9


def bisect(
    run: str,
    *,
    prompt: str,
    expect: str,
    threshold: float = 0.5,
    most: int = 8,
    store: Store | None = None,
) -> dict[str, Any]:
    """Which step of a run, and which documents of its batch, had the model continue `prompt` with
    `expect`; a fine-tuned one is asked, and its answer begins so.

    The model does so where the tokens of `expect` have the probability `threshold` in the
    geometric mean, each after those before it. The stretch between the kept checkpoints at which
    that began is trained again and measured at each step, and the documents of its steps are ranked
    by `influences`. Then the run is trained again without the first, the first two, four and so on,
    up to `most` of them: they are its cause where the model then does it no more, has lost half of
    what it had won at least, and twice what it loses without as many other documents of these
    steps. Where no such stretch has the cause, the run is searched from its beginning.

    The result has `outcome`: `confirmed`, `unconfirmed` (documents that were tried are
    `candidates`), `absent` (the finished model does not do so) or `before_training`. `step`,
    counted from 1, is the one that the first document influenced most, `window` the data that it
    learnt from, `arrived_step` the first one from which on the model did it. `before` (that step),
    `after` (the arrival), `end`, `without` (the documents) and `control` (without others) are mean
    log-probabilities of a token of `expect`, in nats.

    Raises `NotFound` for an unknown run, `Unsupported` for one without a checkpoint or of several
    processes, `BadInput` where nothing is expected.
    """
    if not 0 < threshold < 1 or most < 1:
        raise BadSettings(
            f"No search has threshold {threshold} and most {most}.",
            remedy="threshold is a probability between 0 and 1; most is 1 or more.",
        )
    search = _Search(run, prompt, expect, math.log(threshold), most, store or Store())
    return {"run": run, "prompt": prompt, "expect": expect, "threshold": threshold} | search.go()


@dataclass(frozen=True)
class _Moment:
    """Before a step: how many were made, the window of the data that it learns from, the
    behaviour's log-probability, and the influences of its examples by their digests."""

    step: int
    window: int
    logprob: float
    influences: dict[str, float]


@dataclass(frozen=True)
class _Ranked:
    """An example with what it did in all, and the moment at which it did most."""

    digest: str
    influence: float
    moment: _Moment


class _Search:
    def __init__(
        self, name: str, prompt: str, expect: str, level: float, most: int, store: Store
    ) -> None:
        self._run, self._store = store.run(name), store
        self._rebuilt: Rebuilt = rebuild(self._run, store)
        self._level, self._most = level, most
        text, stage = self._rebuilt.text, self._rebuilt.stage
        self._behaviour = (
            Behaviour.in_conversation(prompt, expect, text)
            if isinstance(stage, SFT)
            else Behaviour.in_text(prompt, expect, text, text.tokenizer.special[END_OF_TEXT])
        )
        length = self._rebuilt.shape.context_length
        if (size := len(self._behaviour.ids)) > length:
            raise BadInput(
                f"Prompt and expectation have {size} tokens; the model's windows hold only "
                f"{length}.",
                remedy="Shorten the prompt.",
            )
        self._steps = checkpoint_steps(self._run)
        if not self._steps:
            raise Unsupported(
                f"The run '{name}' has no checkpoint yet.", remedy="Let it train further."
            )
        require_one_process(self._run, self._steps[-1])

    def go(self) -> dict[str, Any]:
        known = {0: self._at_the_beginning()}
        known |= {step: self._at(step) for step in self._steps}
        end = self._steps[-1]
        self._end = known[end]
        found: dict[str, Any] = dict.fromkeys(
            ("step", "window", "arrived_step", "before", "after", "without", "control")
        )
        found |= {"outcome": "unconfirmed", "confirmed": False, "end": self._end}
        found |= {"documents": [], "candidates": []}
        if self._end < self._level:
            return found | {"outcome": "absent"}
        if all(value >= self._level for value in known.values()):
            return found | {"outcome": "before_training", "before": known[0]}
        start = max(step for step, value in known.items() if value < self._level)
        until = min(step for step in known if step > start)
        moments = self._replay(start, until)
        below = (one.step for one in moments if one.logprob < self._level)
        arrived = max(below, default=start) + 1
        values = known | {one.step: one.logprob for one in moments}
        found |= {"arrived_step": arrived, "after": values[arrived]}
        for begin in dict.fromkeys((start, 0)):
            if begin != start:
                say("None of these documents brought it: the run is searched from its beginning.")
                moments = self._replay(begin, arrived)
            moments = [one for one in moments if one.step < arrived]
            ranked = self._ranked(moments)
            found["candidates"] = [self._told(one) for one in ranked[: self._most]]
            confirmed = self._confirmed(ranked)
            if confirmed is not None:
                chosen, figures = confirmed
                first = chosen[0].moment
                found |= figures | {"outcome": "confirmed", "confirmed": True}
                found |= {"step": first.step + 1, "window": first.window, "before": first.logprob}
                return found | {"documents": [self._told(one) for one in chosen]}
        return found

    def _at_the_beginning(self) -> float:
        trained, _ = self._rebuilt.prepare(self._rebuilt.settings)
        return self._behaviour.logprob(trained.module.eval())

    def _at(self, step: int) -> float:
        return self._behaviour.logprob(self._rebuilt.at(folder_of(self._run, step)).module)

    def _replay(self, start: int, until: int) -> list[_Moment]:
        """Steps `start` to `until` again, looked at before each."""
        say(f"{self._run.name}: steps {start + 1} to {until} again, looked at one by one.")
        settings, stage = self._rebuilt.settings, self._rebuilt.stage
        moments: dict[int, _Moment] = {}

        def look(step: int, window: int, trained: Trained[Any]) -> None:
            assert isinstance(trained, Model)
            trained.module.eval()
            pieces = stage.pieces(window)
            products = influences(trained, self._behaviour, pieces, settings.micro_batch_tokens)
            units = sum(piece.units for piece in pieces)
            rate = settings.learning_rate * learning_rate_factor(step, settings) / units
            found: dict[str, float] = {}
            for piece, product in zip(pieces, products, strict=True):
                digest = stage.examples[piece.number].digest
                found[digest] = found.get(digest, 0.0) + rate * product
            logprob = self._behaviour.logprob(trained.module)
            # A step that was refused comes again, with other data.
            moments[step] = _Moment(step, window, logprob, found)

        with self._elsewhere() as copy:
            copy.open(self._run.settings, self._run.parents)
            if start:
                copy_checkpoint(self._run, copy, start)
            complete(copy, _quiet(settings), self._rebuilt.prepare, until=until, watch=look)
        return [moments[step] for step in sorted(moments) if step >= start]

    def _ranked(self, moments: Sequence[_Moment]) -> list[_Ranked]:
        """What raised the behaviour in all, the most first."""
        total: dict[str, float] = {}
        best: dict[str, _Moment] = {}
        for moment in moments:
            for digest, influence in moment.influences.items():
                total[digest] = total.get(digest, 0.0) + influence
                if digest not in best or influence > best[digest].influences[digest]:
                    best[digest] = moment
        ranked = sorted(total, key=lambda digest: -total[digest])
        return [_Ranked(one, total[one], best[one]) for one in ranked if total[one] > 0]

    def _confirmed(
        self, ranked: Sequence[_Ranked]
    ) -> tuple[list[_Ranked], dict[str, float]] | None:
        """The fewest of the first without which the model does it no more, with what it does
        without them and without others; None where there are none."""
        if not ranked:
            return None
        fallen = min(self._level, (ranked[0].moment.logprob + self._end) / 2)
        most, count = min(self._most, len(ranked)), 1
        while (value := self._without(ranked[:count])) > fallen:
            if count == most:
                return None
            count = min(2 * count, most)
        chosen = list(ranked[:count])
        for one in reversed(chosen[:]):
            rest = [other for other in chosen if other is not one]
            if rest and (less := self._without(rest)) <= fallen:
                chosen, value = rest, less
        control = self._without(self._others(chosen))
        if self._end - value < 2 * (self._end - control):
            return None
        return chosen, {"without": value, "control": control}

    def _others(self, chosen: Sequence[_Ranked]) -> list[_Ranked]:
        """As many that the same steps learn from, and that matter least."""
        known = {one.digest for one in chosen}
        moments = {one.moment.step: one.moment for one in chosen}.values()
        others = {
            digest: _Ranked(digest, influence, moment)
            for moment in moments
            for digest, influence in moment.influences.items()
            if digest not in known
        }
        return sorted(others.values(), key=lambda one: abs(one.influence))[: len(chosen)]

    def _without(self, gone: Sequence[_Ranked]) -> float:
        """What the finished model does that never saw these."""
        digests = {one.digest for one in gone}
        if not digests:
            return self._end
        say(f"{self._run.name} again, without {len(digests)} of its documents.")
        settings = without(self._rebuilt.settings, digests)
        with self._elsewhere() as copy:
            begin_without(copy, self._run, self._rebuilt, settings, digests)
            prepare, end = self._rebuilt.prepare, self._steps[-1]
            trained, _, _ = complete(copy, _quiet(settings), prepare, until=end)
            trained.module.eval()
            return self._behaviour.logprob(trained.module)

    def _told(self, one: _Ranked) -> dict[str, Any]:
        stage = self._rebuilt.stage
        known = enumerate(stage.examples)
        number, example = next(pair for pair in known if pair[1].digest == one.digest)
        text = stage.text(number)
        return asdict(example) | {
            "influence": one.influence,
            "step": one.moment.step + 1,
            "text": text[:SHOWN_CHARACTERS] + ("…" if len(text) > SHOWN_CHARACTERS else ""),
        }

    @contextmanager
    def _elsewhere(self) -> Iterator[Run]:
        """A run of the same name in a place that is gone after the block."""
        with tempfile.TemporaryDirectory(prefix="langwright-replay-") as home:
            yield Run(Path(home), self._run.name)


def _quiet(settings: Chosen) -> Chosen:
    """The same steps, without measuring and saving between them."""
    return settings.model_copy(update={"eval_every": NEVER, "checkpoint_every": NEVER})
