"""The settings of a run of constitutional AI."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from langwright.backend import Device
from langwright.config import Settings
from langwright.training.constitutional.lessons import Aim

RULES = "rules"
"""The judge that is no model."""


class ConstitutionSettings(Settings):
    """Who answers, by which principles, who judges, and how far it goes.

    `model` answers `prompts`, criticises and revises its answers `rounds` times by principles of
    `constitution`, after `shots` examples; it then learns the last revisions (`train` `sft`) mixed
    with `helpful` conversations, `helpful_per_revision` to each. `judge` (`rules`, or a model)
    chooses between two answers to each prompt, `pairs_per_prompt` times. What comes of it is
    measured on `held_out` and `helpful_held_out`, harm by `scorer`. `house` names what comes with
    the package; else a constitution is a TOML file, prompts are .txt or .jsonl files.
    """

    model: str
    constitution: str = "house"
    prompts: str = "house"
    helpful: str | None = None
    helpful_per_revision: float = Field(1.0, ge=0)
    rounds: int = Field(2, ge=1, le=16)
    shots: int = Field(2, ge=0, le=3)
    judge: str = RULES
    pairs_per_prompt: int = Field(1, ge=1)
    train: Aim = "sft"
    held_out: str = "house"
    helpful_held_out: str = "house"
    scorer: Literal["alt-profanity-check", "none"] = "alt-profanity-check"
    max_tokens: int = Field(192, ge=1)
    temperature: float = Field(0.7, gt=0)
    top_p: float = Field(0.95, gt=0, le=1)
    seed: int = Field(0, ge=0)
    device: Device = "cpu"
