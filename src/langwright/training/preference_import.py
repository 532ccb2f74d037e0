"""Preferences out of people's files, into artifacts."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langwright.errors import BadInput
from langwright.progress import say
from langwright.store import Artifact, Store, pull
from langwright.text.rows import ROW_SUFFIXES, at_row, read_rows
from langwright.training.comparisons import SHAPE, Comparison, write_comparisons
from langwright.training.judged import Judged, write_judged
from langwright.training.preference_shapes import EMPTY, EQUAL, Found, Shape, shape_of

SHOWN = 20

OWN = "langwright"
"""The name of the shape of our own artifacts."""

_OWN_FIELDS = {"messages", "answers", "ranks"}


@dataclass
class Preferences:
    """What files hold: `comparisons`, or `judged` answers. `shape` is what they were read as.

    `left_out` has the rows (`FILE:NUMBER`) by reason, a row once for each thing left out;
    `kept_empty` those with an empty answer; `unread` the fields that say nothing here.
    """

    shape: str
    comparisons: list[Comparison] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    kept_empty: list[str] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)

    @property
    def kind(self) -> str:
        """That of the artifact."""
        return "judged" if self.judged else "comparisons"

    def __len__(self) -> int:
        return len(self.comparisons) + len(self.judged)

    @property
    def pairs(self) -> int:
        """How many pairs of a better and a worse answer there are."""
        return sum(len(one.pairs()) for one in self.comparisons)

    def report(self) -> None:
        """Say what was read and what was not."""
        pairs = f", {self.pairs:,} pairs" if self.comparisons else ""
        say(f"Read as {self.shape}: {len(self):,} {self.kind}{pairs}.")
        for what in self.left_out_in_words():
            say(f"Left out {what}.")
        if self.kept_empty:
            say(f"Kept {len(self.kept_empty):,} where {EMPTY} ({_listed(self.kept_empty)}).")
        if self.unread:
            say(f"Fields that were not read: {', '.join(sorted(self.unread))}.")

    def left_out_in_words(self) -> list[str]:
        return [
            f"{len(rows):,} where {reason} ({_listed(rows)})"
            for reason, rows in self.left_out.items()
        ]

    def counts(self) -> dict[str, Any]:
        """{"comparisons" or "judged", "pairs", "left_out", "kept_empty", "unread_fields"}."""
        left_out = [{"reason": reason, "rows": rows} for reason, rows in self.left_out.items()]
        return {
            self.kind: len(self),
            **({"pairs": self.pairs} if self.comparisons else {}),
            "left_out": left_out,
            "kept_empty": self.kept_empty,
            "unread_fields": sorted(self.unread),
        }


def read_preferences(*paths: Path, keep_empty: bool = False) -> Preferences:
    """The comparisons, or judged answers, of `.jsonl`, `.json` or `.parquet` files, all rows of one
    shape, any that is known (`preference_shapes`) or our own.

    Left out and counted, row by row, are two equal answers, prompts that do not end with the user,
    sides with different prompts, and empty answers, which `keep_empty` keeps, as files of our own
    shape do. Anything else that is wrong raises `BadInput` with the row; so do files of which
    nothing is left.
    """
    shape: Shape | None = None
    read: Preferences | None = None
    for path in paths:
        for number, given in read_rows(path, SHAPE):
            row = {key: value for key, value in given.items() if value is not None}
            try:
                now = None if row.keys() >= _OWN_FIELDS else shape_of(row)
                if read is None:
                    shape, read = now, Preferences(now.name if now else OWN)
                elif now is not shape:
                    raise BadInput(
                        f"This is of the shape {now.name if now else OWN}, what is before it "
                        f"{read.shape}.",
                        remedy="Import them apart.",
                    )
                _read_row(read, shape, row, f"{path.name}:{number}", keep_empty)
            except BadInput as error:
                raise at_row(path, number, error) from None
    assert read is not None, "a file without rows was refused"
    if not len(read):
        raise BadInput(
            f"Nothing is left of what was read as {read.shape}: left out were "
            + "; ".join(read.left_out_in_words())
            + ".",
            remedy="Correct the file.",
        )
    return read


def _read_row(
    read: Preferences, shape: Shape | None, row: Mapping[str, Any], source: str, keep_empty: bool
) -> None:
    if shape is None:
        read.comparisons.append(Comparison.from_json(row))
        if not all(answer.strip() for answer in read.comparisons[-1].answers):
            read.kept_empty.append(source)
        return
    read.unread |= row.keys() - shape.reads
    for one in shape.found(row, lambda reason: read.left_out[reason].append(source)):
        _take(read, one, source, keep_empty)


def _take(read: Preferences, one: Found, source: str, keep_empty: bool) -> None:
    if len(set(one.answers)) < len(one.answers):
        read.left_out[EQUAL].append(source)
        return
    if not all(answer.strip() for answer in one.answers):
        if not keep_empty:
            read.left_out[EMPTY].append(source)
            return
        read.kept_empty.append(source)
    if one.label is None:
        read.comparisons.append(one.comparison(source))
    else:
        read.judged.append(one.judged(source))


def import_preferences(
    source: str, *, name: str | None = None, keep_empty: bool = False, store: Store
) -> tuple[Artifact, Preferences]:
    """An artifact of kind `comparisons` (or `judged`) made of a file, or of the files of a data
    set of the hub; what was read and what was left out is said, and stands in its metrics.

    Raises as `read_preferences`, and `NotFound`.
    """
    paths, parents = _files(source, store)
    read = read_preferences(*paths, keep_empty=keep_empty)
    read.report()
    stem = parents[0].name if parents else paths[0].name.partition(".")[0]
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.") or "file"
    with store.writing(
        name or f"{read.kind}-{stem[:80]}",
        read.kind,
        parents=parents,
        settings={"shape": read.shape, "keep_empty": keep_empty},
        metrics=read.counts(),
        licence=parents[0].licence if parents else None,
    ) as draft:
        if read.judged:
            write_judged(draft.folder, read.judged)
        else:
            write_comparisons(draft.folder, read.comparisons)
    return draft.artifact, read


def open_preferences(name: str, store: Store) -> Artifact:
    """The artifact of kind `comparisons` or `judged` of that name, or one made of a file of any
    known shape. Raises as `import_preferences`, and `BadInput` for another kind."""
    if Path(name).expanduser().is_file():
        return import_preferences(name, store=store)[0]
    artifact = store.get(name)
    if artifact.kind not in ("comparisons", "judged"):
        raise BadInput(
            f"'{name}' is of the kind {artifact.kind}, not comparisons.",
            remedy="Give two answers or more to each prompt, and which is better.",
        )
    return artifact


def open_comparisons(name: str, store: Store) -> Artifact:
    """The same, of comparisons alone."""
    artifact = open_preferences(name, store)
    if artifact.kind != "comparisons":
        raise BadInput(
            f"'{name}' is of the kind {artifact.kind}, not comparisons.",
            remedy="Single answers that are good or bad are learnt by `dpo` with loss=kto.",
        )
    return artifact


def _files(source: str, store: Store) -> tuple[list[Path], list[Artifact]]:
    there = source in {artifact.name for artifact in store.artifacts() if not artifact.dropped}
    if Path(source).expanduser().exists() or not (there or source.startswith("hf:")):
        return [Path(source).expanduser()], []
    artifact = store.get(source) if there else pull(source, store=store)
    folder = store.path(artifact)
    paths = sorted(path for path in folder.rglob("*") if path.suffix in ROW_SUFFIXES)
    if artifact.kind != "dataset" or not paths:
        raise BadInput(
            f"'{source}' is a {artifact.kind}, not a data set with rows.",
            remedy="Give a file, or a data set of the hub.",
        )
    return paths, [artifact]


def _listed(rows: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(rows))
    return ", ".join(distinct[:SHOWN]) + (", …" if len(distinct) > SHOWN else "")
