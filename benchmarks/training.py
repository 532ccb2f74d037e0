"""Training speed at the shape of a recipe, beside transformers' model of the same shape.

    .venv/bin/python benchmarks/training.py [tiny|small] [--rounds 7]

Both run in one process, in turn, forward, backward and AdamW; the ratio is taken pair by pair.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
import transformers
from torch.nn import functional as F

from langwright.model import Architecture, Decoder
from langwright.training import read_recipe
from langwright.training.batch import MicroBatch, next_token_loss
from langwright.training.learner import Learner
from langwright.training.precision import compute_dtype
from langwright.training.stages.pretrain import PretrainSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", nargs="?", default="small")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    settings = PretrainSettings.build(read_recipe(given.recipe, "pretrain", {}))
    shape = Architecture(
        vocab_size=settings.vocab_size,
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_layers=settings.num_layers,
        num_heads=settings.num_heads,
        num_kv_heads=settings.num_kv_heads,
        head_dim=settings.hidden_size // settings.num_heads,
        context_length=settings.context_length,
    )
    rows = settings.tokens_per_step // settings.context_length
    ids = torch.randint(shape.vocab_size, (rows, settings.context_length + 1))
    batch = MicroBatch(ids[:, :-1], ids[:, 1:].contiguous(), ids[:, 1:].numel())
    steps = {"langwright": ours(shape, settings, batch)}
    for precision in ("bfloat16", "float32"):
        steps[f"transformers {precision}"] = theirs(shape, batch, precision)
    print(
        f"{given.recipe}: {shape.num_parameters:,} parameters, {ids[:, 1:].numel()} tokens a step; "
        f"torch {torch.__version__}, transformers {transformers.__version__}, "
        f"{torch.get_num_threads()} threads, {platform.machine()}, "
        f"computing in {compute_dtype('auto', torch.device('cpu'))}"
    )
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(given.rounds):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - started)
    for name, taken in times.items():
        speeds = [ids[:, 1:].numel() / seconds for seconds in taken]
        ratios = [a / b for a, b in zip(taken, times["langwright"], strict=True)]
        spread = f"[{min(ratios):.2f} to {max(ratios):.2f}]"
        print(
            f"{name:24} {statistics.median(speeds):8,.0f} tokens/s "
            f"[{min(speeds):,.0f} to {max(speeds):,.0f}]   "
            f"langwright is {statistics.median(ratios):.2f} times as fast {spread}"
        )


def ours(shape: Architecture, settings: PretrainSettings, batch: MicroBatch) -> Callable[[], None]:
    module = Decoder(shape)
    module.initialise(0)
    learner = Learner(module, settings)

    def step() -> None:
        learner.gradients(next_token_loss, [batch], batch.units)
        learner.clip()
        learner.move(1.0)

    return step


def theirs(shape: Architecture, batch: MicroBatch, precision: str) -> Callable[[], None]:
    config = transformers.Qwen3Config(**shape.to_hugging_face())
    model = transformers.Qwen3ForCausalLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(input_ids=batch.ids_BT).logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), batch.targets_BT.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


if __name__ == "__main__":
    main()
