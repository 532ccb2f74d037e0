"""Another program reads an export: what ids it makes, and which probabilities it gives.

Run as a process of its own (`python -m langwright.lifecycle.export.witness KIND PATH FOLDER`): a
file that brings the other program down must not take us with it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np

Probes = list[dict[str, Any]]
Rows = np.ndarray[Any, np.dtype[np.float32]]


class Transformers:
    """A Hugging Face folder in transformers, computed in float32 with its plainest attention."""

    def __init__(self, path: Path) -> None:
        transformers: Any = import_module("transformers")
        transformers.logging.set_verbosity_error()
        self.name, self.version = "transformers", transformers.__version__
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        self._model = transformers.AutoModelForCausalLM.from_pretrained(
            path, attn_implementation="eager", dtype="float32"
        ).eval()

    def ids(self, probe: dict[str, Any]) -> list[int]:
        if probe["messages"] is not None:
            found = self._tokenizer.apply_chat_template(
                probe["messages"], add_generation_prompt=True, return_dict=True
            )
        else:
            found = self._tokenizer(probe["text"], split_special_tokens=not probe["special"])
        return list(found["input_ids"])

    def logprobs(self, ids: list[int], places: list[int]) -> Rows:
        import torch

        with torch.no_grad():
            logits = self._model(torch.tensor([ids])).logits[0, places]
        return np.asarray(logits.float().log_softmax(-1).numpy())

    def states(self, ids: list[int]) -> list[Rows]:
        """The residual stream behind each layer, behind the last one normed."""
        import torch

        with torch.no_grad():
            found = self._model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        return [one[0].float().numpy() for one in found[1:]]


class LlamaCpp:
    """A GGUF file in llama.cpp, with a cache in float32."""

    def __init__(self, path: Path) -> None:
        from importlib.metadata import version

        import xllamacpp

        self.name, self.version = "llama.cpp", f"xllamacpp {version('xllamacpp')}"
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx, parameters.n_parallel = 4096, 1
        parameters.warmup = parameters.fit_params = False
        parameters.cache_type_k = xllamacpp.ggml_type.GGML_TYPE_F32
        parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        # Its other attention rounds to half precision.
        disabled = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.flash_attn_type = disabled
        self._server = xllamacpp.Server(parameters)
        letter = self._ask("tokenize", content="a", add_special=False)["tokens"]
        self._letter = letter[-1]

    def ids(self, probe: dict[str, Any]) -> list[int]:
        text = probe["text"]
        if probe["messages"] is not None:
            text = self._ask("apply-template", messages=probe["messages"])["prompt"]
        special = probe["special"] or probe["messages"] is not None
        asked = {"content": text, "add_special": True, "parse_special": special}
        return [int(token) for token in self._ask("tokenize", **asked)["tokens"]]

    def logprobs(self, ids: list[int], places: list[int]) -> Rows:
        return np.stack([self._next(ids[: place + 1]) for place in places])

    def _next(self, ids: list[int]) -> Rows:
        answer = self._ask(
            "completion",
            prompt=ids,
            n_predict=1,
            n_probs=2**31 - 1,
            # The answer must be a token with a text, or there is none of it; the probabilities
            # are those before any bias.
            logit_bias=[[self._letter, 1e4]],
            samplers=[],
            cache_prompt=True,
            post_sampling_probs=False,
        )
        top = answer["completion_probabilities"][0]["top_logprobs"]
        row = np.full(max(one["id"] for one in top) + 1, -np.inf, dtype=np.float32)
        for one in top:
            row[one["id"]] = -np.inf if one["logprob"] is None else one["logprob"]
        # It sums up the probabilities in float32, which shifts a whole row by up to 3e-4.
        return np.asarray(row - np.logaddexp.reduce(row.astype(np.float64)), dtype=np.float32)

    def _ask(self, verb: str, **asked: Any) -> Any:
        request = Request(  # noqa: S310 - the address is our own server's
            f"{self._server.listening_address}/{verb}",
            json.dumps(asked).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with build_opener(ProxyHandler({})).open(request) as answer:
                return json.load(answer)
        except HTTPError as error:
            raise RuntimeError(f"{verb}: {error.read().decode(errors='replace')}") from None


def main(kind: str, path: Path, folder: Path) -> None:
    """Answer `folder`/asked.json with `folder`/answered.json and logprobs.npz."""
    asked = json.loads((folder / "asked.json").read_text(encoding="utf-8"))
    witness = Transformers(path) if kind == "hf" else LlamaCpp(path)
    probes: Probes = asked["probes"]
    answered: dict[str, Any] = {"engine": witness.name, "version": witness.version}
    answered["ids"] = [witness.ids(probe) for probe in probes]
    rows: Iterator[Rows] = (witness.logprobs(probe["read"], probe["places"]) for probe in probes)
    np.savez(folder / "logprobs.npz", *rows)
    if isinstance(witness, Transformers) and asked["states"] is not None:
        np.savez(folder / "states.npz", *witness.states(asked["states"]))
    (folder / "answered.json").write_text(json.dumps(answered), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
