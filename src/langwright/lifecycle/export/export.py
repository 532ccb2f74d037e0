"""`langwright export`: a model as files for other programs, proved in one of them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from langwright.errors import BadInput, suggest
from langwright.lifecycle.export.page import DTYPES as PAGE_DTYPES
from langwright.lifecycle.export.page import origin, save_page
from langwright.lifecycle.export.proof import (
    Proof,
    Rounding,
    Unproved,
    engine_of,
    need_engine,
    prove,
)
from langwright.model import ModelBundle, weights_sha256
from langwright.model.folder import DTYPES as TORCH_DTYPES
from langwright.model.folder import save_folder
from langwright.model.gguf_write import DTYPES, rounded, save_gguf
from langwright.model.modelfile import modelfile
from langwright.progress import say
from langwright.providers import open_model
from langwright.store import Store
from langwright.store.atomic import publish_folder, space_checked, sync_tree

To = Literal["hf", "gguf", "html"]


def export(
    model: str,
    to: To,
    path: str | Path,
    *,
    dtype: str = "f32",
    unproved: bool = False,
    store: Store | None = None,
) -> dict[str, Any]:
    """Write `model` for other programs, and prove that they read it as we do.

    `hf`: a folder for transformers, vLLM and the hub (config, safetensors, tokenizer, chat
    template), read again by transformers; `dtype` f32, f16 or bf16. `gguf`: a file for llama.cpp
    and Ollama with a Modelfile beside it, read again by llama.cpp; also q8_0, q5_1, q5_0, q4_1 and
    q4_0. `html`: one page that runs the model in a browser, offline, of at most 200 MB, run again
    by node; f32, f16 or q8_0. A `path` that does not end in `.gguf` or `.html` is a folder, in
    which the file is `model.gguf` or `model.html`.

    Returns `{"files", "proofs"}`. The proof lies beside the files; `unproved` writes them without,
    and says so there.

    Raises `Unproved` where the other program's tokens or probabilities differ: then nothing is
    written. `Unsupported` where that program is not installed or the format cannot hold the model;
    `BadInput` where something lies at `path` already.
    """
    dtypes = {"hf": tuple(TORCH_DTYPES), "gguf": DTYPES, "html": PAGE_DTYPES}
    if to not in get_args(To):
        raise BadInput(f"There is no export to '{to}'.", remedy=suggest(str(to), get_args(To)))
    if dtype not in dtypes[to]:
        raise BadInput(f"--to {to} has no dtype '{dtype}'.", remedy=suggest(dtype, dtypes[to]))
    if not unproved:
        need_engine(to)
    target = Path(path).expanduser()
    if to != "hf" and target.suffix != f".{to}":
        target = target / f"model.{to}"
    _check_free(target)
    store = store or Store()
    opened = open_model(model, store=store)
    bundle = opened.bundle
    with _aside(target) as aside:
        if to == "hf":
            save_folder(aside, bundle, dtype=dtype)
            written, proof_file = aside, "proof.json"
        elif to == "html":
            written, proof_file = aside / target.name, f"{target.stem}.proof.json"
            told = origin(opened.name, bundle, store)
            save_page(written, bundle, dtype, told, proved=not unproved)
        else:
            written = aside / target.name
            save_gguf(written, bundle, dtype, name=opened.name)
            text = modelfile(target.name, bundle)
            (aside / f"{target.stem}.Modelfile").write_text(text, encoding="utf-8")
            proof_file = f"{target.stem}.proof.json"
        proofs: list[Proof] = []
        if not unproved:
            say(f"Written; now {engine_of(to)} reads it.")
            rounding = _cast(TORCH_DTYPES[dtype]) if to == "hf" else partial(rounded, dtype=dtype)
            exact = dtype == "f32"
            proofs.append(prove(to, written, bundle, dtype, None if exact else rounding))
        _tell(aside / proof_file, opened.name, bundle, proofs)
        refused = next((proof for proof in proofs if not proof.passed), None)
        if refused is not None:
            raise Unproved(_why(refused), remedy="Nothing was written.")
        files = _publish(aside, target, to)
    return {"files": [str(file) for file in files], "proofs": [one.to_json() for one in proofs]}


def _cast(dtype: torch.dtype) -> Rounding:
    """The values that are left of float32 ones in another type."""
    return lambda name, values: torch.from_numpy(values).to(dtype).float().numpy()


def _tell(path: Path, name: str, bundle: ModelBundle, proofs: list[Proof]) -> None:
    told = {
        "model": name,
        "weights_sha256": weights_sha256(bundle.module),
        "tokenizer_fingerprint": bundle.tokenizer.fingerprint,
        "proved": bool(proofs) and all(proof.passed for proof in proofs),
        "proofs": [proof.to_json() for proof in proofs],
    }
    path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _why(proof: Proof) -> str:
    if not proof.token_ids_equal:
        return f"{proof.engine} makes other tokens of the same text: {proof.difference}."
    if proof.difference and proof.difference.startswith("the file"):
        return f"{proof.engine} reads the probes as we do, but {proof.difference}."
    return (
        f"{proof.engine} gives other probabilities: log-probabilities differ by up to"
        f" {proof.max_abs_logprob_diff:.3g}, mean KL {proof.witness_kl:.3g} (from the model as it"
        f" was {proof.mean_kl:.3g}), same likeliest token at {proof.top1_agreement:.0%} of places;"
        f" the bound is {proof.tolerance:g}; {proof.difference}."
    )


def _check_free(target: Path) -> None:
    """Raises `BadInput` where something would be overwritten."""
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists():
        raise BadInput(f"{target} exists already.", remedy="Remove it, or name another path.")


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A folder on the same disk, gone after the block. What `target` lies in is not made yet."""
    parent = next(folder for folder in target.absolute().parents if folder.exists())
    try:
        aside = parent / f".{target.name}-{os.getpid()}-{secrets.token_hex(4)}"
        with space_checked(parent):
            aside.mkdir()
            try:
                yield aside
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    except (NotADirectoryError, FileExistsError, PermissionError) as error:
        raise BadInput(
            f"{target} cannot be written: {error}.", remedy="Name another path."
        ) from None


def _publish(aside: Path, target: Path, to: To) -> list[Path]:
    """Move what was written to its place; a folder appears whole, a model's one file last."""
    sync_tree(aside)
    if to == "hf":
        names = sorted(file.name for file in aside.iterdir())
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rmdir()
        publish_folder(aside, target)
        return [target / name for name in names]
    target.parent.mkdir(parents=True, exist_ok=True)
    files = sorted(aside.iterdir(), key=lambda file: (file.name != target.name, file.name))
    for file in reversed(files):
        file.replace(target.parent / file.name)
    return [target.parent / file.name for file in files]
