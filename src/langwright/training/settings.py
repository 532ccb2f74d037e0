"""The settings that every training stage shares."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from langwright.backend import Device
from langwright.config import Settings

Decay = Annotated[float, Field(ge=0, lt=1)]
"""Of a running mean: how much of it stays at each step."""


MICRO_BATCH = 2048
"""Tokens that a processor works through at once as fast as twice as many, in less memory
(docs/benchmarks.md). A GPU wants more: the `gpu` recipe says how many."""

Schedule = Literal["wsd", "cosine", "noam"]

_UNUSED: dict[Schedule, set[str]] = {
    "wsd": set(),
    "cosine": {"decay_fraction"},
    "noam": {"decay_fraction", "final_learning_rate_fraction"},
}

HOW = frozenset(
    {
        "device",
        "parallel",
        "tensor_parallel",
        "compile",
        "activation_checkpointing",
        "deterministic",
        "stall_seconds",
    }
)
"""Settings of how to compute, not of what: a run may go on with others."""


class LoopSettings(Settings):
    """How long, how fast and how often. Rates are per step; fractions are of `steps`.

    `tokens_per_step` is what one step learns from; it is worked through in pieces of at most
    `micro_batch_tokens` (memory), which changes the time of a step and not its result; by default
    2048, or one context window where that is longer.
    `precision` `auto` computes in bfloat16 where the processor has it, else in float32; `float8` in
    bfloat16 but for the matrices of a decoder's blocks, on a GPU that multiplies 8-bit floats. The
    weights themselves are always float32. `embedding_learning_rate` is that of the tables of
    tokens; None: `learning_rate`. `schedule` `wsd` ends with a decay, `cosine` is one from
    the warm-up on, `noam` (the 2017 Transformer's) never ends; the last two have no
    `decay_fraction`. `optimizer` `muon` moves the matrices of the layers by Muon and the rest by
    AdamW.

    Of the checkpoints, the newest `keep_checkpoints` stay, and those at multiples of `keep_every`
    (0: no others).

    Several processes (`langwright launch`) share the work: `parallel` `fsdp` gives each a part of
    the weights, `ddp` all of them; in groups of `tensor_parallel` they share each matrix.
    `compile` has torch compile the blocks, which takes a minute and a C++ compiler at the start.
    `activation_checkpointing` computes each block twice instead of keeping what lies within it.
    Without `deterministic` a GPU adds up gradients in whatever order is fastest: a run that goes on
    is then not, bit for bit, the one that was never stopped. A processor has but one order.

    `guard` leaves a batch out whose loss or gradient norm lies `guard_threshold` times the noise
    above the last steps, and goes back to a snapshot in memory (`snapshot_every` steps) when the
    weights are damaged. A step that takes ten times as long as usual, and `stall_seconds` at least,
    is reported with the stacks of all threads (0: never).
    """

    steps: int = Field(ge=1)
    tokens_per_step: int = Field(ge=1)
    micro_batch_tokens: int = Field(MICRO_BATCH, ge=1)
    context_length: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    embedding_learning_rate: float | None = Field(None, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    optimizer: Literal["adamw", "muon"] = "adamw"
    muon_momentum: Decay = 0.95
    adam_betas: tuple[Decay, Decay] = (0.9, 0.95)
    adam_epsilon: float = Field(1e-8, gt=0)
    schedule: Schedule = "wsd"
    warmup_steps: int = Field(40, ge=0)
    decay_fraction: float = Field(0.5, ge=0, le=1)
    final_learning_rate_fraction: float = Field(0.05, ge=0, le=1)
    gradient_clip: float = Field(1.0, gt=0)
    seed: int = Field(0, ge=0)
    checkpoint_every: int = Field(100, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    keep_every: int = Field(0, ge=0)
    eval_every: int = Field(50, ge=1)
    device: Device = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float8"] = "auto"
    parallel: Literal["fsdp", "ddp"] = "fsdp"
    tensor_parallel: int = Field(1, ge=1)
    compile: bool = False
    activation_checkpointing: bool = False
    deterministic: bool = True
    guard: bool = True
    guard_threshold: float = Field(10.0, gt=0)
    snapshot_every: int = Field(25, ge=1)
    stall_seconds: float = Field(60.0, ge=0)

    def divided(self, ranks: int) -> Self:
        """The same with micro-batches small enough that each of so many ranks has some."""
        share = max(self.context_length, -(-self.tokens_per_step // ranks))
        return self.model_copy(update={"micro_batch_tokens": min(self.micro_batch_tokens, share)})

    @model_validator(mode="before")
    @classmethod
    def _a_window_at_once(cls, given: dict[str, Any]) -> dict[str, Any]:
        context = given.get("context_length")
        if isinstance(context, int) and context > MICRO_BATCH:
            return {"micro_batch_tokens": context} | given
        return given

    @model_validator(mode="after")
    def _fits(self) -> LoopSettings:
        if self.micro_batch_tokens < self.context_length:
            raise ValueError("micro_batch_tokens must hold at least one context window")
        if self.tokens_per_step < self.context_length:
            raise ValueError("tokens_per_step must hold at least one context window")
        if self.schedule == "noam" and not self.warmup_steps:
            raise ValueError("schedule noam needs warmup_steps")
        unused = _UNUSED[self.schedule] & self.model_fields_set
        if unused:
            raise ValueError(f"schedule {self.schedule} has no {min(unused)}")
        if self.optimizer != "muon" and "muon_momentum" in self.model_fields_set:
            raise ValueError(f"optimizer {self.optimizer} has no muon_momentum")
        return self
