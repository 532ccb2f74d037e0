"""How much of a GPU training uses (MFU), beside nanochat, modded-nanogpt and nanoGPT.

    PYTHONPATH=src:SITE LANGWRIGHT_PEERS=DIR python3 benchmarks/training_gpu.py

On a machine with torch for CUDA and without our virtual environment. SITE is a folder with what
`langwright.training` and `langwright.model` import beside torch and numpy and what that Python
lacks: pydantic, pydantic-core, annotated-types, typing-inspection, typing-extensions,
platformdirs, llguidance, and where they are missing too jinja2, markupsafe, rich, safetensors,
tokenizers, tiktoken (`pip install --target SITE …`); nanochat wants filelock. No network is used.
`--device cpu --tiny` tries the same on a processor.

MFU is 6 N + 12 L T d FLOP a token (PaLM, appendix B; N the matrices with the head, each once),
times tokens/s, over `--peak`: 989e12 for an H100's dense bfloat16; both as in the metrics of a run
(`langwright.model.flops`). 12 L T d counts attention as if nothing were masked, as PaLM does. Steps
are forward, backward, clipping and fused AdamW on fixed random tokens, in bfloat16
(`training_models.py` says how each is made); attention is torch's kernel for all. Each contender is
a process of its own with a time limit, one on the GPU at a time; one that runs out of memory is
tried again with half its rows. Peers of 48 layers are compiled block by block, as ours always are:
the whole would take minutes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import dataclass, replace

from training_contenders import Contender, Figures
from training_models import Order, Shape

from langwright.model.flops import peak_flops, training_flops

SHAPES = {
    "124M": Shape(12, 768, 12, 1024, 32, 50304),
    "1.5B": Shape(48, 1600, 25, 1024, 8, 50304),
    "1.5B wide": Shape(28, 2048, 16, 1024, 8, 50304),
    "tiny": Shape(2, 128, 2, 64, 4, 256),
}
MEMORY = "OutOfMemory"


@dataclass(frozen=True)
class Entry:
    """A row: who trains at which shape, and how."""

    shape: str
    who: str
    compiled: str = ""
    checkpointing: bool = False
    pieces: int = 1
    deterministic: bool = False
    precision: str = ""

    @property
    def name(self) -> str:
        how = {"": "", "whole": " compiled", "blocks": " blocks compiled"}[self.compiled]
        if self.who == "langwright" and self.compiled:
            how = " compile=true"
        if self.who == "langwright":
            how += " deterministic" if self.deterministic else ""
            how += f" precision={self.precision}" if self.precision else ""
        how += " activation_checkpointing=true" if self.checkpointing else ""
        return self.who + how


ENTRIES = [
    Entry("124M", "matrix products"),
    Entry("124M", "langwright"),
    Entry("124M", "langwright", "blocks"),
    Entry("124M", "langwright", "blocks", deterministic=True),
    Entry("124M", "langwright", "blocks", pieces=8),
    Entry("124M", "langwright", "blocks", pieces=8, precision="float8"),
    Entry("124M", "nanoGPT", "whole"),
    Entry("124M", "nanochat", "whole"),
    Entry("124M", "modded-nanogpt", "whole"),
    Entry("1.5B", "matrix products"),
    Entry("1.5B", "langwright"),
    Entry("1.5B", "langwright", "blocks"),
    Entry("1.5B", "langwright", "blocks", checkpointing=True),
    Entry("1.5B", "nanoGPT", "blocks"),
    Entry("1.5B", "nanochat", "blocks"),
    Entry("1.5B", "modded-nanogpt", "blocks"),
    Entry("1.5B wide", "langwright", "blocks", pieces=4),
    Entry("1.5B wide", "langwright", "blocks", pieces=4, deterministic=True),
    Entry("1.5B wide", "langwright", "blocks", pieces=4, precision="float8"),
]
NOT_RUN = (
    "modded-nanogpt's train_gpt.py: not run, since it fetches FlashAttention 3 from a hub as it "
    "starts, and its layers are written for its own width, world and data; the row above is the "
    "model of its train_gpt_simple.py"
)


def order_of(entry: Entry, device: str, precision: str, rows: int | None) -> Order:
    shape = SHAPES[entry.shape]
    # Without what lies within the blocks there is room for twice the rows.
    rows = rows or shape.rows * (2 if entry.checkpointing else 1)
    return Order(
        replace(shape, rows=rows), entry.precision or precision, device, entry.compiled,
        entry.checkpointing, entry.pieces, entry.deterministic,
    )  # fmt: skip


def measure(one: Contender, who: str, order: Order, steps: int, until: float) -> Figures:
    """Its figures, tried again with half the rows where memory runs out."""
    while True:
        left = until - time.monotonic()
        if left < 5:
            one.close()
            return {"error": "not run: the time was up"}
        found = one.ask(left, warm=3)
        if "error" not in found:
            left = max(1.0, until - time.monotonic())
            found = found | one.ask(left, steps=steps)
        one.close()
        if MEMORY not in found.get("error", "") or order.shape.rows == 1:
            return found | {"rows": order.shape.rows}
        order = replace(order, shape=replace(order.shape, rows=order.shape.rows // 2))
        print(f"  out of memory; now {order.shape.rows} rows", flush=True)
        one = Contender(who, order)


def cells(entry: Entry, found: Figures, peak: float) -> list[str]:
    if "error" in found:
        return [entry.shape, entry.name, found["error"]]
    shape = replace(SHAPES[entry.shape], rows=found["rows"])
    seen = 0 if entry.who == "matrix products" else shape.layers * shape.context
    work = training_flops(found["matrices"], seen, shape.width)
    rates = sorted(entry.pieces * shape.tokens / one for one in found["seconds"])
    low, middle, high = (
        work * rate / peak for rate in (rates[0], statistics.median(rates), rates[-1])
    )
    return [
        entry.shape,
        entry.name,
        "-" if entry.who == "matrix products" else f"{found['parameters'] / 1e6:,.1f}",
        f"{shape.rows} x {shape.context}" + (f" x {entry.pieces}" if entry.pieces > 1 else ""),
        f"{statistics.median(rates):,.0f}",
        f"{middle:.1%} [{low:.1%} to {high:.1%}]",
        f"{found['first_step_s']:.1f}",
        f"{found['peak_memory_bytes'] / 1e9:,.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shapes = ("124M", "1.5B", "1.5B wide")
    parser.add_argument("--only", action="append", choices=shapes, help="a shape")
    parser.add_argument("--who", action="append", help="a contender")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a small shape, in float32")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rows", type=int, help="of a step, for every contender")
    parser.add_argument("--limit", type=float, default=100, help="seconds for each contender")
    parser.add_argument("--minutes", type=float, default=6, help="for all together")
    peak = peak_flops("H100 80GB HBM3")
    parser.add_argument("--peak", type=float, default=peak, help="FLOP/s of the GPU")
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes
    entries = [one for one in ENTRIES if one.shape in (given.only or shapes)]
    entries = [one for one in entries if given.who is None or one.who in given.who]
    if given.tiny:
        alike = {replace(one, shape="tiny"): None for one in entries}
        entries = list(alike)
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    precision = "float32" if given.tiny else "bfloat16"
    orders = [order_of(one, given.device, precision, given.rows) for one in entries]
    # All import at once; the GPU is touched by the one that is asked.
    waiting = [Contender(e.who, order) for e, order in zip(entries, orders, strict=True)]
    rows = []
    for entry, order, one in zip(entries, orders, waiting, strict=True):
        started = time.monotonic()
        found = measure(one, entry.who, order, given.steps, min(until, started + given.limit))
        rows.append(cells(entry, found, given.peak))
        print(f"[{time.monotonic() - started:4.0f} s] " + " | ".join(rows[-1]), flush=True)
    print(
        "\n| shape | what | parameters, millions | rows x tokens | tokens/s | MFU "
        "| first step, s | GPU memory, GB |\n|---|---|---|---|---|---|---|---|"
    )
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(f"\n{NOT_RUN}", flush=True)


if __name__ == "__main__":
    main()
