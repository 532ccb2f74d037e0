"""A model's answer on standard output."""

from __future__ import annotations

from collections.abc import Iterator

from langwright.backend import Event
from langwright.cli.output import note, write


def print_events(events: Iterator[Event]) -> None:
    """The answer's text as it comes, and a note when it was cut short."""
    last = Event("")
    for last in events:
        write(last.text)
    write("\n")
    if last.finish_reason == "length" and last.usage:
        note(f"(Stopped at the limit: {last.usage.completion_tokens} tokens.)")
    if last.finish_reason == "deadline":
        note("(Stopped at the deadline.)")
