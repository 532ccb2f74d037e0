"""Adapters in PEFT's format, both ways: adapter_config.json and adapter_model.safetensors."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from langwright.errors import Damaged, NotFound, Unsupported
from langwright.model.families import ConfigFile
from langwright.model.folder import read_json, write_tensors
from langwright.model.lora import TARGETS, Adapter, LoRASettings

FILE = "adapter_model.safetensors"

_KEY = re.compile(
    r"base_model\.model\.model\.(layers\.[0-9]+\.\w+\.\w+)\.(lora_A\.weight|lora_B\.weight|"
    r"lora_magnitude_vector(?:\.weight)?)"
)
_OURS = {"lora_A": "lora_A", "lora_B": "lora_B", "lora_magnitude_vector": "magnitude"}
_HARMLESS = (
    "auto_mapping base_model_name_or_path inference_mode init_lora_weights revision task_type"
    " peft_version qalora_group_size megatron_core runtime_config eva_config corda_config"
    " loftq_config ensure_weight_tying"
)


def save_adapter(folder: Path, adapter: Adapter, base: str | None = None) -> None:
    """Write the adapter as `peft.PeftModel.from_pretrained` reads it; `base` names its model.

    Raises `Unsupported` for gpt2, whose matrices PEFT cuts otherwise.
    """
    if adapter.family == "gpt2":
        raise Unsupported(
            "PEFT adapts the queries, keys and values of gpt2 as one matrix, which three parts of"
            " their own cannot become.",
            remedy="Merge the adapter and export the model.",
        )
    settings = adapter.settings
    theirs = {"lora_A": "lora_A.weight", "lora_B": "lora_B.weight"}
    tensors = {
        f"base_model.model.model.{path}.{theirs.get(key, 'lora_magnitude_vector')}": (
            values.float().contiguous()
        )
        for path, parts in adapter.parts.items()
        for key, values in parts.items()
    }
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "lora_dropout": settings.dropout,
        "target_modules": list(settings.targets),
        "use_rslora": settings.rslora,
        "use_dora": settings.dora,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    write_tensors(folder / FILE, tensors)
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")


def load_adapter(folder: Path) -> Adapter:
    """Read an adapter of the kinds LoRA, rsLoRA and DoRA.

    Raises `NotFound` where there is none, `Unsupported` for a setting that would change the result,
    `Damaged` for files that cannot be read.
    """
    if not (folder / "adapter_config.json").is_file():
        raise NotFound(
            f"{folder} holds no adapter: there is no adapter_config.json.",
            remedy="Give the folder that PEFT, or `langwright`, saved an adapter in.",
        )
    settings = _settings(read_json(folder / "adapter_config.json"))
    path = folder / FILE
    if not path.is_file():
        raise NotFound(
            f"{folder} holds no {FILE}.",
            remedy="Pickled weights (.bin) are not read; save the adapter as safetensors.",
        )
    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise Damaged(f"{path} cannot be read: {error}.", remedy="Fetch it again.") from None
    parts: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, values in tensors.items():
        match = _KEY.fullmatch(name)
        if match is None:
            raise Unsupported(
                f"{path} has the tensor '{name[:120]}', which is not of a layer's matrices.",
                remedy=f"Adapt only {', '.join(TARGETS)}.",
            )
        if not bool(torch.isfinite(values).all()):
            raise Damaged(
                f"{path} has values in '{name}' that are not numbers.", remedy="Train it again."
            )
        parts[match[1]][_OURS[match[2].removesuffix(".weight")]] = values.float()
    # PEFT may name the targets by a pattern; those that have tensors are meant.
    targets = dict.fromkeys(path.rpartition(".")[2] for path in parts)
    return Adapter(settings.model_copy(update={"targets": tuple(targets)}), dict(parts))


def _settings(values: dict[str, Any]) -> LoRASettings:
    config = ConfigFile(values)
    config.must(peft_type="LORA", bias="none", fan_in_fan_out=False, quantization_config=None)
    for name in (*_HARMLESS.split(), "target_modules", "exclude_modules"):
        config.take(name)
    found = {
        "rank": config.take("r"),
        "alpha": config.take("lora_alpha"),
        "dropout": config.take("lora_dropout", 0.0),
        "rslora": config.take("use_rslora", False),
        "dora": config.take("use_dora", False),
    }
    config.finish()
    return LoRASettings.build({key: value for key, value in found.items() if value is not None})
