"""What weights of fewer bits cost and bring, on this machine.

    .venv/bin/python benchmarks/quantised.py [MODEL] [TEXT.txt] [--rounds 5]

First one matrix: the microseconds of a product by torch's kernels, and of dequantising first, for
1 to 128 rows. Then a whole model (smollm2-135m-instruct of the store, unless one is named) in each
dtype: bytes held, tokens a second of greedy decoding and of reading a prompt, and on a text (the
reference of Python's statements, unless one is named) bits per byte and mean KL from float32.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from pydoc_data.topics import topics
from typing import get_args

import torch
from torch import nn
from torch.nn import functional as F

from langwright.backend import Dtype, Request, Sampling
from langwright.inference import Engine
from langwright.model.quantised import Int4, Int8
from langwright.providers import open_model

ROWS = (1, 4, 8, 16, 32, 64, 128)
SHAPES = ((1536, 576), (576, 1536), (49152, 576))
PROMPT, ANSWER = 512, 64


def microseconds(call: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(3 * rounds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e6


@torch.inference_mode()
def products(rounds: int) -> None:
    print(
        f"{'matrix':>14} {'rows':>5}   bfloat16      int8  (dequantised)      int4  (dequantised)"
    )
    for outputs, inputs in SHAPES:
        weight = torch.randn(outputs, inputs)
        half, matrices = weight.bfloat16(), (Int8.of(weight), Int4.of(weight))
        for rows in ROWS:
            x = torch.randn(rows, inputs).bfloat16()
            times = [microseconds(lambda x=x, w=half: F.linear(x, w), rounds)]
            for matrix in matrices:
                times.append(microseconds(lambda m=matrix, x=x: m.few(x), rounds))
                times.append(
                    microseconds(
                        lambda m=matrix, x=x: F.linear(x, m.dequantised().bfloat16()), rounds
                    )
                )
            shown = "  ".join(f"{one:8,.0f}" for one in times)
            print(f"{outputs:>7}x{inputs:<6} {rows:>5}   {shown}")


def held(module: nn.Module) -> int:
    parts = {one.data_ptr(): one.nbytes for one in [*module.parameters(), *module.buffers()]}
    return sum(parts.values())


def whole(name: str, text: str, rounds: int) -> None:
    first: torch.Tensor | None = None
    for dtype in get_args(Dtype):
        opened = open_model(name, dtype=dtype)
        bundle = opened.bundle
        ids = torch.tensor([bundle.tokenizer.encode(text)[:PROMPT]])
        engine = Engine(bundle)
        asked = Request(
            token_ids=tuple(ids[0, :8].tolist()),
            max_tokens=ANSWER,
            sampling=Sampling(temperature=0.0),
        )
        speeds, readings = [], []
        for _ in range(rounds):
            started = time.perf_counter()
            count = sum(len(event.token_ids) for event in engine.generate([asked]))
            speeds.append(count / (time.perf_counter() - started))
            started = time.perf_counter()
            with torch.inference_mode():
                logprobs = bundle.module(ids)[0].float().log_softmax(-1)
            readings.append(ids.numel() / (time.perf_counter() - started))
        first = logprobs if first is None else first
        kl = float((first.exp() * (first - logprobs)).sum(-1).mean())
        nats = -float(logprobs[:-1].gather(-1, ids[0, 1:, None]).sum())
        size = sum(len(bundle.tokenizer.token_bytes(one)) for one in ids[0, 1:].tolist())
        print(
            f"{dtype:9} {held(bundle.module) / 1e6:6.0f} MB  decoding {spread(speeds)} tokens/s  "
            f"reading {spread(readings)}  {nats / math.log(2) / size:.4f} bits/byte  KL {kl:.4f}"
        )


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} [{min(values):,.0f} to {max(values):,.0f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="smollm2-135m-instruct")
    parser.add_argument("text", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(f"torch {version('torch')}, {torch.get_num_threads()} threads")
    products(given.rounds)
    text = given.text.read_text(encoding="utf-8") if given.text else "\n".join(topics.values())
    whole(given.model, text, given.rounds)


if __name__ == "__main__":
    main()
