"""Shakespeare by characters: nanoGPT's small settings, by nanoGPT and by us.

    LANGWRIGHT_TEST_DATA=DIR LANGWRIGHT_PEERS=DIR python benchmarks/shakespeare.py
    … shakespeare.py --without nanoGPT learning_rate=2e-2 seed=1     (settings of ours)
    … shakespeare.py --minutes 5 [--shape 4x256x256x8]
    … shakespeare.py --gpu

1,003,854 characters to learn from and 111,540 to be tested on, as nanoGPT divides them. The figure
is the mean over the whole test part, each character once as a target, in windows of the context's
length side by side; evaluating takes none of the seconds.

On a CPU, 4 layers of width 128 with 4 heads learn from batches of 12 x 64 characters. nanoGPT is
its own `train.py` with the words of its README (dropout 0, rate 1e-3 to 1e-4 by a cosine, 100 steps
of warm-up, beta2 0.99, decay 0.1, 2,000 steps), in a copy of its folder, its seconds those of its
own log. Ours is `Decoder` of the same layers, width and heads, its gated feed-forward part 336 wide
to have no more parameters, with `Learner` and Muon at 1e-2, AdamW for the table, 50 steps of warm-
up and a linear decay to nothing over the last 70%. It reads windows side by side, shuffled, each
epoch from another first character on, and takes 1,200 steps: one with Muon is half as long again as
one of nanoGPT's.

Tried at 2,000 steps: AdamW at 4e-3 1.646, Muon at 1e-2 1.564, Muon at 2e-2 (tables 1e-2) 1.595, and
1.623 after 1,400 of those; nanoGPT 1.892.

`--minutes` is the loss that so much time of a processor buys, with any `--shape` (layers x width x
context x rows); the rate's schedule is one of time there. `--gpu` is nanoGPT's setting for a GPU (6
layers, width 384, 6 heads, 64 x 256 characters; its own loss with dropout 0.2 is 1.4697). `Decoder`
has no dropout: `noise` of the characters read (not of the targets) are others, at random, and the
best evaluation is kept.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from training_models import peer_folder, source

from langwright.config import parse_overrides
from langwright.model import Architecture, Decoder
from langwright.training.batch import MicroBatch, next_token_loss
from langwright.training.learner import Learner
from langwright.training.schedule import learning_rate_factor
from langwright.training.settings import LoopSettings


@dataclass(frozen=True)
class Setting:
    """A shape, and the loop's settings of ours; `steps` of `rows` x `context` characters."""

    layers: int
    width: int
    heads: int
    context: int
    rows: int
    steps: int
    noise: float = 0.0
    loop: dict[str, Any] = field(default_factory=dict)

    @property
    def inner(self) -> int:
        """Of the gated feed-forward part: 8/3 of the width, no more parameters than nanoGPT's."""
        return int(8 * self.width / 3) // 16 * 16

    def settings(self, device: str) -> LoopSettings:
        tokens = self.rows * self.context
        values: dict[str, Any] = {
            "steps": self.steps,
            "tokens_per_step": tokens,
            "micro_batch_tokens": tokens,
            "context_length": self.context,
            "device": device,
        }
        return LoopSettings.build(values | self.loop)


OURS: dict[str, Any] = {
    "optimizer": "muon",
    "learning_rate": 1e-2,
    "embedding_learning_rate": 1e-2,
    "weight_decay": 0.1,
    "adam_betas": (0.9, 0.99),
    "schedule": "wsd",
    "warmup_steps": 50,
    "decay_fraction": 0.7,
    "final_learning_rate_fraction": 0.0,
    "precision": "float32",
}
CPU = Setting(4, 128, 4, 64, 12, 1200, loop=OURS)
GPU = Setting(
    6, 384, 6, 256, 64, 1500, noise=0.1, loop=OURS | {"precision": "bfloat16", "eval_every": 100}
)
TIMED = Setting(4, 256, 8, 128, 16, 10_000, loop=OURS)
"""`steps` are shares of the time here."""


def characters() -> tuple[np.ndarray, np.ndarray, int]:
    """The parts to learn from and to be tested on, as numbers, and how many characters there are.
    The second begins with the last of the first, for its own first one to be a target."""
    file = Path(os.environ["LANGWRIGHT_TEST_DATA"]) / "tinyshakespeare" / "input.txt"
    text = file.read_text(encoding="utf-8")
    kinds = sorted(set(text))
    numbers = {character: number for number, character in enumerate(kinds)}
    ids = np.array([numbers[character] for character in text], dtype=np.int64)
    cut = int(0.9 * len(ids))
    return ids[:cut], ids[cut - 1 :], len(kinds)


def windows(ids: np.ndarray, setting: Setting, seed: int) -> Iterator[np.ndarray]:
    """Batches [rows, context + 1] of windows side by side, shuffled, without end."""
    generator = np.random.default_rng(seed)
    starts = np.empty(0, dtype=np.int64)
    reach = np.arange(setting.context + 1)
    while True:
        while len(starts) < setting.rows:
            first = generator.integers(setting.context)
            epoch = np.arange(first, len(ids) - setting.context, setting.context)
            starts = np.concatenate((starts, generator.permutation(epoch)))
        taken, starts = starts[: setting.rows], starts[setting.rows :]
        yield ids[taken[:, None] + reach]


def mean_nats(
    ids: np.ndarray, context: int, device: str, nats: Callable[[Tensor, Tensor], Tensor]
) -> float:
    """Over all characters but the first; `nats` gives the sum for inputs and targets [B, T]."""
    total, count = 0.0, len(ids) - 1
    whole = count // context * context
    inputs = torch.from_numpy(ids[:-1]).to(device)
    targets = torch.from_numpy(ids[1:]).to(device)
    with torch.no_grad():
        rows = zip(
            inputs[:whole].view(-1, context).split(128),
            targets[:whole].view(-1, context).split(128),
            strict=True,
        )
        parts = [*rows, (inputs[None, whole:], targets[None, whole:])]
        for x, y in parts:
            if x.numel():
                total += float(nats(x, y))
    return total / count


