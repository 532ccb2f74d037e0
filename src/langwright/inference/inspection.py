"""One text, seen in the glass box: its tokens, the logit lens, attention, single parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypedDict

import torch

from langwright.backend import NextToken
from langwright.errors import BadInput, Unsupported
from langwright.inference.foresight import (
    Effect,
    Followed,
    Lens,
    SeenToken,
    effects,
    followed,
    foreseen,
    likeliest,
    logit_lens,
    logprobs,
    named,
)
from langwright.inference.glassbox import Part, Trace, check_part, parts_of, watch, without_parts
from langwright.inference.looking import Looks, looks_at, position_of
from langwright.inference.neighbours import token_for
from langwright.model import ModelBundle
from langwright.model.encoder import Encoder

MOST_WEIGHTS = 10_000_000
"""So many attention weights one answer may hold: about 100 MB of JSON."""


class InspectOptions(TypedDict, total=False):
    """What is looked at. Layers, heads and positions count from 0.

    `k` (5): how many tokens are shown where the likeliest are. `token` (one token, blanks included)
    or `id`: the token that is followed; by default the likeliest behind the text. `without`: parts
    that are off in all that is shown, `"23"` a layer, `"23.4"` a head. `scan`: also switch off each
    of the `"heads"` or `"layers"` alone, and rank them by what that does to the followed token.
    `query` and `keys`: which heads look from one token of the text to these; each named by its text
    where that stands once, else by its position. `attention`: every weight; `layer`, `head`: only
    those of a layer, of a head, or of one head of one layer.
    """

    k: int
    token: str | None
    id: int | None
    without: str | Sequence[str]
    scan: Literal["heads", "layers"] | None
    query: str | int | None
    keys: str | int | Sequence[str | int]
    attention: bool
    layer: int | None
    head: int | None


@dataclass(frozen=True)
class Inspection:
    """What was seen; `trace` has the tensors.

    `next`, `target` (the followed token) and `logit_lens` are None of an encoder, which foresees
    nothing. `hidden_norms[d][t]` is the length of token t's vector in the residual stream behind d
    layers. `looks` answers `query` and `keys`, `effects` the `scan`; `shown` are the heads whose
    attention was asked for.
    """

    tokens: list[SeenToken]
    next: list[NextToken] | None
    target: Followed | None
    logit_lens: list[Lens] | None
    hidden_norms: list[list[float]]
    looks: Looks | None
    without: list[Part]
    effects: list[Effect] | None
    shown: list[Part]
    trace: Trace

    def to_json(self) -> dict[str, Any]:
        """The object that `langwright inspect --json` prints, less the model's name. Of attention
        it holds what was asked for, each weight rounded to 6 digits; else `attention` is null."""
        told = dict[str, Any]()
        for key, value in vars(self).items():
            if key == "without":
                told[key] = [part._asdict() for part in value]
            elif key not in ("shown", "trace"):
                told[key] = _plain(value)
        told["attention"] = [self._weights(part) for part in self.shown] or None
        return told

    def _weights(self, part: Part) -> dict[str, Any]:
        weights_TC = self.trace.mixing[part.layer].weights(part.head)[0].double()
        rows = [[round(one, 6) for one in row] for row in weights_TC.tolist()]
        return part._asdict() | {"weights": rows}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


@torch.inference_mode()
def inspect(
    box: ModelBundle | Encoder,
    text: str,
    *,
    k: int = 5,
    token: str | None = None,
    id: int | None = None,
    without: str | Sequence[str] = (),
    scan: Literal["heads", "layers"] | None = None,
    query: str | int | None = None,
    keys: str | int | Sequence[str | int] = (),
    attention: bool = False,
    layer: int | None = None,
    head: int | None = None,
) -> Inspection:
    """Look into a model while it reads `text` (raw, no template); see `InspectOptions`.

    Raises `BadInput` for an empty text, one that does not fit the window, and a part or a token
    that is not there; `Unsupported` where an encoder is asked what it foresees; `Damaged` where the
    model computes what are no numbers.
    """
    module, shape = box.module, box.module.shape
    ids = _ids(box, text)
    if k < 1:
        raise BadInput(f"k is {k}.", remedy="Ask for at least 1 token.")
    if scan not in (None, "heads", "layers"):
        raise BadInput(f"scan is '{scan}'.", remedy="Take heads or layers.")
    # One name is meant as such, not as a list of its letters.
    without = (without,) if isinstance(without, str) else without
    keys = (keys,) if isinstance(keys, str | int) else keys
    off = parts_of(without, shape.num_layers, shape.num_heads)
    check_part(layer, head, shape.num_layers, shape.num_heads)
    layers = range(shape.num_layers) if layer is None else [layer]
    heads = range(shape.num_heads) if head is None else [head]
    asked = attention or layer is not None or head is not None
    shown = [Part(one, other) for one in layers for other in heads] if asked else []
    _check_size(len(shown), len(ids))
    if (query is None) != (not keys):
        raise BadInput("A query needs keys, and keys a query.", remedy="Give both, or neither.")
    pieces = [box.tokenizer.token_bytes(one) for one in ids]
    places = [] if query is None else [position_of(pieces, one) for one in (query, *keys)]

    target, scanned = None, None
    if token is not None or id is not None:
        target = token_for(box.tokenizer, token, id)
    if isinstance(box, Encoder) and (target is not None or scan is not None):
        raise Unsupported(
            "An encoder foresees no token, so there is none to follow.",
            remedy="Ask for its attention: attention, layer and head, query and keys, without.",
        )
    with without_parts(module, [off]):
        trace = watch(module, ids)
    norms = [one.float().norm(dim=-1).tolist() for one in trace.hidden]
    looks = looks_at(trace, places[0], places[1:]) if places else None
    if isinstance(box, Encoder):
        tokens = [SeenToken(at, *named(box.tokenizer, one)) for at, one in enumerate(ids)]
        return Inspection(tokens, None, None, None, norms, looks, off, None, shown, trace)

    tokens = foreseen(box, trace, k)
    last_V = logprobs(box, trace.states[-1:])[0]
    target = int(last_V.argmax()) if target is None else target
    if scan is not None:
        each = range(shape.num_heads) if scan == "heads" else [None]
        parts = [Part(one, other) for one in range(shape.num_layers) for other in each]
        scanned = effects(box, ids, parts, off, target)
    return Inspection(
        tokens,
        likeliest(box, last_V, k),
        followed(box, last_V, target),
        logit_lens(box, trace, target, k),
        norms,
        looks,
        off,
        scanned,
        shown,
        trace,
    )


def _ids(box: ModelBundle | Encoder, text: str) -> list[int]:
    """What the model reads of `text`, with the marks that it puts around it."""
    if not text:
        raise BadInput("The text is empty.", remedy="Give at least one character.")
    ids = box.tokenizer.encode(text)
    if isinstance(box, Encoder):
        ids, window = [box.first_id, *ids, box.last_id], box.max_tokens
    else:
        ids = ids if box.start_id is None else [box.start_id, *ids]
        window = box.module.shape.context_length
    if len(ids) > window:
        raise BadInput(
            f"The text has {len(ids)} tokens; the model's window is {window}.",
            remedy="Give a shorter text.",
        )
    return ids


def _check_size(num_heads: int, length: int) -> None:
    count = num_heads * length**2
    if count > MOST_WEIGHTS:
        raise BadInput(
            f"The attention of {num_heads} heads over {length} tokens is {count:,} weights; an "
            f"answer holds {MOST_WEIGHTS:,}.",
            remedy="Ask for a layer, a head, or both; or give a shorter text.",
        )
