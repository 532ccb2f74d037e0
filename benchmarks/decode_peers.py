"""Reading and decoding beside other programs: llama.cpp, OpenVINO GenAI, transformers.

    python benchmarks/decode_peers.py MODEL.gguf --prompt-tokens 512 --tokens 128 --concurrency 1,8

Prompts are random words, answers of a fixed length at temperature 1. Each contender has a process
of its own, one at a time, in rounds that go round all of them; figures are medians with the least
and the most. OpenVINO GenAI is taken from the virtual environment that `LANGWRIGHT_PEERS` names
(`pip install openvino-genai`), or from this Python; what is missing is a row that says so. It holds
the file's weights in its own way; transformers holds them in `--transformers-dtype`, as they are
and with a compiled step and a static cache, whose compiling is not counted.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TEXT = """
the of and to in is was for on that by with from at his it an as are this be which were
had has but not have their one also its new first two after he her they who been other
when time during there into all she would more year over some only can most between
years about made up later city world
"""
WORDS = TEXT.split()

Figures = dict[str, Any]


def prompts(order: Figures, count: int, generator: random.Random) -> list[str]:
    return [" ".join(generator.choices(WORDS, k=order["prompt_tokens"])) for _ in range(count)]


def openvino(order: Figures) -> Figures:
    import openvino_genai

    start = time.perf_counter()
    pipeline = openvino_genai.LLMPipeline(order["model"], "CPU")
    loaded = time.perf_counter() - start
    generator = random.Random(order["seed"])
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = config.min_new_tokens = order["tokens"]
    config.ignore_eos = config.do_sample = True
    config.apply_chat_template = False
    pipeline.generate(prompts(order, 1, generator), config)  # warms up
    rows, first, rate, gap = [], 0.0, 0.0, 0.0
    for count in order["concurrency"]:
        told = pipeline.generate(prompts(order, count, generator), config).perf_metrics
        seconds = told.get_generate_duration().mean / 1000
        ttft = told.get_ttft().mean / 1000
        if count == 1:
            first, gap = ttft, told.get_tpot().mean / 1000
            rate = told.get_num_input_tokens() / ttft
        decoded = count * (order["tokens"] - 1) / (seconds - ttft)
        rows.append({"concurrency": count, "decode_tokens_per_s": decoded})
    return {
        "load_s": loaded,
        "first_token_s": first,
        "inter_token_s": gap,
        "prefill_tokens_per_s": rate,
        "concurrent": rows,
    }


def transformers(order: Figures, compiled: bool = False) -> Figures:
    import torch
    import transformers as peer

    peer.logging.set_verbosity_error()
    path = Path(order["model"])
    start = time.perf_counter()
    model = peer.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=getattr(torch, order["dtype"])
    ).eval()
    loaded = time.perf_counter() - start
    step = torch.compile(model.forward, dynamic=False) if compiled else model.forward
    tokenizer = peer.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    generator = random.Random(order["seed"])

    @torch.inference_mode()
    def answer(count: int, tokens: int) -> tuple[int, float, list[float]]:
        rows = [tokenizer(one)["input_ids"] for one in prompts(order, count, generator)]
        shortest = min(map(len, rows))
        ids = torch.tensor([row[:shortest] for row in rows])
        length = order["prompt_tokens"] * 2 + order["tokens"]
        cache = peer.StaticCache(config=model.config, max_cache_len=length)
        begun = time.perf_counter()
        place = torch.arange(shortest)
        logits = model(ids, past_key_values=cache, position_ids=place[None]).logits[:, -1]
        times = []
        for number in range(tokens):
            token = torch.multinomial(logits.float().softmax(-1), 1)
            times.append(time.perf_counter() - begun)
            if number + 1 == tokens:
                break
            place = torch.tensor([[shortest + number]])
            logits = step(token, past_key_values=cache, position_ids=place).logits[:, -1]
        return shortest, times[0], times

    rows, first, rate, gap = [], 0.0, 0.0, 0.0
    for count in order["concurrency"]:
        answer(count, 3)  # compiles
        length, ttft, times = answer(count, order["tokens"])
        if count == 1:
            gaps = [after - before for before, after in itertools.pairwise(times)]
            first, rate, gap = ttft, length / ttft, statistics.median(gaps)
        decoded = count * (len(times) - 1) / (times[-1] - times[0])
        rows.append({"concurrency": count, "decode_tokens_per_s": decoded})
    return {
        "load_s": loaded,
        "first_token_s": first,
        "inter_token_s": gap,
        "prefill_tokens_per_s": rate,
        "concurrent": rows,
    }


PEERS = {
    "OpenVINO GenAI": openvino,
    "transformers": transformers,
    "transformers compiled": functools.partial(transformers, compiled=True),
}


def child(name: str, order: Figures) -> None:
    try:
        found = PEERS[name](order)
        found["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    except Exception as error:
        found = {"error": f"{type(error).__name__}: {error}".partition("\n")[0]}
    print(json.dumps(found), flush=True)


def ask(name: str, order: Figures) -> Figures:
    program = sys.executable
    peers = os.environ.get("LANGWRIGHT_PEERS")
    if name == "OpenVINO GenAI" and peers:
        program = str(Path(peers) / "bin" / "python")
    if name in PEERS:
        words = [program, __file__, "--child", name, json.dumps(order)]
    else:
        full = order | {"backend": name}
        words = [program, "-m", "langwright.providers.contender", json.dumps(full)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    if not lines:
        return {"error": (done.stderr.strip().splitlines() or ["it said nothing"])[-1]}
    found: Figures = json.loads(lines[-1])
    return found


def spread(values: list[float], scale: float = 1.0) -> str:
    low, middle, high = (
        scale * one for one in (min(values), statistics.median(values), max(values))
    )
    return f"{middle:,.1f} [{low:,.1f} to {high:,.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--dtype", default="auto", help="of the own engine")
    parser.add_argument("--concurrency", default="1,4")
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--transformers-dtype", default="bfloat16")
    parser.add_argument("--without", action="append", default=[], help="a contender to leave out")
    given = parser.parse_args()
    concurrency = [int(one) for one in given.concurrency.split(",")]
    everyone = ("own", "llama.cpp", *PEERS)
    names = [one for one in everyone if one not in given.without]
    held = given.transformers_dtype
    dtypes = {"own": given.dtype, "transformers": held, "transformers compiled": held}
    found: dict[str, list[Figures]] = {name: [] for name in names}
    for seed in range(given.rounds):
        for name in names:
            order = {
                "model": str(Path(given.model).resolve()),
                "dtype": dtypes.get(name, "float32"),
                "concurrency": concurrency,
                "prompt_tokens": given.prompt_tokens,
                "tokens": given.tokens,
                "seed": seed,
            }
            found[name].append(ask(name, order))
            print(f"round {seed + 1}: {name}", file=sys.stderr)
    titles = [f"{count} at once, tokens/s" for count in concurrency]
    print(
        "| what | load, s | prefill, tokens/s | first token, ms | shared prefix, ms | "
        + " | ".join(titles)
        + " | memory, MB |"
    )
    print("|---|" + "---|" * (5 + len(titles)))
    for name, rounds in found.items():
        wrong = next((one["error"] for one in rounds if "error" in one), None)
        if wrong is not None:
            print(f"| {name} | {wrong} |")
            continue
        cells = [
            spread([one["load_s"] for one in rounds]),
            spread([one["prefill_tokens_per_s"] for one in rounds]),
            spread([one["first_token_s"] for one in rounds], 1000),
        ]
        shared = [one.get("first_token_shared_prefix_s") for one in rounds]
        cells.append("-" if None in shared else spread(shared, 1000))
        for place in range(len(concurrency)):
            cells.append(
                spread([one["concurrent"][place]["decode_tokens_per_s"] for one in rounds])
            )
        cells.append(spread([one["peak_memory_bytes"] for one in rounds], 1e-6))
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], json.loads(sys.argv[3]))
    else:
        main()
