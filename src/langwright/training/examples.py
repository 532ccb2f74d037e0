"""What a run learns from, one by one: documents, or conversations. How they are named and found."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from langwright.errors import BadInput, BadSettings, NotFound
from langwright.model import IGNORED

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

Forgotten = Annotated[tuple[Digest, ...], AfterValidator(lambda given: tuple(sorted(set(given))))]
"""A setting: the digests of examples that are never learnt from."""

SHORTEST_PREFIX = 8
"""So many digits of a digest name an example."""

SHOWN = 5


@dataclass(frozen=True)
class Example:
    """`digest` is the SHA-256 of a document's title and text, or of a conversation's token ids
    (int64, little-endian); `source` and `title` are the corpus's own. A long document is cut in
    sections, which are examples by themselves: their sources end in `#1`, `#2`, …"""

    digest: str
    source: str
    title: str | None = None

    @property
    def stem(self) -> str:
        """The source without the number of the section."""
        return re.sub(r"#\d+$", "", self.source)

    @property
    def names(self) -> set[str]:
        """What it can be asked for by, beside its digest."""
        return {name for name in (self.source, self.stem, self.title) if name}


@dataclass(frozen=True)
class Piece:
    """What one step learns from one example: `inputs` and `targets` int64 [T], shifted by one,
    with IGNORED where nothing is learnt; `number` is that of the example."""

    number: int
    inputs: np.ndarray
    targets: np.ndarray

    @property
    def units(self) -> int:
        """How many targets it has."""
        return int((self.targets != IGNORED).sum())


def find(asked: str, learnt: Sequence[Example], held_out: Sequence[Example]) -> list[Example]:
    """The examples that `asked` names: by a digest or its first digits, by a source (of a long
    document or its sections) or by a title. More than one only where they are the sections of one
    document; of equal ones the first.

    Raises `NotFound` with the nearest names, and `BadInput` where several different ones are meant
    or where it is `held_out`.
    """
    found = _named(asked, learnt)
    if not found:
        if _named(asked, held_out):
            raise BadInput(
                f"'{asked}' is held out for validation: the run never learns from it.",
                remedy="There is nothing to forget.",
            )
        raise NotFound(f"No document of the run is '{asked}'.", remedy=_nearest(asked, learnt))
    sections = len({one.stem for one in found}) == 1 and len({one.source for one in found}) == len(
        found
    )
    if len(found) > 1 and not sections:
        shown = "".join(
            f"\n  {one.digest[:16]}  {one.source}" + (f"  {one.title}" if one.title else "")
            for one in found[:SHOWN]
        )
        more = f"\n  … and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise BadInput(
            f"'{asked}' is the name of {len(found)} documents:{shown}{more}",
            remedy="Name one by its digest.",
        )
    return found


def numbers_of(
    digests: Iterable[str], learnt: Sequence[Example], held_out: Sequence[Example]
) -> frozenset[int]:
    """The numbers of all examples with these digests. Raises `BadSettings` for one that is not
    learnt from, or that is held out as well, and where none would be left to learn from."""
    wanted = frozenset(digests)
    if not wanted:
        return frozenset()
    if unknown := sorted(wanted - {one.digest for one in learnt}):
        raise BadSettings(
            f"The setting 'forget' names {unknown[0]}, which nothing that is learnt from has.",
            remedy="`langwright forget` finds a document's digest by its source or title.",
        )
    if both := sorted(wanted & {one.digest for one in held_out}):
        raise BadSettings(
            f"What 'forget' names as {both[0]} is in one corpus learnt from and in another held "
            "out for validation: it would go on being measured on.",
            remedy="Take it out of that corpus.",
        )
    found = frozenset(number for number, one in enumerate(learnt) if one.digest in wanted)
    if len(found) == len(learnt):
        raise BadSettings(
            "Without what 'forget' names there is nothing to learn from.", remedy="Name fewer."
        )
    return found


def _named(asked: str, examples: Sequence[Example]) -> list[Example]:
    """Those of different digests that `asked` names, in order."""
    prefix = asked.lower()
    if re.fullmatch(rf"[0-9a-f]{{{SHORTEST_PREFIX},64}}", prefix):
        found = [one for one in examples if one.digest.startswith(prefix)]
        if found:
            return _different(found)
    exact = [one for one in examples if one.source == asked]
    # A title stands at the first section alone.
    titled = {one.stem for one in examples if one.title == asked}
    exact = exact or [one for one in examples if one.stem == asked or one.stem in titled]
    return _different(one for one in exact)


def _different(examples: Iterable[Example]) -> list[Example]:
    return list({one.digest: one for one in reversed(list(examples))}.values())[::-1]


def _nearest(asked: str, examples: Sequence[Example]) -> str:
    names = sorted({name for one in examples for name in one.names})
    if close := difflib.get_close_matches(asked, names, n=3, cutoff=0.5):
        return "Did you mean " + " or ".join(f"'{name}'" for name in close) + "?"
    return f"Give its title, its source (as '{examples[0].source}' is one) or its digest."
