"""Speed and memory of the cleaning rules, beside datatrove's on the same documents.

    .venv/bin/python benchmarks/cleaning.py FILE.jsonl… [--megabytes 100] [--rounds 3]
    .venv/bin/python benchmarks/cleaning.py FILE.jsonl… --memory 100 1000

Both run the same four filters (Gopher's two, C4's, FineWeb's) on every document, in one process
on one thread, in turn; the ratio is taken pair by pair. Where the files hold less than asked for,
they are repeated, each time with the number of the round before every document. `--memory` cleans a
corpus of so many megabytes with `langwright clean` in a process of its own, and reports its peak.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from langwright.text import Document
from langwright.text.cleaning import C4, FineWebQuality, GopherQuality, GopherRepetition

STEPS = (GopherRepetition(), GopherQuality(), C4(), FineWebQuality())
NAMES = (
    "GopherRepetitionFilter",
    "GopherQualityFilter",
    "C4QualityFilter",
    "FineWebQualityFilter",
)
CLEAN = """
import resource, sys
from langwright.text.clean import clean
if __name__ == "__main__":
    clean([sys.argv[1]], "cleaned", processes=1)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", nargs="+", type=int, metavar="MEGABYTES")
    given = parser.parse_args()
    if given.memory:
        for megabytes in given.memory:
            print(f"{megabytes:6} MB of text: peak {peak(given.files, megabytes):.0f} MB")
        return
    texts = list(corpus(given.files, given.megabytes))
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts):,} documents, {size:.1f} MB, one thread")
    sides = {"langwright": ours, "datatrove": datatrove()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(given.rounds):
        kept = {}
        for name, side in sides.items():
            started = time.perf_counter()
            kept[name] = [side(text) for text in texts]
            times[name].append(time.perf_counter() - started)
        equal = sum(map(tuple.__eq__, *kept.values()))
        print(f"equal decisions: {equal:,} of {len(texts):,} documents (all four filters)")
    for name, taken in times.items():
        speeds = [size / seconds for seconds in taken]
        print(f"{name:12} {statistics.median(speeds):7.2f} MB/s  {spread(speeds)}")
    ratios = [b / a for a, b in zip(*times.values(), strict=True)]
    print(f"{'ratio':12} {statistics.median(ratios):7.2f}       {spread(ratios)}")


def spread(values: list[float]) -> str:
    return f"({min(values):.2f} to {max(values):.2f})"


def corpus(files: list[Path], megabytes: float) -> Iterator[str]:
    """The texts of `files`, over and over, until there are so many megabytes."""
    left = megabytes * 1e6
    number = 0
    while left > 0:
        before = left
        for file in files:
            with file.open("rb") as lines:
                for line in lines:
                    text = json.loads(line)["text"]
                    if number:
                        text = f"Copy {number}. {text}"
                    left -= len(text.encode())
                    yield text
                    if left <= 0:
                        return
        if left == before:
            raise SystemExit("The files hold no text.")
        number += 1


def ours(text: str) -> tuple[bool, ...]:
    document = Document(text, "")
    return tuple(isinstance(step(document), Document) for step in STEPS)


def datatrove() -> Callable[[str], tuple[bool, ...]]:
    from datatrove.data import Document as Other
    from datatrove.pipeline import filters

    built = [getattr(filters, name)() for name in NAMES]

    def run(text: str) -> tuple[bool, ...]:
        # C4's filter changes its document, so that each gets one of its own.
        return tuple(each.filter(Other(text=text, id="")) is True for each in built)

    return run


def peak(files: list[Path], megabytes: int) -> float:
    """Peak memory in megabytes of cleaning so many megabytes in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.jsonl"
        with raw.open("w", encoding="utf-8") as out:
            for text in corpus(files, megabytes):
                out.write(json.dumps({"text": text}) + "\n")
        script = Path(folder) / "run.py"
        script.write_text(CLEAN)
        done = subprocess.run(
            [sys.executable, str(script), str(raw)],
            env={**os.environ, "LANGWRIGHT_HOME": str(Path(folder) / "home")},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return int(done.stdout.split()[-1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
