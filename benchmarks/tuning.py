"""Fine-tuning SmolLM2-135M beside PEFT with transformers: speed and memory of a step.

    python benchmarks/tuning.py --rounds 3

Each contender has a process of its own; rounds go round them, one computes at a time. A step is
forward, backward, clipping and AdamW on 4 rows of 256 random tokens that are all learnt; LoRA of
rank 16 on all seven matrices of each layer, alpha 32. Ours goes through `Learner` and
`next_token_loss`, as `sft` does. PEFT's model is that of transformers from the same weights, its
loss that of `labels`. Peak memory is the process's own; the weights are loaded in it.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

NAMES = ("langwright lora", "peft lora", "langwright full", "transformers full")
ROWS, LENGTH, RANK, STEPS = 4, 256, 16, 4


def ours(folder: str, method: str) -> Callable[[], float]:
    import numpy as np

    from langwright.model import load_model
    from langwright.training.batch import MicroBatch, next_token_loss
    from langwright.training.learner import Learner
    from langwright.training.trained import TrainedAdapter, TrainedDecoder
    from langwright.training.tuning import TuningSettings

    settings = TuningSettings.build(
        {"model": "m", "method": method, "steps": 1, "learning_rate": 1e-4, "weight_decay": 0.0}
        | {"context_length": LENGTH, "tokens_per_step": ROWS * LENGTH, "precision": "float32"}
    )
    bundle = load_model(Path(folder))
    if method == "lora":
        trained = TrainedAdapter.fresh(bundle, settings.lora(), "base", 0)
        learner = Learner(trained.module, settings, learnt=trained.learnt)
    else:
        learner = Learner(TrainedDecoder(bundle).module, settings)
    numbers = np.random.default_rng(0)

    def step() -> float:
        ids = numbers.integers(0, 49_000, (ROWS, LENGTH + 1))
        batch = MicroBatch.of(ids[:, :-1].copy(), ids[:, 1:].copy())
        begun = time.perf_counter()
        learner.gradients(next_token_loss, [batch], batch.units)
        learner.clip()
        learner.move(1.0)
        return time.perf_counter() - begun

    return step


def theirs(folder: str, method: str) -> Callable[[], float]:
    import peft
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if method == "lora":
        targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        config = peft.LoraConfig(r=RANK, lora_alpha=32, target_modules=targets)
        model = peft.get_peft_model(model, config)
    learnt = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=1e-4, weight_decay=0.0, fused=True)
    model.train()
    generator = torch.Generator().manual_seed(0)

    def step() -> float:
        ids = torch.randint(0, 49_000, (ROWS, LENGTH + 1), generator=generator)
        begun = time.perf_counter()
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - begun

    return step


def child(name: str, folder: str) -> None:
    who, method = name.split()
    step = (ours if who == "langwright" else theirs)(folder, method)
    step()
    seconds = [step() for _ in range(STEPS)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--child", nargs=2)
    given = parser.parse_args()
    if given.child:
        child(*given.child)
        return
    from langwright.model import load_model, save_folder
    from langwright.store import Store

    names = given.only or NAMES
    found: dict[str, list[dict[str, object]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        store = Store()
        bundle = load_model(store.path(store.get("smollm2-135m-instruct")))
        save_folder(Path(folder), bundle)
        del bundle
        for number in range(given.rounds):
            for name in names:
                words = [sys.executable, __file__, "--child", name, folder]
                done = subprocess.run(words, check=True, capture_output=True, text=True)
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
                print(f"round {number + 1}: {name}: {found[name][-1]}", flush=True)
    print("| what | tokens/s | memory, MB |")
    print("|---|---|---|")
    for name, rounds in found.items():
        speeds = [ROWS * LENGTH / one for told in rounds for one in told["seconds"]]
        low, middle, high = min(speeds), statistics.median(speeds), max(speeds)
        memory = max(told["peak"] for told in rounds) / 1e6
        print(f"| {name} | {middle:.0f} [{low:.0f} to {high:.0f}] | {memory:,.0f} |")


if __name__ == "__main__":
    main()
