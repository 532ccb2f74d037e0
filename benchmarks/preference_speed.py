"""Learning from preferences and from rewards beside TRL: speed and memory of a step.

    python benchmarks/preference_speed.py --rounds 3 [--model FOLDER] [--only "langwright dpo"]

SmolLM2-135M in float32 with LoRA of rank 16 on all seven matrices of each layer, alpha 32. Each
contender has a process of its own; rounds go round them, one computes at a time; a first step is
not counted. The texts are random words that are one token each, the same on both sides.

`dpo`: 4 pairs a step, prompts and answers of 60 words, the reference included. Ours computes it for
all pairs before the first step, as the verb does: each step is charged its pairs' share. TRL
computes it in each step, which is its default.

`grpo`: 8 answers of 64 tokens to one prompt of 60 words, drawn at temperature 1, then learnt from
once, without a price on the distance to the reference (`beta` 0, the default of both). No answer
may end early: ours draws by a bundle without end tokens, TRL's `generate` has `min_new_tokens` 64.

Ours goes through the stages `DPO` and `GRPO` and the `Learner`, as the loop drives them; theirs is
`DPOTrainer` and `GRPOTrainer` on the CPU without gradient checkpointing, a step being what lies
between `on_step_begin` and `on_step_end`. `--parts` tells where our steps spend their time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("langwright dpo", "trl dpo", "langwright grpo", "trl grpo")
RANK, ALPHA, RATE = 16, 32, 1e-4
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PAIRS, GROUP, NEW, WORDS = 4, 8, 64, 60
POOL = (  # noqa: SIM905
    "time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work government "
    "number night point home water room mother area money story fact month lot right study book "
    "eye job word business issue side kind head house service friend father power hour game line "
    "end member law car city community name president team minute idea body information back "
    "parent face level office door health person art war history party result change morning "
    "reason research"
).split(" ")


def texts(count: int, seed: int = 0) -> list[list[str]]:
    """Prompts with two answers each, all of `WORDS` words."""
    numbers = random.Random(seed)
    return [[" ".join(numbers.choices(POOL, k=WORDS)) for _ in range(3)] for _ in range(count)]


def peak() -> int:
    """Bytes of this process, at most so far."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


