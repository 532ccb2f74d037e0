"""Forecasts held against the runs that they were made for.

    LANGWRIGHT_TEST_DATA=DIR python benchmarks/forecast.py [--budget-scale 1.0]

For each case a plan is made for its budget and its size, and its recipe is trained in a process of
its own; the run says how the forecast came out. The wall clock counts: run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import langwright as lw
from langwright.store import Store

CASES = (
    ("wikipedia-summaries", 64, 90),
    ("books", 64, 90),
    ("wikipedia-summaries", 128, 150),
    ("books", 128, 150),
    ("wikipedia-summaries", 256, 240),
)
"""Corpus (a name, or a folder of the test data), width, seconds."""
FIGURES = ("peak_memory_bytes", "seconds", "tokens_per_second", "val_bits_per_byte")


def run(number: int, corpus: str, width: int, seconds: float, home: Path) -> dict[str, Any]:
    data = Path(os.environ.get("LANGWRIGHT_TEST_DATA", "")) / corpus
    words = {"corpus": str(data) if data.is_dir() else corpus, "hidden_size": width}
    words |= {"vocab_size": 4096, "context_length": 256}
    store, recipe = Store(home), home / f"{number}.toml"
    found = lw.plan(budget=f"{seconds}s", name=f"p{number}", to=recipe, store=store, **words)
    program = [sys.executable, "-m", "langwright", "pretrain", str(recipe)]
    done = subprocess.run(
        [*program, "--name", f"run{number}", "--json"],
        env=os.environ | {"LANGWRIGHT_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    result["parameters"] = found["forecast"]["parameters"]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget-scale", type=float, default=1.0)
    parser.add_argument("--home", help="a home to keep; else a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(given.home or folder)
        home.mkdir(exist_ok=True)
        rows = []
        for number, (corpus, width, seconds) in enumerate(CASES, start=1):
            result = run(number, corpus, width, seconds * given.budget_scale, home)
            rows.append((corpus, result))
            print(json.dumps(result["forecast"]), file=sys.stderr, flush=True)
    print("| corpus | parameters | tokens | " + " | ".join(FIGURES) + " |")
    print("|---|---|---|" + "---|" * len(FIGURES))
    for corpus, result in rows:
        cells = []
        for key in FIGURES:
            one = result["forecast"][key]
            cells.append(f"{one['forecast']:,.4g} / {one['actual']:,.4g} ({one['error']:+.1%})")
        print(f"| {corpus} | {result['parameters']:,} | {result['tokens']:,} | ", end="")
        print(" | ".join(cells) + " |")


if __name__ == "__main__":
    main()
