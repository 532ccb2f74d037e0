"""Arcee (AFM, 2025): Llama's attention, with a feed-forward of squared ReLU and no gate (So et al.
2021, "Primer")."""

from __future__ import annotations

from functools import partial

from langwright.model.families import llama
from langwright.model.families.family import Family

ARCEE = Family(
    "arcee",
    "ArceeForCausalLM",
    partial(llama.read, activation="relu2"),
    partial(llama.write, activation="relu2"),
    {"activation": "relu2", "gated": False},
)
