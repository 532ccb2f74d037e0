"""The same items right and wrong as lm-eval's hf back end, and how much faster.

    .venv/bin/python benchmarks/evaluation.py [MODEL] [--tasks copa,piqa] [--limit 300] [--skip 0]
        [--batches 1,8,16] [--rounds 3] [--folder FOLDER]

Needs lm-eval and LANGWRIGHT_TEST_DATA. MODEL (smollm2-135m-instruct of the store, unless one is
named) is written once as a Hugging Face folder (into FOLDER, or a temporary one), which lm-eval
reads in float32. Both see the first `limit` items of each task, or those behind `skip` others.
lm-eval's time is that of its `loglikelihood`, loading and reading of data left out; ours is that
of `lw.evaluate` as a whole, on a model that is loaded. After four items that warm both, the rounds
alternate; the ratio is that of medians, with those of single rounds and of the fastest.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import json

import torch

import langwright as lw
from langwright.evaluation import read_task

CHOICE = {"output_type": "multiple_choice", "doc_to_choice": "{{choices}}"}
CHOICE |= {"doc_to_target": "gold"}
TASKS: dict[str, dict[str, Any]] = {
    # lm-eval's own files, over the fields of the test data.
    "arc_easy": {**CHOICE, "doc_to_text": "{{query}}\nAnswer:"},
    "piqa": {**CHOICE, "doc_to_text": "{{query}}Answer:"},
    "copa": {**CHOICE, "doc_to_text": "{{query}}"},
    "hellaswag": {**CHOICE, "doc_to_text": "{{query}}"},
    "lambada_openai": {
        "output_type": "loglikelihood",
        "doc_to_text": "{{context}}",
        "doc_to_target": "{{' ' + continuation}}",
        "target_delimiter": "",
    },
}


class Peer:
    """lm-eval with one model; `seconds` is what its last scoring took."""

    def __init__(self, folder: Path) -> None:
        from lm_eval.models.huggingface import HFLM
        from transformers import AutoModelForCausalLM, AutoTokenizer

        peer = self

        class Timed(HFLM):
            def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
                started = time.perf_counter()
                found = super().loglikelihood(requests, disable_tqdm=True)
                peer.seconds = time.perf_counter() - started
                return found

        module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.lm = Timed(
            pretrained=module,
            tokenizer=AutoTokenizer.from_pretrained(folder),
            batch_size=1,
            device="cpu",
            dtype="float32",
        )
        self.seconds = 0.0

    def run(self, name: str, file: Path, batch: int) -> list[dict[str, Any]]:
        """Of each item its verdicts and log-probabilities."""
        from lm_eval.api.task import ConfigurableTask
        from lm_eval.evaluator import evaluate

        metrics = ["acc"] if name == "lambada_openai" else ["acc", "acc_norm"]
        task = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(file)}},
            "test_split": "test",
            "metric_list": [{"metric": metric} for metric in metrics],
            **TASKS[name],
        }
        self.lm.batch_size_per_gpu = batch
        found = evaluate(
            self.lm,
            {"tasks": {name: ConfigurableTask(config=task)}, "groups": {}, "group_map": {}},
            bootstrap_iters=0,
        )
        samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
        return [
            {
                **{metric: float(sample[metric]) for metric in metrics},
                "prompts": [tuple(one) for one in sample_arguments(sample)],
                "logprobs": [float(one[0]) for one in sample["filtered_resps"]],
            }
            for sample in samples
        ]


def sample_arguments(sample: dict[str, Any]) -> list[tuple[str, str]]:
    arguments = sample["arguments"]
    parts = arguments.values() if isinstance(arguments, dict) else arguments
    return [tuple(one.values()) if isinstance(one, dict) else tuple(one) for one in parts]


def ours(model: Any, name: str, file: Path, log: Path) -> tuple[float, list[dict[str, Any]]]:
    started = time.perf_counter()
    lw.evaluate(model, name, data=str(file), log_samples=str(log))
    seconds = time.perf_counter() - started
    return seconds, [json.loads(line) for line in log.read_text().splitlines()]


def compared(name: str, mine: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    task, _ = read_task(name)
    for metric in ("acc", "acc_norm"):
        if metric in theirs[0]:
            same = sum(a["metrics"][metric] == b[metric] for a, b in zip(mine, theirs, strict=True))
            value = statistics.fmean(one[metric] for one in theirs)
            print(f"  {metric}: {same} of {len(theirs)} items alike; lm-eval's value {value:.4f}")
    far = max(
        abs(x - y)
        for a, b in zip(mine, theirs, strict=True)
        for x, y in zip(a["logprobs"], b["logprobs"], strict=True)
    )
    prompts = sum(
        [(a["prompt"], task.delimiter + one) for one in a.get("choices", a.get("answers"))]
        == b["prompts"]
        for a, b in zip(mine, theirs, strict=True)
    )
    print(f"  prompts alike in {prompts} of {len(theirs)}; largest difference {far:.1e} nats")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="smollm2-135m-instruct")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--skip", type=int, default=0, help="so many items before the first")
    parser.add_argument("--batches", default="1,8,16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    data = os.environ.get("LANGWRIGHT_TEST_DATA")
    if not data:
        sys.exit("LANGWRIGHT_TEST_DATA is not set: it names the folder of public test data")
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["HF_DATASETS_CACHE"] = temporary
        folder = given.folder or Path(temporary) / "model"
        if not folder.exists():
            lw.export(given.model, "hf", str(folder), unproved=True)
        model, peer = lw.load(given.model), Peer(folder)
        packages = ("torch", "transformers", "lm_eval")
        named = ", ".join(f"{package} {version(package)}" for package in packages)
        print(f"{named}, {torch.get_num_threads()} threads, float32", flush=True)
        for name in given.tasks.split(","):
            file = Path(temporary) / f"{name}.jsonl"
            lines = (Path(data) / read_task(name)[0].data).read_text().splitlines()
            file.write_text("\n".join(lines[given.skip :][: given.limit]) + "\n")
            measure(name, file, model, peer, given)


def measure(name: str, file: Path, model: Any, peer: Peer, given: argparse.Namespace) -> None:
    batches = [int(one) for one in given.batches.split(",")]
    times: dict[int, list[float]] = {batch: [] for batch in batches}
    own: list[float] = []
    log = file.with_suffix(".log")
    few = file.with_name(f"few-{file.name}")
    few.write_text("".join(file.read_text().splitlines(keepends=True)[:4]))
    ours(model, name, few, log)  # both warm
    peer.run(name, few, 4)
    for round_ in range(given.rounds):
        seconds, mine = ours(model, name, file, log)
        own.append(seconds)
        for batch in batches:
            theirs = peer.run(name, file, batch)
            times[batch].append(peer.seconds)
        if round_ == 0:
            print(f"{name}, {len(mine)} items", flush=True)
            compared(name, mine, theirs)
    print(f"  langwright {spread(own)} s")
    for batch, taken in times.items():
        ratios = [theirs / mine for theirs, mine in zip(taken, own, strict=True)]
        middle = statistics.median(taken) / statistics.median(own)
        fastest = min(taken) / min(own)
        print(
            f"  lm-eval, batch {batch}: {spread(taken)} s; {middle:.2f} times ours "
            f"[{min(ratios):.2f} to {max(ratios):.2f}], fastest by fastest {fastest:.2f}",
            flush=True,
        )


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f} to {max(values):.2f}]"


if __name__ == "__main__":
    main()
