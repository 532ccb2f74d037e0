"""Loading a model from GGUF and from safetensors, beside transformers and llama.cpp.

    .venv/bin/python benchmarks/loading.py [MODEL.gguf] [--rounds 3]

Each load runs in a process of its own, all in turn, after its imports; the weights lie in the page
cache. It gives the tokenizer and the model, ready to run (llama.cpp: a server that listens). Memory
is what the peak of the process grows by, beside the weights as they are held. Without a file the
model is `smollm2-135m-instruct` of the store.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from langwright.model import load_model, save_folder
from langwright.store import Store

FRAME = """
import json, sys, time
import torch
{imports}
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
path = sys.argv[1]
before, started = peak(), time.perf_counter()
{load}
taken, grown = time.perf_counter() - started, peak() - before
print(json.dumps({{"seconds": taken, "grown": grown, "weights": {weights}}}))
sys.stdout.flush()
import os; os._exit(0)
"""
HELD = "sum(one.numel() * one.element_size() for one in {}.parameters())"
OURS = {
    "imports": "from pathlib import Path\nfrom langwright.model import load_model",
    "load": "model = load_model(Path(path))",
    "weights": HELD.format("model.module"),
}
TRANSFORMERS = {
    "imports": "from transformers import AutoModelForCausalLM, AutoTokenizer",
    "load": """
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
""",
    "weights": HELD.format("model"),
}
TRANSFORMERS_GGUF = TRANSFORMERS | {
    "load": """
from pathlib import Path
folder, name = Path(path).parent, Path(path).name
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
""",
}
LLAMA_CPP = {
    "imports": "import os, xllamacpp",
    "load": """
asked = xllamacpp.CommonParams()
asked.model.path, asked.n_ctx, asked.n_parallel = path, 512, 1
asked.warmup = asked.fit_params = False
server = xllamacpp.Server(asked)
""",
    "weights": "os.path.getsize(path)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    file = given.model
    if file is None:
        store = Store()
        file = store.path(store.get("smollm2-135m-instruct")) / "model.gguf"
    with tempfile.TemporaryDirectory() as scratch:
        folder, half = Path(scratch) / "float32", Path(scratch) / "bfloat16"
        for one in (folder, half):
            one.mkdir()
            save_folder(one, load_model(file))
        weights = load_file(folder / "model.safetensors")
        weights = {name: values.to(torch.bfloat16) for name, values in weights.items()}
        save_file(weights, half / "model.safetensors", metadata={"format": "pt"})
        del weights
        cases = {
            "Langwright, GGUF": (OURS, file),
            "transformers, GGUF": (TRANSFORMERS_GGUF, file),
            "llama.cpp, GGUF": (LLAMA_CPP, file),
            "Langwright, safetensors (float32)": (OURS, folder),
            "transformers, safetensors (float32)": (TRANSFORMERS, folder),
            "Langwright, safetensors (bfloat16)": (OURS, half),
            "transformers, safetensors (bfloat16)": (TRANSFORMERS, half),
        }
        found: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
        for _ in range(given.rounds):
            for name, (parts, path) in cases.items():
                found[name].append(measured(FRAME.format(**parts), path))
    versions = [f"{name} {version(name)}" for name in ("torch", "transformers", "xllamacpp")]
    print(f"{file.name}: {', '.join(versions)}, {os.environ.get('OMP_NUM_THREADS', 'all')} threads")
    for name, runs in found.items():
        seconds = [run["seconds"] for run in runs]
        grown = statistics.median(run["grown"] for run in runs)
        print(
            f"{name:38} {statistics.median(seconds):6.2f} s [{min(seconds):.2f} to "
            f"{max(seconds):.2f}]  grows by {grown / 1e6:5.0f} MB, "
            f"{grown / runs[0]['weights']:.2f} times the weights held"
        )


def measured(program: str, path: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
