"""LoRA beside full fine-tuning at equal tokens: quality, trained share, memory and time.

    LANGWRIGHT_TEST_DATA=DIR python benchmarks/lora_against_full.py --steps 24 [--out FOLDER]

SmolLM2-135M-Instruct of the store learns two tasks by the verb `sft`, once by an adapter of rank 16
on all seven matrices of each layer and once whole, each at its own rate, one seed:

- `alpaca`: to answer as the 999 answers of llamafactory_demo do (prose, much of it known before).
- `spelling`: to write a first name letter by letter (a form, and a skill of its own).

Both see the same tokens in the same order. The texts that are measured on are taken out before:
bits per byte of their answers, and of `spelling` also the share that is written without a mistake.
`base` is the model untouched. Each has a process of its own, for its peak memory, and its figures
are kept in `--out`, which a later call goes on from.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TASKS, METHODS = ("alpaca", "spelling"), ("base", "lora", "full")
RATES = {"lora": 3e-4, "full": 3e-5}
MEASURED, MOST = 80, 4000


def conversations(task: str) -> list[list[dict[str, str]]]:
    folder = Path(os.environ["LANGWRIGHT_TEST_DATA"])
    if task == "alpaca":
        file = folder / "llamafactory_demo" / "alpaca_en_demo.json"
        rows = json.loads(file.read_text(encoding="utf-8"))
        pairs = [
            (
                "\n\n".join(part for part in (row["instruction"], row["input"]) if part),
                row["output"],
            )
            for row in rows
        ]
    else:
        names = (folder / "names" / "names.txt").read_text(encoding="utf-8").split()
        pairs = [(f"Spell the name {name.capitalize()}.", "-".join(name.upper())) for name in names]
    return [
        [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        for asked, answer in pairs
        if answer.strip()
    ]


def divided(task: str) -> tuple[list[list[dict[str, str]]], list[list[dict[str, str]]]]:
    """What is learnt from, `MOST` of them, and `MEASURED` that are not: those of lowest hash."""
    every = conversations(task)
    every.sort(key=lambda one: hashlib.sha256(one[0]["content"].encode()).digest())
    return every[MEASURED:][:MOST], every[:MEASURED]


def measured(bundle: Any, task: str, length: int) -> dict[str, Any]:
    """Of each conversation [bits, bytes] of the answer, and whether it is written so, greedily."""
    from langwright.inference import score_rows
    from langwright.training.rollout import draw
    from langwright.training.trained import TrainedDecoder

    _, asked = divided(task)
    tokenizer, special = bundle.tokenizer, frozenset(bundle.tokenizer.special.values())
    rows = [bundle.template.encode_with_mask(one) for one in asked]
    rows = [(ids, learn) for ids, learn in rows if len(ids) <= length]
    scores = score_rows(bundle.module, [ids for ids, _ in rows], length, length - 1)
    bits = []
    for (ids, learn), values in zip(rows, scores, strict=True):
        learnt = [
            (token, value)
            for token, value, mine in zip(ids, values, learn, strict=True)
            if mine and value is not None
        ]
        size = sum(len(tokenizer.token_bytes(token)) for token, _ in learnt if token not in special)
        bits.append([-sum(value for _, value in learnt) / math.log(2), size])
    exact: list[int] = []
    if task == "spelling":
        prompts = [one[:-1] for one in asked]
        drawn = draw(TrainedDecoder(bundle), prompts, 1, max_tokens=32, temperature=0.0, seed=0)
        exact = [
            int(group[0].ended and group[0].text.strip() == one[-1]["content"])
            for group, one in zip(drawn, asked, strict=True)
        ]
    return {"bits": bits, "exact": exact}


def child(task: str, method: str, steps: int, length: int, rate: float, model: str) -> None:
    import langwright as lw
    from langwright.model import Adapters, load_adapter, load_model
    from langwright.store import Store
    from langwright.training.conversations import open_conversations

    store, name = Store(), f"lora-full-{task}-{method}"
    found: dict[str, Any] = {"task": task, "method": method}
    if method != "base":
        train, _ = divided(task)
        with tempfile.TemporaryDirectory() as folder:
            data, recipe = Path(folder) / f"lora-full-{task}.jsonl", Path(folder) / f"{name}.toml"
            lines = [json.dumps({"messages": one}, ensure_ascii=False) for one in train]
            data.write_text("\n".join(lines) + "\n", encoding="utf-8")
            recipe.write_text(
                f'[sft]\nmodel = "{model}"\nmethod = "{method}"\nlearning_rate = {rate}\n'
                f"steps = {steps}\ncontext_length = {length}\ntokens_per_step = 2048\n"
                "micro_batch_tokens = 2048\nwarmup_steps = 3\nweight_decay = 0.0\n"
                'precision = "float32"\nvalidation_fraction = 0.002\nkeep_checkpoints = 1\n'
                "eval_every = 1000000\ncheckpoint_every = 8\n",
                encoding="utf-8",
            )
            # By its name: a run that goes on must find the settings that it was begun with.
            held = open_conversations(str(data), store)
            begun = time.perf_counter()
            result = lw.sft(str(recipe), name=name, store=store, data=held.name)
        found["wall"] = time.perf_counter() - begun
        found |= {"resumed": result["resumed_from_step"], "learnt": result["tokens"]}
        found["metrics"] = result["metrics"]
        lines_of = [line for line in store.run(name).read_metrics() if "loss" in line]
        found["seconds"] = lines_of[-1]["seconds"]
    base = store.path(store.get(model))
    bundle = load_model(store.path(store.get(name)) if method == "full" else base)
    whole = sum(one.numel() for one in bundle.module.parameters())
    found["trained"] = whole if method == "full" else 0
    if method == "lora":
        adapter = load_adapter(store.path(store.get(name)))
        tensors = (one for parts in adapter.parts.values() for one in parts.values())
        found["trained"] = sum(one.numel() for one in tensors)
        adapters = Adapters(bundle.module)
        adapters.load("one", adapter)
        adapters.merge("one")
    bundle.module.eval()
    found |= {"share": found["trained"] / whole, **measured(bundle, task, length)}
    if method != "base":
        store.remove(name)
    print(json.dumps(found))


def tell(found: dict[tuple[str, str], dict[str, Any]]) -> None:
    from langwright.evaluation.interval import bootstrap_ratio, wilson
    from langwright.evaluation.paired import compare

    print("\n| task | what | bits per byte [95%] | exact [95%] | trained | memory, MB | time, s |")
    print("|---|---|---|---|---|---|---|")
    for (task, method), one in found.items():
        bits = bootstrap_ratio(*zip(*one["bits"], strict=True), seed=0, resamples=5000)
        exact = ""
        if one["exact"]:
            share = wilson(sum(one["exact"]), len(one["exact"]))
            exact = f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]"
        memory = f"{one['metrics']['peak_memory_bytes'] / 1e6:,.0f}" if "metrics" in one else ""
        seconds = f"{one['seconds']:.0f}" if "seconds" in one else ""
        print(
            f"| {task} | {method} | {bits.value:.3f} [{bits.low:.3f}, {bits.high:.3f}] | {exact} "
            f"| {one['share']:.1%} | {memory} | {seconds} |"
        )
    for task in TASKS:
        if (task, "lora") in found and (task, "full") in found:
            lora, full = found[task, "lora"], found[task, "full"]
            apart = compare(lora["bits"], full["bits"], seed=0)
            print(
                f"{task}: lora - full {apart.difference:+.3f} bits per byte "
                f"[{apart.low:+.3f}, {apart.high:+.3f}], p {apart.p:.2g}"
            )
            if lora["exact"]:
                pairs = [[(float(v), 1.0) for v in one["exact"]] for one in (lora, full)]
                apart = compare(*pairs, seed=0)
                print(
                    f"{task}: lora - full {apart.difference:+.0%} exact "
                    f"[{apart.low:+.0%}, {apart.high:+.0%}], {apart.test}, p {apart.p:.2g}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=24, help="of 2,048 tokens each")
    parser.add_argument("--context", type=int, default=384)
    parser.add_argument("--model", default="smollm2-135m-instruct", help="in the store")
    parser.add_argument("--rate-lora", type=float, default=RATES["lora"])
    parser.add_argument("--rate-full", type=float, default=RATES["full"])
    parser.add_argument("--task", action="append", choices=TASKS, default=[])
    parser.add_argument("--method", action="append", choices=METHODS, default=[])
    parser.add_argument("--out", type=Path, default=Path("lora-against-full"))
    parser.add_argument("--child", nargs=2)
    given = parser.parse_args()
    if given.child:
        task, method = given.child
        rate = given.rate_lora if method == "lora" else given.rate_full
        child(task, method, given.steps, given.context, rate, given.model)
        return
    found: dict[tuple[str, str], dict[str, Any]] = {}
    given.out.mkdir(parents=True, exist_ok=True)
    for task in given.task or TASKS:
        for method in given.method or METHODS:
            rate = {"base": 0.0, "lora": given.rate_lora, "full": given.rate_full}[method]
            steps = 0 if method == "base" else given.steps
            file = given.out / f"{task}-{method}-{steps}-{given.context}-{rate:g}.json"
            if not file.exists():
                words = [sys.executable, __file__, "--child", task, method]
                words += ["--steps", str(given.steps), "--context", str(given.context)]
                words += ["--rate-lora", str(given.rate_lora), "--rate-full", str(given.rate_full)]
                print(f"{task}, {method}: …", flush=True)
                done = subprocess.run(
                    [*words, "--model", given.model], stdout=subprocess.PIPE, text=True, check=True
                )
                file.write_text(done.stdout.splitlines()[-1], encoding="utf-8")
            found[task, method] = json.loads(file.read_text(encoding="utf-8"))
    tell(found)


if __name__ == "__main__":
    main()
