"""The proof of an export: another program reads the files, and is compared with the model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from langwright.errors import LangwrightError, Unsupported
from langwright.lifecycle.export.bounds import LIKELY, bound_of
from langwright.lifecycle.export.node import Node, NodeFailed
from langwright.lifecycle.export.probes import Probe, page_probes, probes_of
from langwright.model import Decoder, ModelBundle, load_gguf
from langwright.tokens import cutting

Rows = np.ndarray[Any, np.dtype[np.float32]]
Rounding = Callable[[str, Any], Any]

_ENGINES = {
    "hf": ("transformers", "transformers"),
    "gguf": ("llama.cpp", "xllamacpp"),
    "html": ("node", None),
}
"""The program that reads each kind of export, and the module that brings it."""


class Unproved(LangwrightError):
    """Another program does not read the export as we do, so there is none."""

    type = "unproved"


@dataclass(frozen=True)
class Proof:
    """What another program made of the files.

    `max_abs_logprob_diff` in nats, from the model whose weights are rounded as the files have them;
    over the tokens that are not unlikely; `witness_kl` (nats a token) and `top1_agreement` are from
    that model too. `mean_kl` is from the model before rounding: what the export costs. `tolerance`
    bounds the first in f32 and f16, `witness_kl` in all else.
    """

    engine: str
    version: str
    dtype: str
    token_ids_equal: bool
    max_abs_logprob_diff: float | None
    mean_kl: float | None
    tolerance: float
    passed: bool
    witness_kl: float | None = None
    top1_agreement: float | None = None
    places: int = 0
    difference: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def engine_of(kind: str) -> str:
    """The program that an export is proved in."""
    return _ENGINES[kind][0]


def need_engine(kind: str) -> None:
    """Raises `Unsupported` where the program that is to read the export is not installed."""
    name, module = _ENGINES[kind]
    found = shutil.which(name) if module is None else find_spec(module)
    if found is None:
        bring = "Install Node.js" if module is None else "pip install 'langwright[export]'"
        raise Unsupported(
            f"An export is proved in {name}, which is not installed.",
            remedy=f"{bring}, or write unproved files with --unproved.",
        )


def prove(
    kind: str, path: Path, model: ModelBundle, dtype: str, rounding: Rounding | None
) -> Proof:
    """Have the other program read `path`, written from `model`; `rounding` gives the values of a
    tensor as the files hold them, None where they hold all of it."""
    probes = page_probes(model) if kind == "html" else probes_of(model)
    before = _logprobs(model.module, probes)
    same = before
    module = model.module
    if rounding is not None:
        module = _rounded(model.module, rounding)
        same = _logprobs(module, probes)
    answered, rows = _ask(kind, path, probes)
    names: dict[str, Any] = {key: answered[key] for key in ("engine", "version")} | {"dtype": dtype}
    bound = bound_of(kind, model.module, dtype)
    for probe, found in zip(probes, answered["ids"], strict=True):
        if found != probe.ids:
            difference = _token_difference(model, probe, found)
            return Proof(**names, **_NOTHING, tolerance=bound.tolerance, difference=difference)
    ours, theirs, whole = (np.concatenate(each) for each in (same, rows, before))
    if theirs.shape != ours.shape:
        difference = f"it has {theirs.shape[-1]} tokens, the model {ours.shape[-1]}"
        return Proof(**names, **_NOTHING, tolerance=bound.tolerance, difference=difference)
    seen = np.isfinite(theirs) & (ours >= np.log(LIKELY))
    gap = np.where(seen, np.abs(ours - theirs), 0.0)
    figures: dict[str, Any] = {
        "max_abs_logprob_diff": float(gap.max()),
        "mean_kl": max(0.0, float(_kl(whole, theirs).mean())),
        "witness_kl": max(0.0, float(_kl(ours, theirs).mean())),
        "top1_agreement": float((ours.argmax(-1) == theirs.argmax(-1)).mean()),
    }
    passed = bool(np.isfinite(theirs.max(-1)).all()) and bound.holds(figures)
    reason = _told_difference(path, model) if kind == "gguf" and passed else None
    if reason is not None:
        passed = False
    elif not passed:
        worst = int(gap.max(-1).argmax())
        reason = _place(probes, worst)
        if kind == "hf":
            reason = _layer_difference(path, module, probes, worst) or reason
    return Proof(
        **names,
        token_ids_equal=True,
        **figures,
        tolerance=bound.tolerance,
        passed=passed,
        places=len(ours),
        difference=reason,
    )


_NOTHING: dict[str, Any] = {
    "token_ids_equal": False, "max_abs_logprob_diff": None, "mean_kl": None, "passed": False,
}  # fmt: skip


@torch.inference_mode()
def _logprobs(module: Decoder, probes: list[Probe]) -> list[Rows]:
    """Of all tokens behind each probe's places, [P, V]."""
    return [
        module(torch.tensor([probe.read]))[0, probe.places].float().log_softmax(-1).numpy()
        for probe in probes
    ]


