"""Cleaning as a pipeline over files of JSON lines: bounded memory, any number of cores.

The steps between two deduplications are a segment. A segment is one pass over the file that the
one before it wrote, in spans of a few megabytes, each worked on by one process. A deduplication
needs all signatures before it can decide: the pass before it makes them, the pass after it leaves
out what it named. So the result does not depend on the number of processes, nor on the engine.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from langwright.progress import Bar, progress
from langwright.store.atomic import space_checked
from langwright.text.cleaning.step import Dropped, Step
from langwright.text.dedup import Deduplicator
from langwright.text.document import Document
from langwright.text.funnel import EXAMPLES, Example, StepCount, excerpt

SPAN_BYTES = 4 * 2**20
_LENGTH = struct.Struct("<I")

Task = TypeVar("Task")
Result = TypeVar("Result")


class Engine(Protocol):
    """Where the work is done."""

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """The results, in the order of the tasks, with few of them in flight at a time."""


@dataclass(frozen=True)
class Span:
    """Whole lines of a file: its bytes from `start` to `end`; `first` counts documents before."""

    path: Path
    start: int
    end: int
    first: int = 0
    count: int = 0


@dataclass(frozen=True)
class Segment:
    """What one pass does: leave out what `gate` named, run `steps`, make `signer`'s signatures."""

    gate: Deduplicator | None
    steps: tuple[Step, ...]
    signer: Deduplicator | None


@dataclass(frozen=True)
class Work:
    """One span of one segment; `drops` tells of its documents that the gate named why they go."""

    segment: Segment
    span: Span
    drops: dict[int, str]


@dataclass
class Done:
    """The lines that go on, their signatures, and what was counted on the way."""

    lines: bytes
    count: int
    signatures: list[bytes]
    counts: list[StepCount] = field(default_factory=list)


def run_pipeline(
    inputs: Sequence[Path],
    steps: Sequence[Step | Deduplicator],
    target: Path,
    scratch: Path,
    engine: Engine,
) -> list[StepCount]:
    """Clean the documents of `inputs` (files of JSON lines) into `target`; the funnel.

    Peak memory depends on the largest document and on the engine's spans in flight, not on the
    size of the corpus. `scratch` holds up to two copies of what is kept, and the signatures.
    """
    segments = list(_segments(steps))
    spans = [span for path in inputs for span in _spans(path)]
    funnel: list[StepCount] = []
    drops: Iterator[tuple[int, int]] = iter(())
    last: Path | None = None
    for number, segment in enumerate(segments):
        ends = number == len(segments) - 1
        written = target if ends else scratch / f"pass-{number}.jsonl"
        signatures = scratch / f"signatures-{number}"
        size = sum(span.end - span.start for span in spans)
        names = [part.name for part in (segment.gate, *segment.steps) if part is not None]
        with progress(f"cleaning, pass {number + 1} of {len(segments)}", size) as bar:
            tasks = _works(segment, spans, drops)
            done = engine.map(work, tasks)
            counts, spans = _write(done, written, signatures, spans, bar, ", ".join(names))
        funnel += counts or [StepCount(part.name, part.source) for part in _parts(segment)]
        if last is not None:
            last.unlink()
        last = None if ends else written
        if segment.signer is not None:
            drops = segment.signer.drops(_read_signatures(signatures), scratch)
    return funnel


def work(task: Work) -> Done:
    """One span through one segment; runs in any process."""
    segment = task.segment
    counts = [StepCount(part.name, part.source) for part in _parts(segment)]
    lines: list[bytes] = []
    signatures: list[bytes] = []
    with task.span.path.open("rb") as file:
        file.seek(task.span.start)
        data = file.read(task.span.end - task.span.start)
    rows = (line for line in data.split(b"\n") if line.strip())
    for index, line in enumerate(rows, start=task.span.first):
        before = Document.from_line(line)
        size = len(before.text.encode())
        rest = iter(counts)
        if segment.gate is not None:
            count = next(rest)
            count.documents_in += 1
            count.bytes_in += size
            if index in task.drops:
                example = Example(before.source, task.drops[index], excerpt(before.text))
                count.drop(segment.gate.name, size, example)
                continue
            count.documents_out += 1
            count.bytes_out += size
        document: Document | None = before
        for step, count in zip(segment.steps, rest, strict=True):
            document = document and _through(step, document, count)
        if document is None:
            continue
        lines.append(line if document is before else document.to_line())
        if segment.signer is not None:
            signatures.append(segment.signer.signature(document))
    joined = b"".join(line + b"\n" for line in lines)
    return Done(joined, len(lines), signatures, counts)


