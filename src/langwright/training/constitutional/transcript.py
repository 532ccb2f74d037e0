"""Transcripts: an answer with all that was said of it and made of it, kept whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from langwright.training.constitutional.author import Written

Fault = Literal["empty critique", "empty", "unchanged", "run-away", "copied"]
"""Why what a round brought is not used: there was nothing to revise by; the revision is empty, is
what was there before, does not end or goes round in circles, or repeats an example or the
critique."""
FAULTS: tuple[Fault, ...] = get_args(Fault)


@dataclass(frozen=True)
class Round:
    """A critique by a principle and the revision after it; `fault` says why it is not used."""

    principle: str
    critique: Written
    revision: Written | None
    fault: Fault | None


@dataclass
class Transcript:
    """`number` counts the prompts from 0. `revised` is the last revision without a fault."""

    number: int
    prompt: str
    answer: Written
    rounds: list[Round] = field(default_factory=list)

    @property
    def revised(self) -> str | None:
        sound = [one.revision.text for one in self.rounds if one.revision and not one.fault]
        return sound[-1] if sound else None

    @property
    def standing(self) -> str:
        """What the next round works on."""
        revised = self.revised
        return self.answer.text if revised is None else revised

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "revised": self.revised}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Transcript:
        rounds = [
            Round(
                one["principle"],
                Written(**one["critique"]),
                Written(**one["revision"]) if one["revision"] else None,
                one["fault"],
            )
            for one in values["rounds"]
        ]
        return cls(values["number"], values["prompt"], Written(**values["answer"]), rounds)


def write_transcripts(path: Path, found: Iterable[Transcript], how: Mapping[str, Any]) -> None:
    """One object a line, and in each `how` it was made: model, constitution, sampling."""
    lines = (json.dumps({**one.to_json(), **how}, ensure_ascii=False) + "\n" for one in found)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def read_transcripts(path: Path) -> list[Transcript]:
    lines = path.read_text(encoding="utf-8").split("\n")
    return [Transcript.from_json(json.loads(line)) for line in lines if line]


def counts(found: Sequence[Transcript]) -> dict[str, Any]:
    """How many were revised or set aside, and what was wrong with how many rounds."""
    faults = Counter(one.fault for each in found for one in each.rounds if one.fault)
    return {
        "prompts": len(found),
        "revised": sum(one.revised is not None for one in found),
        "set_aside": sum(one.revised is None for one in found),
        "empty_answers": sum(not one.answer.text for one in found),
        "rounds": sum(len(one.rounds) for one in found),
        "faults": {fault: faults[fault] for fault in FAULTS},
    }
