"""What a server costs over the engine in process, and its throughput beside others'.

    OMP_NUM_THREADS=2 python benchmarks/serving.py --gguf MODEL.gguf --hf FOLDER [--rounds 3]

One model: as a GGUF file by our engine in process, our server and llama.cpp's (the wheel
`xllamacpp`), and as a Hugging Face folder (float32) by our server and `transformers serve`. Each
answers 1 and 8 callers at once, who stream `--tokens` greedy tokens each; rounds alternate, and no
prompt comes twice. Printed are tokens a second (median, spread), the seconds to the first token and
how much of a core the callers themselves took, which share the machine with the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx

from langwright.backend import Request, Sampling
from langwright.providers import Model, open_model

TOPICS = ["rivers", "bread", "the moon", "old clocks", "bees", "snow", "trains", "the sea"]


def messages(caller: int, turn: int) -> list[dict[str, str]]:
    said = f"Story {turn}: tell me a long one about {TOPICS[caller]}, with many details."
    return [{"role": "user", "content": said}]


def in_process(model: Model, callers: int, tokens: int, turn: int) -> tuple[float, float]:
    """Tokens a second, and seconds to the first of each caller (median)."""
    requests = [
        Request(messages=messages(n, turn), max_tokens=tokens, sampling=Sampling(temperature=0))
        for n in range(callers)
    ]
    begun, first, count = time.perf_counter(), dict[str, float](), 0
    for event in model.backend.generate(requests):
        if event.token_ids:
            first.setdefault(event.request_id, time.perf_counter() - begun)
            count += len(event.token_ids)
    return count / (time.perf_counter() - begun), statistics.median(first.values())


async def over_http(
    url: str, model: str, callers: int, tokens: int, turn: int
) -> tuple[float, float]:
    async with httpx.AsyncClient(timeout=600) as client:

        async def call(caller: int) -> tuple[int, float]:
            asked: dict[str, Any] = {
                "model": model,
                "messages": messages(caller, turn),
                "max_tokens": tokens,
                "temperature": 0,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
            begun, first, count, pieces = time.perf_counter(), 0.0, 0, 0
            async with client.stream("POST", f"{url}/v1/chat/completions", json=asked) as answer:
                assert answer.status_code == 200, await answer.aread()
                async for line in answer.aiter_lines():
                    if not line.startswith("data: {"):
                        continue
                    chunk = json.loads(line.removeprefix("data: "))
                    delta = chunk["choices"][0]["delta"] if chunk.get("choices") else {}
                    if delta.get("content"):
                        first = first or time.perf_counter() - begun
                        pieces += 1
                    if chunk.get("usage"):
                        count = chunk["usage"]["completion_tokens"]
            return count or pieces, first

        begun = time.perf_counter()
        found = await asyncio.gather(*(call(n) for n in range(callers)))
        took = time.perf_counter() - begun
    return sum(count for count, _ in found) / took, statistics.median(one for _, one in found)


@contextmanager
def ours(model: str, dtype: str) -> Iterator[str]:
    command = [sys.executable, "-m", "langwright", "serve", model, "--dtype", dtype, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait(timeout=60)


LLAMA = """
import sys, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.model_alias = sys.argv[1], {"peer"}
p.n_parallel, p.n_ctx, p.cpuparams.n_threads = 8, 8 * 1024, int(sys.argv[2])
p.cpuparams_batch.n_threads = int(sys.argv[2])
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def llama_cpp(path: str, threads: int) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", LLAMA, path, str(threads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout
        line = next(one for one in process.stdout if one.startswith("http"))
        yield line.strip()
    finally:
        process.kill()


@contextmanager
def transformers_serve(folder: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = shutil.which("transformers", path=os.path.dirname(sys.executable))
    assert program, "transformers is not installed"
    command = [program, "serve", folder, "--port", str(port), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                if httpx.get(f"{url}/health", timeout=2).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            assert process.poll() is None, (
                "transformers serve ended: is transformers[serving] there?"
            )
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--hf")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    args = parser.parse_args()
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    ways: dict[str, Any] = {}
    with ExitStack() as stack:
        model = open_model(args.gguf, dtype="auto")
        ways["our engine in process, GGUF"] = lambda callers, turn: in_process(
            model, callers, args.tokens, turn
        )

        def add(name: str, url: str, said: str) -> None:
            ways[name] = lambda callers, turn: asyncio.run(
                over_http(url, said, callers, args.tokens, turn)
            )

        add("our server, GGUF", stack.enter_context(ours(args.gguf, "auto")), args.gguf)
        add("llama.cpp's server, GGUF", stack.enter_context(llama_cpp(args.gguf, threads)), "peer")
        if args.hf:
            add("our server, float32", stack.enter_context(ours(args.hf, "float32")), args.hf)
            try:
                peer = stack.enter_context(transformers_serve(args.hf))
                add("transformers serve, float32", peer, args.hf)
            except AssertionError as error:
                print(f"transformers serve: {error}")
        found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
        for number in range(args.rounds + 1):
            for callers in (1, 8):
                for name, way in ways.items():
                    begun, used = time.perf_counter(), time.process_time()
                    told = way(callers, number)
                    core = (time.process_time() - used) / (time.perf_counter() - begun)
                    if number:  # the first warms up
                        found.setdefault((name, callers), []).append((*told, core))
                        print(f"{name}, {callers}: {told[0]:.1f}/s", file=sys.stderr, flush=True)
    print("| who | callers | tokens/s (least, most) | first token, s | callers' core |")
    print("|---|---|---|---|---|")
    for (name, callers), rows in found.items():
        rates = sorted(rate for rate, _, _ in rows)
        first, core = (statistics.median(row[n] for row in rows) for n in (1, 2))
        share = "-" if "in process" in name else f"{core:.0%}"
        print(f"| {name} | {callers} | {statistics.median(rates):.1f} ({rates[0]:.1f}, "
              f"{rates[-1]:.1f}) | {first:.2f} | {share} |")  # fmt: skip


if __name__ == "__main__":
    main()