def ours(setting: Setting, device: str, minutes: float | None) -> None:
    train, test, kinds = characters()
    settings = setting.settings(device)
    torch.manual_seed(settings.seed)
    module = Decoder(
        Architecture(
            vocab_size=kinds,
            hidden_size=setting.width,
            intermediate_size=setting.inner,
            num_layers=setting.layers,
            num_heads=setting.heads,
            num_kv_heads=setting.heads,
            head_dim=setting.width // setting.heads,
            context_length=setting.context,
        )
    )
    module.initialise(settings.seed)
    learner = Learner(module, settings)
    noise = np.random.default_rng(settings.seed + 1)

    def evaluate() -> float:
        return mean_nats(test, setting.context, device, lambda x, y: module.nll(x, y))

    best, best_step, seconds, step, loss = float("inf"), 0, 0.0, 0, 0.0
    due = settings.eval_every if "eval_every" in setting.loop else settings.steps
    # Of a processor, so that other work does not count; one thread, then: OMP_NUM_THREADS=1.
    clock = time.perf_counter if minutes is None else time.process_time
    started = clock()
    for rows in windows(train, setting, settings.seed):
        targets = rows[:, 1:].copy()
        inputs = rows[:, :-1].copy()
        if setting.noise:
            other = noise.random(inputs.shape) < setting.noise
            inputs[other] = noise.integers(kinds, size=int(other.sum()))
        batch = MicroBatch.of(inputs, targets)
        total = learner.gradients(next_token_loss, [batch], batch.units)
        learner.clip()
        share = step
        if minutes is not None:
            share = int((seconds + clock() - started) / (60 * minutes) * settings.steps)
        learner.move(learning_rate_factor(min(share, settings.steps - 1), settings))
        step += 1
        done = share + 1 >= settings.steps
        if step % due == 0 or done:
            loss = float(total)
            seconds += clock() - started
            found = evaluate()
            if found < best:
                best, best_step = found, step
            print(
                f"  step {step}: {loss:.4f} learnt, {found:.4f} tested, {seconds:.0f} s", flush=True
            )
            started = clock()
        if done:
            break
    count = sum(weight.numel() for weight in module.parameters())
    print(
        f"| ours | {count:,} | {step} | {best:.4f} (step {best_step}) | {seconds:.1f} |", flush=True
    )


def nanogpt() -> None:
    """Its own program, in a copy of its folder; then its checkpoint on the whole test part."""
    _, test, _ = characters()
    folder = peer_folder("nanoGPT")
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "nanoGPT"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(".git", "assets", "*.ipynb"))
        data = copy / "data" / "shakespeare_char"
        file = Path(os.environ["LANGWRIGHT_TEST_DATA"]) / "tinyshakespeare" / "input.txt"
        shutil.copy(file, data / "input.txt")
        subprocess.run([sys.executable, "prepare.py"], cwd=data, check=True, capture_output=True)
        words = "--device=cpu --compile=False --eval_iters=20 --log_interval=1 --block_size=64 "
        words += "--batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 --max_iters=2000 "
        words += "--lr_decay_iters=2000 --dropout=0.0 --eval_interval=2000"
        done = subprocess.run(
            [sys.executable, "train.py", "config/train_shakespeare_char.py", *words.split()],
            cwd=copy,
            check=True,
            capture_output=True,
            text=True,
        )
        # The first and the last of its 2,001 iterations evaluate; the last is after the checkpoint.
        times = [float(one) / 1000 for one in re.findall(r"time ([\d.]+)ms", done.stdout)][1:2000]
        held = torch.load(copy / "out-shakespeare-char" / "ckpt.pt", weights_only=True)
    peer = source("nanoGPT", "model")
    model: nn.Module = peer.GPT(peer.GPTConfig(**held["model_args"]))
    model.load_state_dict(held["model"])
    model.eval()

    def nats(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(x, y)[0].flatten(0, 1), y.flatten(), reduction="sum")

    loss = mean_nats(test, 64, "cpu", nats)
    seconds = sum(times) + statistics.median(times)
    count = sum(weight.numel() for weight in model.parameters())
    print(f"| nanoGPT | {count:,} | 2000 | {loss:.4f} | {seconds:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", help="key=value, of our loop (and `noise`, `steps`)")
    parser.add_argument("--without", action="append", default=[], choices=("nanoGPT", "ours"))
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--shape", help="layers x width x context x rows; heads are 32 wide")
    parser.add_argument("--gpu", action="store_true")
    given = parser.parse_args()
    setting = GPU if given.gpu else CPU if given.minutes is None else TIMED
    if given.shape:
        layers, width, context, rows = (int(one) for one in given.shape.split("x"))
        setting = replace(setting, layers=layers, width=width, heads=width // 32)
        setting = replace(setting, context=context, rows=rows)
    words = parse_overrides(given.settings)
    for key in ("steps", "noise"):
        if key in words:
            setting = replace(setting, **{key: words.pop(key)})
    setting = replace(setting, loop=setting.loop | words)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; ours: {setting}")
    print("| what | parameters | steps | nats a character | seconds |\n|---|---|---|---|---|")
    if given.minutes is None and not given.gpu and "nanoGPT" not in given.without:
        nanogpt()
    if "ours" not in given.without:
        ours(setting, "cuda" if given.gpu else "cpu", given.minutes)


if __name__ == "__main__":
    main()
