"""Real models leave by the command itself: a grown one, and SmolLM2 with an adapter that PEFT
trained; and four faults in the writer, each of which the command refuses.

`pytest -m slow tests/lifecycle/test_export_whole.py` (about ten minutes).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

import langwright
from langwright.lifecycle import grow
from langwright.model import load_gguf, save_folder
from langwright.store import Store

pytestmark = pytest.mark.slow
SOURCE = Path(langwright.__file__).parent


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model grown from a small recipe."""
    store = Store(tmp_path_factory.mktemp("home"))
    mini = Path(__file__).parents[1] / "mini.toml"
    grow(preset=str(mini), name="mini", store=store)
    return store.path(store.get("mini"))


@pytest.fixture(scope="module")
def tuned(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """SmolLM2 with a LoRA that PEFT trained for some steps in transformers, on every matrix."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("base")
    save_folder(folder, load_gguf(smollm2_path))
    base = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
    model = peft.get_peft_model(base, config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    ids = torch.randint(0, 49_000, (2, 32), generator=torch.Generator().manual_seed(0))
    first = last = 0.0
    for step in range(12):
        loss = model(ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = (first or float(loss.detach()), float(loss.detach()))
        print(f"step {step}: {last:.3f}")
    assert last < first - 1  # it is another model now
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    return f"{smollm2_path}+{folder}"


def command(source: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """`langwright export … --json` of the package at `source`."""
    done = subprocess.run(
        [sys.executable, "-c", "from langwright.cli.main import main; main()",
         "export", *words, "--json"],
        env={**os.environ, "PYTHONPATH": str(source.parent)},
        capture_output=True,
        text=True,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("to", "dtype"),
    [("hf", "f32"), ("hf", "bf16"), ("gguf", "f32"), ("gguf", "f16"), ("gguf", "bf16"),
     ("gguf", "q8_0"), ("gguf", "q4_0")],
)  # fmt: skip
@pytest.mark.parametrize("which", ["grown", "tuned"])
def test_other_programs_agree(
    which: str, to: str, dtype: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model = str(request.getfixturevalue(which))
    code, told = command(SOURCE, model, str(tmp_path / "out"), "--to", to, "--dtype", dtype)
    print(json.dumps(told))
    assert code == 0
    (proof,) = told["proofs"]
    assert proof["passed"]
    assert proof["token_ids_equal"]
    if dtype == "f32":
        assert proof["max_abs_logprob_diff"] <= 1e-4


# The file, what stands there, and what a fault makes of it.
MUTANTS = {
    "a forgotten permutation": (
        "model/gguf_write.py", "values = permute(values, heads)", "values = values",
    ),
    "a wrong pre": (
        "tokens/gguf_fields.py", '"pre": _pre(spec)', '"pre": "qwen2"',
    ),
    "a doubled start": (
        "model/gguf_write.py", '"tokenizer.ggml.add_bos_token": model.start_id is not None',
        '"tokenizer.ggml.add_bos_token": True',
    ),
    "a changed template": (
        "model/gguf_write.py", "template.source,\n", 'template.source.replace("\\n", " "),\n',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(MUTANTS))
def test_a_fault_in_the_writer_is_refused(name: str, tuned: str, tmp_path: Path) -> None:
    file, stands, fault = MUTANTS[name]
    copy = tmp_path / "src" / "langwright"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    text = (copy / file).read_text()
    assert text.count(stands) == 1
    (copy / file).write_text(text.replace(stands, fault))
    out = tmp_path / "out.gguf"
    code, told = command(copy, tuned, str(out), "--to", "gguf")
    print(json.dumps(told))
    assert code == 1
    assert told["error"]["type"] == "unproved"
    assert not out.exists()