def _rounded(module: Decoder, rounding: Rounding) -> Decoder:
    """The same with its weights as the files hold them."""
    with torch.device("meta"):
        twin = Decoder(module.shape)
    weights = {
        name: torch.from_numpy(rounding(name, values.detach().float().numpy()))
        for name, values in module.named_parameters()
    }
    twin.load_state_dict(weights, strict=False, assign=True)
    twin.set_rotary()
    if module.shape.tie_embeddings:
        twin.lm_head.weight = twin.embed_tokens.weight
    return twin.eval()


def _ask(
    kind: str, path: Path, probes: list[Probe], states: list[int] | None = None
) -> tuple[dict[str, Any], list[Rows]]:
    """What the other program answers; raises `Unproved` where it cannot read the files at all."""
    if kind == "html":
        try:
            with Node(path) as node:
                rows = [node.logprobs(probe.read, probe.places) for probe in probes]
                told = {"engine": "node", "version": node.version}
                return told | {"ids": [node.ids(probe) for probe in probes]}, rows
        except NodeFailed as failure:
            raise _unreadable(kind, str(failure)) from None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asked = {"probes": [probe.to_json() for probe in probes], "states": states}
        (folder / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
        words = ["-m", "langwright.lifecycle.export.witness", kind, str(path), str(folder)]
        done = subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, errors="replace"
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "rror" in line] or ["it died"]
            raise _unreadable(kind, "; ".join(lines[-3:])[:600])
        answered = json.loads((folder / "answered.json").read_text(encoding="utf-8"))
        found = "states.npz" if states is not None else "logprobs.npz"
        with np.load(folder / found) as arrays:
            return answered, [arrays[key] for key in arrays.files]


def _unreadable(kind: str, why: str) -> Unproved:
    return Unproved(
        f"{_ENGINES[kind][0]} cannot read the export: {why}.",
        remedy="Nothing was written. --unproved writes the files all the same.",
    )


def _kl(ours: Rows, theirs: Rows) -> Rows:
    """The divergence of their distribution from ours at each place, in nats."""
    logs = ours.astype(np.float64), np.maximum(theirs.astype(np.float64), -1e4)
    found: Rows = (np.exp(logs[0]) * (logs[0] - logs[1])).sum(-1)
    return found


def _told_difference(path: Path, model: ModelBundle) -> str | None:
    """What the file says of its tokenizer and template that is not the model's, should no probe
    have shown it: a small vocabulary is cut alike in many ways."""
    found = load_gguf(path)
    if cutting(found.tokenizer) != cutting(model.tokenizer):
        return "the file names another cutting of text than the tokenizer's"
    if (found.template is None) != (model.template is None):
        return "the file has no chat template, or one too many"
    if (found.end_ids, found.start_id) != (model.end_ids, model.start_id):
        return "the file names other tokens that begin or end a text"
    return None


def _token_difference(model: ModelBundle, probe: Probe, found: list[int]) -> str:
    """Where the ids part, in words."""
    pairs = zip(probe.ids, found, strict=False)
    at = next((at for at, (ours, theirs) in enumerate(pairs) if ours != theirs), None)
    if at is None:
        at = min(len(probe.ids), len(found))

    def shown(ids: list[int]) -> str:
        inside = [token for token in ids[at : at + 3] if 0 <= token < model.tokenizer.vocab_size]
        return f"{ids[at : at + 3]} {model.tokenizer.decode(inside)!r}"

    return f"token {at} of {probe}: ours {shown(probe.ids)}, theirs {shown(found)}"


def _place(probes: list[Probe], worst: int) -> str:
    """Which probe the row number `worst` belongs to."""
    for probe in probes:
        if worst < len(probe.places):
            return f"behind token {probe.places[worst]} of {probe}"
        worst -= len(probe.places)
    raise AssertionError("every row belongs to a probe")


def _layer_difference(path: Path, module: Decoder, probes: list[Probe], worst: int) -> str | None:
    """The first layer whose states differ by a hundredth of their size, or None."""
    for probe in probes:
        if worst < len(probe.places):
            break
        worst -= len(probe.places)
    ours: list[torch.Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _, __, state: ours.append(state[0]))
        for block in module.layers
    ]
    with torch.inference_mode():
        module(torch.tensor([probe.read]))
        ours[-1] = module.norm(ours[-1])
    for hook in hooks:
        hook.remove()
    _, theirs = _ask("hf", path, [], states=probe.read)
    for layer, (state, other) in enumerate(zip(ours, theirs, strict=False)):
        if np.abs(state.numpy() - other).max() > 0.01 * float(state.std()):
            return f"the states first differ behind layer {layer} (on {probe})"
    return None
