"""A plan as a recipe, for `pretrain` and `grow`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomli_w

from langwright.lifecycle.ladder import preset_for
from langwright.store import write_atomic
from langwright.training import read_recipe
from langwright.training.recipe import FORECAST


def write_plan(path: Path, told: dict[str, Any]) -> None:
    """The recipe with its forecast, and a table for fine-tuning, so that `grow` takes it too."""
    recipe, forecast = told["recipe"], told["forecast"]
    kept = ("seconds", "peak_memory_bytes", "tokens_per_second", "val_bits_per_byte", "usd")
    tuning = read_recipe(preset_for(forecast["parameters"]), "sft", {})
    tables = {
        "pretrain": recipe,
        "sft": tuning | {"context_length": recipe["context_length"]},
        FORECAST: {key: forecast[key] for key in kept if forecast[key] is not None},
    }
    write_atomic(
        path,
        f"# {forecast['parameters'] / 1e6:,.1f} million parameters, "
        f"{forecast['tokens'] / 1e6:,.1f} million tokens: made by `langwright plan`.\n"
        f"# `langwright pretrain {path.name}` trains by it, and says how the forecast came out.\n\n"
        + tomli_w.dumps(tables),
    )
