"""What a server goes through: callers who leave, who read slowly, who send nonsense, too many of
them, a kill, and a mixed load; its memory, its slots and its status codes meanwhile.

    OMP_NUM_THREADS=1 python benchmarks/server_faults.py --minutes 20 [--model NAME] [--swaps 100]

Without --model a small model of random weights is served. With --swaps a run is served with
--follow meanwhile, whose checkpoints are exchanged; every answer must be one checkpoint's own.
Exits with 1 where something is not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import torch

from langwright.backend import Request, Sampling
from langwright.inference import Engine
from langwright.model import Architecture, Decoder, ModelBundle
from langwright.model.folder import save_folder
from langwright.store import Store
from langwright.tokens import CHATML, TURN_END, ChatTemplate, train_bpe

SEEDS = random.Random(0)
ASKED = [{"role": "user", "content": "the quick fox"}]
wrong: list[str] = []


def check(true: bool, what: str) -> None:
    if not true:
        wrong.append(what)
        print(f"WRONG: {what}", flush=True)


def small(seed: int) -> ModelBundle:
    tokenizer = train_bpe(["the quick fox and the lazy dog, the 12 words " * 3], 320)
    torch.manual_seed(seed)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_layers": 2, "num_heads": 4}
    shape |= {"num_kv_heads": 2, "head_dim": 16, "vocab_size": tokenizer.vocab_size}
    module = Decoder(Architecture.build({**shape, "context_length": 512}))
    with torch.no_grad():
        for weight in module.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 2 * weight.shape[-1] ** -0.5)
    module.requires_grad_(False).eval()
    ends = frozenset({tokenizer.special[TURN_END]})
    return ModelBundle(module, tokenizer, ChatTemplate(CHATML, tokenizer), ends)


class Server:
    def __init__(self, home: Path, *words: str, port: int = 0) -> None:
        env = {**os.environ, "LANGWRIGHT_HOME": str(home)}
        command = [sys.executable, "-m", "langwright", "serve", "--json", "--port", str(port)]
        self.process = subprocess.Popen(
            [*command, *words], stdout=subprocess.PIPE, text=True, env=env
        )
        assert self.process.stdout
        self.url = json.loads(self.process.stdout.readline())["url"]

    @property
    def rss_mb(self) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) / 1024

    @property
    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def body(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": ASKED, "max_tokens": 16, "temperature": 0, **more}


async def running(client: httpx.AsyncClient) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    found = [one for one in lines if one.startswith(("vllm:num_requests_r", "vllm:num_requests_w"))]
    return sum(float(one.rsplit(" ", 1)[1]) for one in found)


async def idle(client: httpx.AsyncClient, what: str) -> float:
    """Seconds until nobody is answered."""
    begun = time.perf_counter()
    while await running(client):
        await asyncio.sleep(0.02)
        if time.perf_counter() - begun > 60:
            check(False, f"after {what} a slot is lost")
            break
    return time.perf_counter() - begun


async def leaves(client: httpx.AsyncClient, model: str) -> int:
    try:
        asked = body(model, stream=True, max_tokens=400)
        async with client.stream("POST", "/v1/chat/completions", json=asked) as answer:
            async for _ in answer.aiter_raw():
                return answer.status_code
    except httpx.HTTPError:
        return -1
    return 0


async def reads_slowly(client: httpx.AsyncClient, model: str) -> int:
    asked = body(model, stream=True, max_tokens=200)
    async with client.stream("POST", "/v1/chat/completions", json=asked) as answer:
        async for _ in answer.aiter_raw(64):
            await asyncio.sleep(0.05)
        return answer.status_code


def nonsense(number: int, model: str) -> bytes:
    """A body that is broken in one of many ways."""
    text = json.dumps(body(model))
    kind = number % 5
    if kind == 0:
        return text[: SEEDS.randrange(len(text))].encode()
    if kind == 1:
        at = SEEDS.randrange(len(text))
        return (text[:at] + chr(SEEDS.randrange(32, 127)) + text[at + 1 :]).encode()
    if kind == 2:
        return bytes(SEEDS.randrange(256) for _ in range(SEEDS.randrange(1, 200)))
    if kind == 3:
        value = SEEDS.choice([None, -1, 1e400, "x", [], {}, True, "\u0000", 2**70])
        key = SEEDS.choice(["messages", "temperature", "max_tokens", "stop", "n", "logit_bias"])
        return json.dumps({**body(model), key: value}).encode()
    return b"[" * SEEDS.randrange(1, 5000) + text.encode()


CHAT = "/v1/chat/completions"


async def post(client: httpx.AsyncClient, content: bytes | dict[str, Any], path: str = CHAT) -> int:
    try:
        if isinstance(content, dict):
            return (await client.post(path, json=content)).status_code
        return (await client.post(path, content=content)).status_code
    except httpx.HTTPError:
        return -1


async def faults(server: Server, model: str, home: Path, args: argparse.Namespace) -> None:
    limits = httpx.Limits(max_connections=2000, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=server.url, timeout=300, limits=limits) as client:
        await client.post("/v1/chat/completions", json=body(model))
        before = server.rss_mb
        told = Counter(await asyncio.gather(*(leaves(client, model) for _ in range(200))))
        took = await idle(client, "200 who leave")
        print(f"200 leave mid-stream: {dict(told)}, all slots free after {took:.2f} s", flush=True)

        begun = time.perf_counter()
        slow = [asyncio.ensure_future(reads_slowly(client, model)) for _ in range(32)]
        await asyncio.sleep(1)
        beside = time.perf_counter()
        status = await post(client, body(model))
        beside = time.perf_counter() - beside
        check(status == 200, "a call beside slow readers fails")
        await asyncio.gather(*slow)
        print(f"32 read slowly ({time.perf_counter() - begun:.0f} s): a call beside them took "
              f"{beside:.2f} s", flush=True)  # fmt: skip

        text = "the quick fox " * (10 * 2**20 // 14)
        begun = time.perf_counter()
        status = await post(client, body(model, messages=[{"role": "user", "content": text}]))
        check(status == 400, f"a prompt of 10 MB gets {status}")
        print(f"a prompt of 10 MB: {status} after {time.perf_counter() - begun:.2f} s", flush=True)

        codes = Counter([await post(client, nonsense(n, model)) for n in range(1000)])
        check(all(code in (200, 400, 404) for code in codes), f"nonsense gets {dict(codes)}")
        print(f"1,000 broken bodies: {dict(codes)}", flush=True)

        begun = time.perf_counter()
        codes = Counter(await asyncio.gather(*(post(client, body(model)) for _ in range(1000))))
        check(set(codes) <= {200, 429}, f"1,000 at once get {dict(codes)}")
        took = await idle(client, "1,000 at once")
        print(f"1,000 at once: {dict(codes)} in {time.perf_counter() - begun:.1f} s", flush=True)

        print(f"memory {before:.0f} MB before, {server.rss_mb:.0f} MB after", flush=True)
        await mixed(client, server, model, args.minutes * 60)
    port = int(server.url.rsplit(":", 1)[1])
    server.process.kill()
    server.process.wait()
    begun = time.perf_counter()
    again = Server(home, model, port=port)
    async with httpx.AsyncClient(base_url=again.url, timeout=60) as client:
        status = await post(client, body(model))
    check(status == 200, "after a kill it does not answer")
    print(f"kill -9 and a new start: answers after {time.perf_counter() - begun:.1f} s")
    again.process.send_signal(signal.SIGINT)
    check(again.process.wait(timeout=60) == 130, "Ctrl-C does not end it with 130")


async def mixed(client: httpx.AsyncClient, server: Server, model: str, seconds: float) -> None:
    """All of it together, for so long."""
    codes: Counter[int] = Counter()
    memory: list[float] = []
    end = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        rng = random.Random(number)
        while time.perf_counter() < end:
            kind = rng.random()
            if kind < 0.2:
                codes[await leaves(client, model)] += 1
            elif kind < 0.3:
                codes[await post(client, nonsense(rng.randrange(10**6), model))] += 1
            elif kind < 0.4:
                asked = {"model": model, "prompt": "the quick", "max_tokens": 8, "logprobs": 2}
                codes[await post(client, {**asked, "echo": True}, "/v1/completions")] += 1
            elif kind < 0.5:
                asked = {"model": model, "messages": ASKED, "max_tokens": 12}
                codes[await post(client, asked, "/v1/messages")] += 1
            else:
                length = rng.randrange(1, 60)
                said = [{"role": "user", "content": f"the {number} quick fox " * rng.randrange(8)}]
                codes[await post(client, body(model, messages=said, max_tokens=length))] += 1

    async def looks() -> None:
        while time.perf_counter() < end:
            memory.append(server.rss_mb)
            await asyncio.sleep(min(5, seconds / 20))

    await asyncio.gather(looks(), *(caller(number) for number in range(24)))
    await idle(client, "the mixed load")
    check(set(codes) <= {0, 200, 400, 404, 429}, f"the mixed load gets {dict(codes)}")
    half = len(memory) // 2
    first, second = statistics.median(memory[half // 2 : half]), statistics.median(memory[half:])
    check(second < first * 1.1 + 20, f"memory grows from {first:.0f} to {second:.0f} MB")
    print(
        f"{seconds / 60:g} minutes of mixed load: {sum(codes.values()):,} calls, {dict(codes)}; "
        f"memory {first:.0f} MB in the second quarter, {second:.0f} in the second half; "
        f"{server.files} open files at the end",
        flush=True,
    )


async def swaps(home: Path, folder: Path, count: int) -> None:
    """A run is followed while its checkpoints are exchanged."""
    run = Store(home).run("growing").open({})
    bundles = [small(seed) for seed in range(5)]
    said = []
    for number, bundle in enumerate(bundles):
        (folder / f"w{number}").mkdir()
        save_folder(folder / f"w{number}", bundle)
        request = Request(messages=ASKED, max_tokens=40, sampling=Sampling(temperature=0))
        said.append("".join(one.text for one in Engine(bundle).generate([request])))

    def publish(step: int) -> None:
        aside = folder / f"step-{step:08}"
        shutil.copytree(folder / f"w{step % 5}", aside / "model")
        aside.rename(run.checkpoints / aside.name)
        shutil.rmtree(run.checkpoints / f"step-{step - 3:08}", ignore_errors=True)

    publish(1)
    server = Server(home, "growing", "--follow")
    answers: list[tuple[int, str, str]] = []
    over = False
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:

        async def caller() -> None:
            while not over:
                answer = await client.post(
                    "/v1/chat/completions", json=body("growing", max_tokens=40)
                )
                told = answer.json()
                if answer.status_code == 200:
                    text = told["choices"][0]["message"]["content"]
                    answers.append((200, told["model"], text))
                else:
                    answers.append((answer.status_code, "", str(told)))

        callers = [asyncio.ensure_future(caller()) for _ in range(8)]
        begun = time.perf_counter()
        for step in range(2, count + 2):
            publish(step)
            while not any(one[1] == f"growing@{step}" for one in answers[-50:]):
                await asyncio.sleep(0.01)
        took = time.perf_counter() - begun
        over = True
        await asyncio.gather(*callers)
    failed = [one for one in answers if one[0] != 200]
    mixed_up = [
        one for one in answers if one[0] == 200 and one[2] != said[int(one[1].split("@")[1]) % 5]
    ]
    check(not failed, f"{len(failed)} calls fail while checkpoints come: {failed[:1]}")
    check(not mixed_up, f"{len(mixed_up)} answers are of no checkpoint: {mixed_up[:1]}")
    print(f"{count} swaps in {took:.0f} s under 8 callers: {len(answers):,} answers, "
          f"{len(failed)} failed, {len(mixed_up)} of more than one checkpoint")  # fmt: skip
    server.process.send_signal(signal.SIGINT)
    server.process.wait(timeout=60)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--model")
    parser.add_argument("--swaps", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        home = folder / "home"
        model = args.model
        if model is None:
            model = str(folder / "model")
            Path(model).mkdir()
            save_folder(Path(model), small(0))
        else:
            home = Store().home
        server = Server(home, model)
        asyncio.run(faults(server, model, home, args))
        if args.swaps:
            asyncio.run(swaps(folder / "runs", folder, args.swaps))
    print("All as it must be." if not wrong else f"{len(wrong)} things are wrong.")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