class Parts:
    """Seconds by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                took = time.perf_counter() - begun
                self.seconds[name] = self.seconds.get(name, 0.0) + took

        return call


def ours(folder: str, what: str, steps: int, parts: Parts) -> dict[str, Any]:
    from dataclasses import replace

    from langwright.evaluation.rewards import Combined, Length
    from langwright.model import load_model
    from langwright.store import Store
    from langwright.training import rollout
    from langwright.training.learner import Learner
    from langwright.training.preference_import import open_comparisons
    from langwright.training.prompt_data import PromptRow
    from langwright.training.stages import policy
    from langwright.training.stages.dpo import DPO, DPOSettings
    from langwright.training.stages.grpo import GRPO, GRPOSettings
    from langwright.training.trained import TrainedAdapter

    common = {"model": "m", "data": "d", "method": "lora", "rank": RANK, "alpha": float(ALPHA)}
    common |= {"steps": steps, "learning_rate": RATE, "weight_decay": 0.0, "precision": "float32"}
    common |= {"context_length": 512, "device": "cpu"}
    bundle = load_model(Path(folder))
    store = Store(Path(tempfile.mkdtemp()))
    run = store.run("speed")
    run.folder.mkdir(parents=True)
    extra = 0.0
    stage: Any
    if what == "dpo":
        given = texts((steps + 1) * PAIRS + 6)
        rows = [
            {"messages": [{"role": "user", "content": prompt}], "answers": answers, "ranks": [0, 1]}
            for prompt, *answers in given
        ]
        file = store.home / "pairs.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        template = bundle.template
        assert template is not None
        answered = [{"role": "assistant", "content": rows[0]["answers"][0]}]
        size = len(template.encode([*rows[0]["messages"], *answered])) - 1  # its line end
        settings: Any = DPOSettings.build(common | {"tokens_per_step": PAIRS * 2 * size})
        trained = TrainedAdapter.fresh(bundle, settings.lora(), "base", 0)
        data = open_comparisons(str(file), store)
        stage = DPO.build(settings, bundle.text, data, store)
        units = PAIRS
    else:
        bundle = replace(bundle, end_ids=frozenset())
        length = {"name": "length", "rule": {"kind": "length", "most": 40}}
        sizes = {"group_size": GROUP, "prompts_per_rollout": 1, "max_tokens": NEW}
        settings = GRPOSettings.build(common | sizes | {"rewards": [length]})
        trained = TrainedAdapter.fresh(bundle, settings.lora(), "base", 0)
        prompts = [
            PromptRow([{"role": "user", "content": prompt}], {}) for prompt, *_ in texts(steps + 6)
        ]
        rewards = Combined({"length": (1.0, Length(kind="length", most=40))})
        stage = GRPO(settings, trained, None, prompts, rewards)
        units = GROUP
        policy.draw = parts.timed("drawing", rollout.draw)
        policy.logprobs_of = parts.timed("old and reference", rollout.logprobs_of)
    learner = Learner(trained.module, settings, learnt=trained.learnt)
    learner.module.eval()
    begun = time.perf_counter()
    stage.begin(learner.module, run, fresh=True)
    learner.module.train()
    if what == "dpo":
        extra = (time.perf_counter() - begun) * PAIRS / len(given)
    seconds: list[float] = []
    sequence = 0
    learnt = parts.timed("learning", learner.gradients)
    for number in range(steps + 1):
        if number == 1:
            parts.seconds.clear()
        begun = time.perf_counter()
        batches = stage.micro_batches(number)
        count = sum(batch.units for batch in batches)
        assert count == units, f"{count} in a step, not {units}"
        learnt(stage.loss, batches, count)
        learner.clip()
        learner.move(1.0)
        stage.figures()
        seconds.append(time.perf_counter() - begun + extra)
        sequence = max(batch.ids_BT.shape[1] for batch in batches)
        drawn = {size for batch in batches for size in batch.sizes}
        assert what == "dpo" or drawn == {NEW}, "all answers are of one length"
    each = {name: took / steps for name, took in parts.seconds.items()}
    return {"seconds": seconds[1:], "sequence": sequence, "parts": each | {"reference": extra}}


def theirs(folder: str, what: str, steps: int, _: Parts) -> dict[str, Any]:
    import datasets
    import peft
    import torch
    import transformers
    import trl

    class Clock(transformers.TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.begun = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.begun = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds.append(time.perf_counter() - self.begun)

    clock = Clock()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    lora = peft.LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=TARGETS, lora_dropout=0.0, task_type="CAUSAL_LM"
    )
    common = {"output_dir": tempfile.mkdtemp(), "use_cpu": True, "bf16": False, "max_steps": steps}
    common |= {"gradient_checkpointing": False, "report_to": "none", "save_strategy": "no"}
    common |= {"learning_rate": RATE, "lr_scheduler_type": "constant", "logging_strategy": "no"}
    common |= {"disable_tqdm": True, "max_grad_norm": 1.0, "weight_decay": 0.0, "seed": 0}
    common["max_steps"] = steps + 1
    given = texts((steps + 1) * PAIRS + 6)
    longest: list[int] = []
    if what == "dpo":
        rows = [
            {
                "prompt": [{"role": "user", "content": prompt}],
                "chosen": [{"role": "assistant", "content": better}],
                "rejected": [{"role": "assistant", "content": worse}],
            }
            for prompt, better, worse in given
        ]
        trainer: Any = trl.DPOTrainer(
            model,
            args=trl.DPOConfig(per_device_train_batch_size=PAIRS, **common),
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=lora,
            callbacks=[clock],
        )
        batch = next(iter(trainer.get_train_dataloader()))
        longest.append(batch["input_ids"].shape[1])
    else:
        prompts = [{"prompt": [{"role": "user", "content": prompt}]} for prompt, *_ in given]

        def reward(completions: list[Any], completion_ids: list[Any], **_: Any) -> list[float]:
            assert {len(ids) for ids in completion_ids} == {NEW}, "all answers are of one length"
            return [float(len(one[0]["content"])) for one in completions]

        trainer = trl.GRPOTrainer(
            model,
            reward_funcs=reward,
            args=trl.GRPOConfig(
                per_device_train_batch_size=GROUP,
                num_generations=GROUP,
                max_completion_length=NEW,
                generation_kwargs={"min_new_tokens": NEW},
                **common,
            ),
            train_dataset=datasets.Dataset.from_list(prompts),
            processing_class=tokenizer,
            peft_config=lora,
            callbacks=[clock],
        )
        ids = tokenizer.apply_chat_template(prompts[0]["prompt"], add_generation_prompt=True)
        ids = ids if isinstance(ids, list) else ids["input_ids"]
        longest.append(len(ids) + NEW)
    trainer.train()
    assert trainer.model.get_base_model().dtype == torch.float32
    return {"seconds": clock.seconds[1:], "sequence": max(longest), "parts": {}}


def child(name: str, folder: str, steps: int) -> None:
    who, what = name.split()
    found = (ours if who == "langwright" else theirs)(folder, what, steps, Parts())
    print(json.dumps({**found, "peak": peak()}))


def told(found: dict[str, list[dict[str, Any]]]) -> None:
    print("| what | step, s | a second | times TRL | tokens of a sequence | memory, MB |")
    print("|---|---|---|---|---|---|")
    for name, rounds in found.items():
        if not rounds:
            continue
        who, what = name.split()
        units = PAIRS if what == "dpo" else GROUP
        seconds = [one for each in rounds for one in each["seconds"]]
        middle = statistics.median(seconds)
        rates = [units / one for one in seconds]
        beside = ""
        if who == "langwright" and found.get(f"trl {what}"):
            # Rounds side by side: the machine's own speed drifts.
            ratios = [
                statistics.median(theirs["seconds"]) / statistics.median(ours["seconds"])
                for ours, theirs in zip(rounds, found[f"trl {what}"], strict=False)
            ]
            beside = f"{statistics.median(ratios):.2f} [{min(ratios):.2f} to {max(ratios):.2f}]"
        memory = max(one["peak"] for one in rounds) / 1e6
        unit = "pairs" if what == "dpo" else "answers"
        print(
            f"| {name} | {middle:.2f} [{min(seconds):.2f} to {max(seconds):.2f}] "
            f"| {statistics.median(rates):.2f} {unit} [{min(rates):.2f} to {max(rates):.2f}] "
            f"| {beside} | {rounds[0]['sequence']} | {memory:,.0f} |"
        )
    for name, rounds in found.items():
        parts = rounds[-1]["parts"] if rounds else {}
        if parts:
            words = ", ".join(f"{part} {took:.2f} s" for part, took in parts.items() if took)
            print(f"\n{name}, of a step: {words}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="measured in each round")
    parser.add_argument("--model", help="a Hugging Face folder; else made of the store's")
    parser.add_argument("--only", action="append", choices=NAMES, default=[])
    parser.add_argument("--child", nargs=3)
    given = parser.parse_args()
    if given.child:
        child(given.child[0], given.child[1], int(given.child[2]))
        return
    names = given.only or NAMES
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as made:
        folder = given.model or made
        if given.model is None:
            from langwright.model import load_model, save_folder
            from langwright.store import Store

            store = Store()
            bundle = load_model(store.path(store.get("smollm2-135m-instruct")))
            save_folder(Path(folder), bundle)
            del bundle
        quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        for number in range(given.rounds):
            for name in names:
                words = [sys.executable, __file__, "--child", name, folder, str(given.steps)]
                done = subprocess.run(words, capture_output=True, text=True, env=quiet)
                if done.returncode:
                    sys.exit(f"{name}: {done.stderr}")
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
                print(f"round {number + 1}: {name}: {found[name][-1]}", flush=True)
    told(found)


if __name__ == "__main__":
    main()
