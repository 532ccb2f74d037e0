"""Damaged and hostile files of every kind that is read: a clear error, soon, in little memory.

The quick test tries a few hundred; for longer: `LANGWRIGHT_FUZZ_SECONDS=600 pytest -m slow
tests/model/test_hostile.py`.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from langwright.backend import Dtype
from langwright.errors import LangwrightError
from langwright.model import (
    Adapters,
    LoRASettings,
    ModelBundle,
    load_adapter,
    load_model,
    save_adapter,
    save_folder,
)
from langwright.model.description import describe_path
from langwright.model.encoder import load_encoder
from langwright.model.gguf_write import save_gguf
from langwright.model.pairs import PairsModel, load_pairs_model
from langwright.model.transformer2017 import Shape2017, Transformer2017

pytestmark = pytest.mark.usefixtures("one_thread")

SECONDS, MEMORY = 10.0, 600 * 2**20
VALUES: list[Any] = [
    None, True, -1, 0, 1, 3, 2**31, 2**63, 10**30, -(10**30), 1e308, float("nan"), "", "x" * 300,
    "../../etc/passwd", "\0", "\ud800", [], [[]], {}, {"a": {}}, [0] * 99, "{{ x", "{% for %}",
]  # fmt: skip


def used(path: Path, dtype: Dtype = "float32") -> None:
    """Load it and work with it, as a person would."""
    model = load_model(path, dtype)
    ids = model.tokenizer.encode("the quick fox 12")[:8] or [0]
    if model.template is not None:
        model.template.encode([{"role": "user", "content": "hi"}], add_generation_prompt=True)
    with torch.no_grad():
        model.module(torch.tensor([ids]))


def encoded(path: Path) -> None:
    load_encoder(path).encode(["the cat", "mat"])


def paired(path: Path) -> None:
    load_pairs_model(path).write(["ab"])


KINDS: dict[str, Callable[[Path], object]] = {
    "gguf": lambda path: used(path / "model.gguf"),
    "gguf, as stored": lambda path: used(path / "model.gguf", "auto"),
    "gguf, told": lambda path: describe_path(path / "model.gguf"),
    "experts": lambda path: used(path / "model.gguf"),
    "experts, told": describe_path,
    "folder": used,
    "folder, in 4 bits": lambda path: used(path, "int4"),
    "folder, told": describe_path,
    "shards": used,
    "adapter": load_adapter,
    "encoder": encoded,
    "pairs": paired,
}


@pytest.fixture
def folders(make_model: Callable[..., ModelBundle], tmp_path: Path) -> Callable[[str], Path]:
    def make(kind: str) -> Path:
        kind = kind.partition(",")[0]
        folder = tmp_path / kind
        folder.mkdir()
        experts = {"num_experts": 5, "experts_per_token": 2, "expert_size": 32}
        sparse = {"family": "qwen3_moe", **experts} if kind == "experts" else {}
        model = make_model(**{"family": "llama", **sparse})
        if kind in ("gguf", "experts"):
            save_gguf(folder / "model.gguf", model, "q4_0")
        elif kind == "folder":
            save_folder(folder, model)
        elif kind == "shards":
            save_folder(folder, model)
            (folder / "model.safetensors").rename(folder / "a.safetensors")
            names = ["model.norm.weight", "model.embed_tokens.weight"]
            index = {"weight_map": dict.fromkeys(names, "a.safetensors")}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        elif kind == "adapter":
            adapters = Adapters(model.module)
            adapters.add("one", LoRASettings(rank=2, dora=True))
            save_adapter(folder, adapters.take("one"))
        elif kind == "encoder":
            import tokenizers

            core = tokenizers.BertWordPieceTokenizer()
            core.train_from_iterator(["the cat sat on the mat"] * 3, 80, show_progress=False)
            core.save(str(folder / "tokenizer.json"))
            sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
            config = transformers.BertConfig(vocab_size=80, hidden_size=8, **sizes)
            transformers.BertModel(config).save_pretrained(folder)
            kinds = [{"type": f"a.{one}", "path": "p"} for one in ("Transformer", "Pooling")]
            (folder / "modules.json").write_text(json.dumps(kinds))
            (folder / "p").mkdir()
            (folder / "p" / "config.json").write_text('{"pooling_mode_cls_token": true}')
        else:
            shape = Shape2017(vocab_size=6, hidden_size=8, intermediate_size=8, num_layers=1,
                              num_heads=2, context_length=9)  # fmt: skip
            PairsModel(Transformer2017(shape), ("a", "b", "c")).save(folder)
        return folder

    return make


def garbled(content: bytes, chance: random.Random) -> bytes:
    """Cut off, changed in places, doubled in part, or with a great number in it."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(data)) if data else 0
        if chance.random() < 0.5 and data:  # the beginning says what follows
            at %= 4096
        match chance.randrange(6):
            case 0:
                del data[at:]
            case 1:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 2:
                data[at : at + 8] = chance.choice((2**63, 2**32, 10**12, 0)).to_bytes(8, "little")
            case 3:
                del data[at : at + chance.randrange(1, 64)]
            case 4:
                data[at:at] = data[at : at + chance.randrange(1, 64)]
            case _:
                data[at : at + 4] = chance.randbytes(4)
    return bytes(data)