def _through(step: Step, document: Document, count: StepCount) -> Document | None:
    size = len(document.text.encode())
    count.documents_in += 1
    count.bytes_in += size
    found = step(document)
    if isinstance(found, Dropped):
        count.drop(found.rule, size, Example(document.source, found.detail, excerpt(document.text)))
        return None
    if not found.text.strip():
        example = Example(document.source, "nothing of its text is left", excerpt(document.text))
        count.drop(f"{step.name}_empty", size, example)
        return None
    count.documents_out += 1
    if found.text == document.text:
        count.bytes_out += size
        return document if found == document else found
    count.changed += 1
    count.bytes_out += len(found.text.encode())
    return found


def _segments(steps: Sequence[Step | Deduplicator]) -> Iterator[Segment]:
    gate: Deduplicator | None = None
    gathered: list[Step] = []
    for step in steps:
        if isinstance(step, Deduplicator):
            yield Segment(gate, tuple(gathered), step)
            gate, gathered = step, []
        else:
            gathered.append(step)
    yield Segment(gate, tuple(gathered), None)


def _parts(segment: Segment) -> list[Step | Deduplicator]:
    return [*([segment.gate] if segment.gate else []), *segment.steps]


def _spans(path: Path) -> Iterator[Span]:
    start, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while start < size:
            file.seek(start + SPAN_BYTES - 1)
            file.readline()
            end = min(file.tell(), size)
            yield Span(path, start, end)
            start = end


def _works(
    segment: Segment, spans: Sequence[Span], drops: Iterator[tuple[int, int]]
) -> Iterator[Work]:
    """The spans, each with what the gate dropped of it; the first few drops name the original."""
    ahead = next(drops, None)
    named = 0
    for span in spans:
        here: dict[int, str] = {}
        while ahead is not None and ahead[0] < span.first + span.count:
            dropped, kept = ahead
            here[dropped] = ""
            if named < EXAMPLES:
                here[dropped] = f"like {_document(spans, kept).source}"
                named += 1
            ahead = next(drops, None)
        yield Work(segment, span, here)


def _document(spans: Sequence[Span], index: int) -> Document:
    span = spans[bisect_right(spans, index, key=lambda span: span.first) - 1]
    with span.path.open("rb") as file:
        file.seek(span.start)
        for _ in range(index - span.first):
            file.readline()
        return Document.from_line(file.readline())


def _write(
    results: Iterator[Done],
    target: Path,
    signatures: Path,
    inputs: Sequence[Span],
    bar: Bar,
    names: str,
) -> tuple[list[StepCount], list[Span]]:
    totals: list[StepCount] = []
    spans: list[Span] = []
    place, first = 0, 0
    with ExitStack() as stack:
        stack.enter_context(space_checked(target))
        out = stack.enter_context(target.open("wb"))
        signed = stack.enter_context(signatures.open("wb"))
        for span, done in zip(inputs, results, strict=True):
            out.write(done.lines)
            for signature in done.signatures:
                signed.write(_LENGTH.pack(len(signature)) + signature)
            spans.append(Span(target, place, place + len(done.lines), first, done.count))
            place, first = place + len(done.lines), first + done.count
            if totals:
                for total, count in zip(totals, done.counts, strict=True):
                    total.add(count)
            else:
                totals = done.counts
            bar.advance(span.end - span.start, f"{first:,} kept ({names})")
    return totals, spans


def _read_signatures(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while head := file.read(_LENGTH.size):
            yield file.read(_LENGTH.unpack(head)[0])
