"""Training speed beside nanoGPT, transformers, litgpt and nanochat, at one shape.

    LANGWRIGHT_PEERS=DIR python benchmarks/training.py 6x256 --precision float32 --rounds 5

Every step is forward, backward, clipping and fused AdamW on fixed random tokens, ours through
`Learner` and `next_token_loss` as the loop has it (`training_models.py` says how each is made).
Each contender has a process of its own; rounds go round all of them, and one computes at a time.
Figures are medians with the least and the most over all steps; the ratio to ours is that of the
medians of one round, over the rounds. Compiling happens in the first step, which is a column and
counts in no speed. The processes stay between rounds, except at 12x768, where memory would not
hold them all: there each round starts them anew, and compiles from the round before's cache.

Heads: 8 of 32 at 6x256 (nanoGPT's would be 64 wide; the narrow ones are those of our reference
measurements), 6 of 64 at 6x384 and 12 of 64 at 12x768, as nanoGPT has them. Our feed-forward part
is gated and 688, 1024 and 2048 wide, against 4 x width without a gate.

FLOP a token: 6 N + 12 L T d, N the matrices with the head, as in the metrics of a run
(`langwright.model.flops`). Utilisation: FLOP/s over those of the bare matrix products of our step
(`torch.mm`, forward and two backward for q, k, v, o, gate, up, down of each layer and the head), a
row of the table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from dataclasses import replace

from training_contenders import Contender, Figures
from training_models import Order, Shape

from langwright.model.flops import training_flops

SHAPES = {
    "tiny": Shape(2, 64, 2, 64, 2, 256),
    "6x256": Shape(6, 256, 8, 256, 16),
    "6x384": Shape(6, 384, 6, 256, 16),
    "12x768": Shape(12, 768, 12, 1024, 2),
}
STAY = {"tiny", "6x256", "6x384"}
OURS, BARE = "langwright", "matrix products"
EVERYONE = (
    OURS,
    "langwright compiled",
    "nanoGPT",
    "nanoGPT compiled",
    "transformers",
    "transformers compiled",
    "litgpt",
    "litgpt compiled",
    "nanochat",
    BARE,
)


def spread(values: list[float], pattern: str = "{:,.0f}") -> str:
    low, middle, high = (
        pattern.format(one) for one in (min(values), statistics.median(values), max(values))
    )
    return f"{middle} [{low} to {high}]"


def measure(
    names: list[str], order: Order, rounds: int, steps: int, stay: bool
) -> dict[str, list[Figures]]:
    """For each contender its rounds: the seconds of its steps, or an error. No steps: the first one
    counts, with what it compiled."""
    alive: dict[str, Contender] = {}
    warm: dict[str, Figures] = {}
    found: dict[str, list[Figures]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            if any("error" in one for one in found[name]):
                continue
            if name not in alive:
                compiled = "whole" if name.endswith(" compiled") else ""
                who = name.removesuffix(" compiled")
                alive[name] = Contender(who, replace(order, compiled=compiled))
                told = alive[name].ask(warm=2 if steps else 1)
                # The first round's first step compiles from nothing; a later one may not.
                warm.setdefault(name, told)
            told = warm[name]
            if "error" not in told and not steps:
                told = told | {"seconds": [told["first_step_s"]]}
            elif "error" not in told:
                told = told | alive[name].ask(steps=steps)
            found[name].append(told)
            if not stay or "error" in told:
                alive.pop(name).close()
            rate = told.get("error") or f"{statistics.median(told['seconds']):.3f} s a step"
            print(f"round {number + 1}: {name}: {rate}", file=sys.stderr)
    for one in alive.values():
        one.close()
    return found


def table(found: dict[str, list[Figures]], shape: Shape) -> None:
    seen = shape.layers * shape.context
    pace: dict[str, list[float]] = {}
    wrong = {}
    for name, rounds in found.items():
        failed = [one["error"] for one in rounds if "error" in one]
        if failed:
            wrong[name] = failed[0]
        else:
            pace[name] = [statistics.median(one["seconds"]) for one in rounds]
    bare = [
        training_flops(found[BARE][0]["matrices"], 0, 0) * shape.tokens / seconds
        for seconds in pace.get(BARE, [])
    ]
    print(
        "| what | parameters | tokens/s | ours is … times as fast | GFLOP/s | utilisation "
        "| first step, s | memory, MB |\n|---|---|---|---|---|---|---|---|"
    )
    for name, rounds in found.items():
        if name in wrong:
            print(f"| {name} | {wrong[name]} |")
            continue
        first = rounds[0]
        rates = [shape.tokens / one for told in rounds for one in told["seconds"]]
        work = training_flops(first["matrices"], 0 if name == BARE else seen, shape.width)
        speeds = [work * shape.tokens / seconds for seconds in pace[name]]
        cells = [name, "-" if name == BARE else f"{first['parameters']:,}", spread(rates)]
        ratio = "-"
        if name != OURS and OURS in pace:
            pairs = zip(pace[name], pace[OURS], strict=True)
            ratio = spread([theirs / ours for theirs, ours in pairs], "{:.2f}")
        cells += [ratio, f"{statistics.median(speeds) / 1e9:,.0f}"]
        shares = [one / peak for one, peak in zip(speeds, bare, strict=False)]
        cells.append(f"{statistics.median(shares):.0%}" if shares else "-")
        cells.append(f"{first['first_step_s']:.1f}")
        cells.append(f"{max(one['peak_memory_bytes'] for one in rounds) / 1e6:,.0f}")
        print("| " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--steps", type=int, default=4, help="of each contender in each round; 0: its first alone"
    )
    parser.add_argument("--without", action="append", default=[], help="a contender to leave out")
    parser.add_argument("--only", action="append", default=[], help="a contender to measure")
    given = parser.parse_args()
    names = [one for one in given.only or EVERYONE if one not in given.without]
    unknown = set(names) - set(EVERYONE)
    if unknown:
        parser.error(f"no contender {min(unknown)}; there are {', '.join(EVERYONE)}")
    shape = SHAPES[given.shape]
    order = Order(shape, given.precision)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        found = measure(names, order, given.rounds, given.steps, given.shape in STAY)
    print(
        f"{given.shape}, {given.precision}, {shape.tokens} tokens a step in rows of "
        f"{shape.context}, {given.rounds} rounds of {given.steps} steps"
    )
    table(found, shape)


if __name__ == "__main__":
    main()