def twisted(values: Any, chance: random.Random) -> Any:
    """JSON with one value in it replaced, removed or renamed."""
    if isinstance(values, dict) and values and chance.random() < 0.9:
        key = chance.choice(list(values))
        if chance.random() < 0.1:
            return {name: one for name, one in values.items() if name != key}
        return {**values, key: twisted(values[key], chance)}
    if isinstance(values, list) and values and chance.random() < 0.9:
        at = chance.randrange(len(values))
        return [*values[:at], twisted(values[at], chance), *values[at + 1 :]]
    return chance.choice(VALUES)


def spoil(folder: Path, chance: random.Random) -> str:
    """Do harm to one of the files; what was done, in words."""
    file = chance.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    content = file.read_bytes()
    if file.suffix == ".json" and chance.random() < 0.7:
        values = twisted(json.loads(content), chance)
        file.write_text(json.dumps(values), encoding="utf-8")
        return f"{file.name} twisted"
    if chance.random() < 0.03:
        file.unlink()
        return f"{file.name} gone"
    file.write_bytes(garbled(content, chance))
    return f"{file.name} garbled"


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def attack(kind: str, sound: Path, seed: int) -> None:
    folder = sound.with_name("spoilt")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    done = spoil(folder, random.Random(seed))
    before, start = peak(), time.perf_counter()
    try:
        KINDS[kind](folder)
    except LangwrightError:
        pass
    except BaseException as error:
        raise AssertionError(f"{kind}, seed {seed} ({done}): {error!r}") from error
    assert time.perf_counter() - start < SECONDS, f"{kind}, seed {seed} ({done}) took too long"
    assert peak() - before < MEMORY, f"{kind}, seed {seed} ({done}) took too much memory"


@pytest.mark.parametrize("kind", list(KINDS))
def test_spoilt_files_are_refused(kind: str, folders: Callable[[str], Path]) -> None:
    sound = folders(kind)
    if kind != "shards":  # where the index names two of its tensors only
        KINDS[kind](sound)
    for seed in range(60):
        attack(kind, sound, seed)


@pytest.mark.slow
def test_spoilt_files_for_a_while(folders: Callable[[str], Path]) -> None:
    until = time.monotonic() + float(os.environ.get("LANGWRIGHT_FUZZ_SECONDS", "60"))
    sound = {kind: folders(kind) for kind in KINDS if "," not in kind}
    seed = random.SystemRandom().randrange(2**32)
    start = seed
    while time.monotonic() < until:
        for kind in KINDS:
            attack(kind, sound[kind.partition(",")[0]], seed)
        seed += 1
    print(f"{(seed - start) * len(KINDS):,} spoilt files from seed {start}")


@pytest.mark.parametrize("name", ["model.safetensors", "adapter_model.safetensors"])
def test_a_pickle_in_disguise_is_not_run(
    name: str, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    kind = "adapter" if name.startswith("adapter") else "folder"
    folder = folders(kind)
    (folder / name).write_bytes(pickle.dumps({"model.norm.weight": Bomb()}))
    with pytest.raises(LangwrightError):
        KINDS[kind](folder)
    for other in ("pytorch_model.bin", "adapter_model.bin"):
        (folder / name).rename(folder / other)
        with pytest.raises(LangwrightError):
            KINDS[kind](folder)
        (folder / other).rename(folder / name)
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_whose_post_processor_is_nonsense_is_refused(
    folders: Callable[[str], Path],
) -> None:
    folder = folders("folder")
    (folder / "langwright.json").unlink()  # which would say what begins a text
    spec = json.loads((folder / "tokenizer.json").read_text())
    spec["post_processor"] = {"type": "TemplateProcessing", "single": 3}
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(LangwrightError, match="not understood"):
        used(folder)
