"""What a model is to learn of conversations: rows of tokens, and what was left out of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from langwright.errors import BadInput
from langwright.progress import say
from langwright.tokens import TRAINING_DAY, ChatTemplate, is_empty, taught
from langwright.training.batch import Row

TooLong = Literal["leave_out", "cut", "raise"]
"""What becomes of a conversation longer than the window: it is left out, its beginning is kept, or
it is an error."""

_SHOWN = 5


@dataclass
class Lessons:
    """`rows` in the order of the file: one for each conversation, or several next to each other
    where the template writes an earlier turn otherwise than when it was said; their sources then
    end in `#1`, `#2`, … . `groups[i]` is the number of the conversation of row i.

    The others are sources: of rows that were left out since they are `too_long`, that were `cut`,
    that have `nothing` left to learn after the cut, and conversations with an `empty` answer.
    """

    conversations: int = 0
    rows: list[Row] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    too_long: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    nothing: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    @property
    def left_out(self) -> int:
        """How many rows and conversations are not learnt from."""
        return len(self.too_long) + len(self.nothing) + len(self.empty)

    def counts(self) -> dict[str, int]:
        """For the metrics of a run."""
        return {
            "conversations": self.conversations,
            "rows": len(self.rows),
            "too_long": len(self.too_long),
            "cut": len(self.cut),
            "cut_to_nothing": len(self.nothing),
            "empty_answers": len(self.empty),
        }

    def lines(self) -> dict[str, list[str]]:
        """The sources behind the counts, without the name of the file."""
        named = {
            "too_long": self.too_long,
            "cut": self.cut,
            "cut_to_nothing": self.nothing,
            "empty_answers": self.empty,
        }
        return {key: [one.rpartition(":")[2] for one in found] for key, found in named.items()}


def lessons(
    template: ChatTemplate, path: Path, context_length: int, too_long: TooLong = "leave_out"
) -> Lessons:
    """The conversations of the file with their masks; what is left out, and why, is said.

    A row has `context_length` + 1 tokens at most: so many inputs. Raises `BadInput` that names the
    line for what is no conversation or is refused by the template, for one that is too long where
    it is to raise, and where fewer than two rows are left.
    """
    found = Lessons()
    for number, given in _lines(path):
        source = f"{path.name}:{number}"
        found.conversations += 1
        try:
            messages, tools = given["messages"], given.get("tools")
            if any(is_empty(messages[turn]) for turn in taught(messages)):
                found.empty.append(source)
                continue
            encoded = template.encode_turns(messages, tools=tools)
        except (KeyError, TypeError, AttributeError):
            raise BadInput(
                f"Line {number} of {path.name} is not a conversation.",
                remedy='Write one {"messages": [{"role", "content"}, …]} a line.',
            ) from None
        except BadInput as error:
            raise BadInput(f"Line {number}: {error.message}", remedy=error.remedy) from None
        for part, (ids, learn) in enumerate(encoded, start=1):
            where = f"{source}#{part}" if len(encoded) > 1 else source
            row = Row(np.array(ids), np.array(learn), where)
            if len(ids) > context_length + 1:
                if too_long == "raise":
                    raise BadInput(
                        f"Line {number}: the conversation has {len(ids)} tokens, more than "
                        f"{context_length + 1}.",
                        remedy="Give a larger context_length, or too_long=leave_out or cut.",
                    )
                kept = _cut(row, context_length) if too_long == "cut" else None
                if too_long == "leave_out":
                    found.too_long.append(where)
                    continue
                if kept is None:
                    found.nothing.append(where)
                    continue
                found.cut.append(where)
                row = kept
            found.rows.append(row)
            found.groups.append(found.conversations - 1)
    _tell(found, template, context_length)
    if len(found.rows) < 2:
        raise BadInput(
            f"{path.name} has {len(found.rows)} usable conversations"
            + (f"; {found.left_out} are left out." if found.left_out else "."),
            remedy="Give at least two, or a larger context_length.",
        )
    return found


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except ValueError:
                raise BadInput(
                    f"Line {number} of {path.name} is not a conversation.",
                    remedy='Write one {"messages": [{"role", "content"}, …]} a line.',
                ) from None


def _cut(row: Row, context_length: int) -> Row | None:
    """The beginning of a row; None where nothing of that is learnt."""
    assert row.learn is not None
    ids, learn = row.ids[: context_length + 1], row.learn[: context_length + 1]
    return Row(ids, learn, row.source) if learn[1:].any() else None


def _tell(found: Lessons, template: ChatTemplate, context_length: int) -> None:
    lines = found.lines()
    longer = f"longer than {context_length} tokens"
    if found.too_long:
        say(
            f"Left out {len(found.too_long)} conversations {longer} "
            f"({_shown(lines['too_long'])}); a larger context_length keeps them, too_long=cut "
            "their beginnings."
        )
    if found.cut:
        say(f"Cut {len(found.cut)} conversations {longer} ({_shown(lines['cut'])}).")
    if found.nothing:
        say(
            f"Left out {len(found.nothing)} conversations {longer} of which the cut leaves no "
            f"answer ({_shown(lines['cut_to_nothing'])})."
        )
    if found.empty:
        say(
            f"Left out {len(found.empty)} conversations with an empty answer "
            f"({_shown(lines['empty_answers'])})."
        )
    several = len(found.rows) - len(set(found.groups))
    if several:
        say(
            f"The chat template writes earlier turns otherwise than when they are said: "
            f"{len(set(found.groups))} conversations are {len(found.rows)} rows, so that each turn "
            "is learnt behind its own prompt."
        )
    if template.tells_date:
        say(f"The chat template tells the date; in training it is {TRAINING_DAY:%Y-%m-%d}.")


def _shown(lines: list[str]) -> str:
    return "lines " + ", ".join(lines[:_SHOWN]) + (" …" if len(lines) > _SHOWN else "")
