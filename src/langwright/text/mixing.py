"""Several corpora as one: by weight, each for a declared number of epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from langwright.errors import BadSettings
from langwright.text.packing import PackedRow


class Rows(Protocol):
    """Rows in an order without end, epoch after epoch of `num_rows`."""

    @property
    def num_rows(self) -> int: ...

    def row(self, index: int) -> PackedRow: ...

    def documents(self, index: int) -> list[int]: ...

    def tokens_before(self, index: int) -> int: ...


@dataclass(frozen=True)
class Source:
    """A corpus of a mixture; `epochs` is how often it may be read at most, None: without end."""

    name: str
    rows: Rows
    weight: float = 1.0
    epochs: float | None = None


class Mixture:
    """The rows of each step: a pure function of (seed, step), the seed being that of the sources.

    A weight is a share of all rows (weights need not sum to 1). The sources take turns as evenly
    as whole rows allow: after any number of rows each has had its share to within as many rows
    as there are sources. All is known before training: `drawn` are the rows that the whole run
    takes of each source.

    Raises `BadSettings`, naming the numbers, where the run needs more of a source than declared.
    """

    def __init__(self, sources: Sequence[Source], rows_per_step: int, steps: int) -> None:
        names = [source.name for source in sources]
        if len(set(names)) < len(names):
            raise BadSettings(
                f"A mixture names a source twice: {', '.join(names)}.",
                remedy="Name it once, with the sum of the weights.",
            )
        self.sources = sources
        self.rows_per_step = rows_per_step
        # As written: 0.7 is seven tenths, and counts of rows are exact.
        self._weights = [Fraction(str(source.weight)) for source in sources]
        self.drawn = self._drawn(rows_per_step * steps)
        self._refuse_overdraft()

    def rows(self, step: int) -> list[PackedRow]:
        """The rows of a step, counted from 0."""
        return [self.sources[number].rows.row(place) for number, place in self.places(step)]

    def documents(self, step: int) -> list[list[tuple[int, int]]]:
        """For each of those rows the documents in it: (number of the source, of the document)."""
        return [
            [(number, document) for document in self.sources[number].rows.documents(place)]
            for number, place in self.places(step)
        ]

    def places(self, step: int) -> list[tuple[int, int]]:
        """Where the rows of a step come from: (number of the source, index of its row)."""
        if step < 0:
            raise ValueError(f"step {step} is before the first")
        index = step * self.rows_per_step
        before, after = self._drawn(index), self._drawn(index + self.rows_per_step)
        spans = enumerate(zip(before, after, strict=True))
        return [(number, place) for number, span in spans for place in range(*span)]

    @property
    def epochs(self) -> dict[str, float]:
        """How often the whole run reads each source."""
        pairs = zip(self.sources, self.drawn, strict=True)
        return {source.name: drawn / source.rows.num_rows for source, drawn in pairs}

    @property
    def trained(self) -> list[int]:
        """How many tokens of each source the whole run trains."""
        pairs = zip(self.sources, self.drawn, strict=True)
        return [source.rows.tokens_before(drawn) for source, drawn in pairs]

    def _drawn(self, rows: int) -> list[int]:
        """How many of the first `rows` rows are of each source: the first takes its share, rounded,
        the second its share of the rest, and so on. None of these ever falls as `rows` grows."""
        drawn, weight = [], sum(self._weights, Fraction(0))
        for share in self._weights:
            taken = int(rows * share / weight + Fraction(1, 2)) if rows else 0
            drawn.append(taken)
            rows, weight = rows - taken, weight - share
        return drawn

    def _refuse_overdraft(self) -> None:
        problems, remedies = [], []
        for source, drawn in zip(self.sources, self.drawn, strict=True):
            needed = drawn / source.rows.num_rows
            if source.epochs is not None and drawn > source.epochs * source.rows.num_rows:
                problems.append(
                    f"{drawn:,} rows of '{source.name}', {needed:.2f} epochs of its"
                    f" {source.rows.num_rows:,} rows; declared are {source.epochs:g}"
                )
                remedies.append(f"'{source.name}' to {needed:.2f} or more")
        if problems:
            raise BadSettings(
                f"The run would read {'; '.join(problems)}.",
                remedy=f"Raise epochs of {', '.join(remedies)}, or lower the weight or `steps`.",
            )
