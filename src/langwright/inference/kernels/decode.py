"""Steps by compiled kernels, with the weights and the cache where torch has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from langwright.inference.kernels import kinds, table
from langwright.inference.kernels.cover import ACTIVATIONS, Linear, address, kind_of, tile_of
from langwright.inference.kernels.threads import CREW, Crew
from langwright.model import Decoder, KVCache
from langwright.model.quantised import Int4, Int8, QuantisedLinear
from langwright.model.rotary import Rotary

MAX_ROWS = 16
"""Of one step."""
MAX_READ = 128
"""Tokens of a prompt that are read in one step."""
PROJECTIONS = (
    (table.Q, "self_attn.q_proj"),
    (table.K, "self_attn.k_proj"),
    (table.V, "self_attn.v_proj"),
    (table.OUT, "self_attn.o_proj"),
    (table.GATE, "mlp.gate_proj"),
    (table.UP, "mlp.up_proj"),
    (table.DOWN, "mlp.down_proj"),
)


class DecodeStep:
    """The next token's logits for some slots of a cache, one new token in each; and prompts, where
    the weights are whole numbers: with others torch's products of many rows are faster.

    The keys and values are written into the cache that torch's pass reads. The weights are read
    where the module has them; only the norms and biases are copied, to float32, when this is made.
    """

    def __init__(self, module: Decoder, cache: KVCache, crew: Crew = CREW) -> None:
        shape = module.shape
        self._module, self._cache, self._crew = module, cache, crew
        self._shape = shape_of(module)
        self._kept: list[Any] = []
        self._small = _Small(module)
        self._layers = self._layer_table()
        self._ends = np.zeros(table.END_COLUMNS, np.int64)
        self._matrix(self._ends, table.HEAD, cast(Linear, module.lm_head), "lm_head")
        self._ends[table.LAST_NORM] = self._small.norm("norm")
        widest = max(shape.hidden_size, shape.intermediate_size, shape.num_heads * shape.head_dim)
        used = [column for column, part in PROJECTIONS if part != "mlp.gate_proj" or shape.gated]
        self.reads = bool(self._layers[:, [column + table.WHOLE for column in used]].all())
        rows = MAX_READ if self.reads else MAX_ROWS
        queries = (shape.num_heads + 2 * shape.num_kv_heads) * shape.head_dim
        self.num_threads = torch.get_num_threads()
        room = (cache.length + 8) // 8 * 8
        stride = (4 * widest + 63) // 64 * 64
        sizes = {
            "floats": rows * stride,
            "wholes": rows * (stride + 64),
            "qkv": 4 * rows * queries,
            "gate": 4 * rows * shape.intermediate_size,
            "up": 4 * rows * shape.intermediate_size,
            "added": 4 * rows * shape.hidden_size,
            "keys": self._wide_bytes(),
            "values": self._wide_bytes(),
            "scores": 4 * self.num_threads * kinds.QUERIES * room,
            "counters": 64 * (table.PHASES * shape.num_layers + table.END_PHASES),
            "places": 16 * rows,
        }
        starts = np.cumsum([0, *((size + 63) // 64 * 64 for size in sizes.values())])
        self._room = np.zeros(int(starts[-1]) + 64, np.uint8)
        base = -(-self._room.ctypes.data // 64) * 64
        self._buffers = {name: base + int(at) for name, at in zip(sizes, starts, strict=False)}
        at = self._buffers["counters"] - self._room.ctypes.data
        self._counters = self._room[at : at + sizes["counters"]]
        at = self._buffers["places"] - self._room.ctypes.data
        self._places = self._room[at : at + sizes["places"]].view(np.int64)
        self._stride = stride

    def __call__(self, ids: Sequence[int], slots: Sequence[int]) -> Tensor:
        """Append one token to each of some slots, or as many as it is named; the logits after each,
        [B, V] in float32."""
        assert len(slots) == len(ids) <= MAX_ROWS, "a token to a slot"
        return self._step(ids, slots, 0)

    def read(self, ids: Sequence[int], slot: int, last: int) -> Tensor:
        """Append tokens to a slot; the logits after the `last` of them, [last, V] in float32. What
        comes out of a token does not depend on how a prompt is cut."""
        assert self.reads, "the caller asks first"
        silent = len(ids) - last
        parts = []
        for at in range(0, len(ids), MAX_READ):
            part = ids[at : at + MAX_READ]
            parts.append(self._step(part, slot, min(len(part), max(0, silent - at))))
        return torch.cat(parts)

    @torch.inference_mode()
    def _step(self, ids: Sequence[int], slots: Sequence[int] | int, num_silent: int) -> Tensor:
        """`slots` of a prompt is its one."""
        module, cache = self._module, self._cache
        shape, num_rows = module.shape, len(ids)
        wide = isinstance(slots, int)
        slots = [slots] * num_rows if isinstance(slots, int) else slots
        ends, places = {slot: cache.lengths[slot] for slot in slots}, list[int]()
        for slot in slots:
            places.append(ends[slot])
            ends[slot] += 1
        assert max(places) < cache.length, "the engine admits no sequence longer than its slot"
        x = module.embed_tokens(torch.tensor(ids))
        if shape.scale_embeddings:
            x = x * torch.tensor(shape.hidden_size**0.5, dtype=x.dtype)
        if shape.positions == "learned":
            x = x + module.embed_positions(torch.tensor(places))
        x = x.float().contiguous()
        logits = torch.empty(num_rows - num_silent, shape.vocab_size)
        for row, pair in enumerate(zip(slots, places, strict=True)):
            self._places[2 * row : 2 * row + 2] = pair
        self._counters[:] = 0
        work = kinds.Work(
            layers=self._layers.ctypes.data,
            ends=self._ends.ctypes.data,
            num_rows=num_rows,
            wide=wide,
            num_silent=num_silent,
            x=x.data_ptr(),
            stride=self._stride,
            logits=logits.data_ptr(),
            length=cache.length,
            brief=cache.k_LSKCD.dtype == torch.bfloat16,
            num_threads=self.num_threads,
            **self._buffers,
        )
        self._crew.run(self._shape, work)
        for slot, end in ends.items():
            cache.lengths[slot] = end
        return logits

    def _wide_bytes(self) -> int:
        """Of the keys of one slot as float32, where the kernels read prompts from bfloat16; memory
        that is never written takes none."""
        shape, cache = self._module.shape, self._cache
        if not self.reads or cache.k_LSKCD.dtype != torch.bfloat16:
            return 0
        return 4 * shape.num_kv_heads * cache.length * shape.head_dim

    def _layer_table(self) -> Any:
        module, cache, shape = self._module, self._cache, self._module.shape
        rows = np.zeros((shape.num_layers, table.COLUMNS), np.int64)
        far = near = 0
        if shape.positions == "rotary":
            far = self._turns(module.rotary)
            near = far if shape.local_rope_theta is None else self._turns(module.local_rotary)
        for layer, (row, block) in enumerate(zip(rows, module.layers, strict=True)):
            name = f"layers.{layer}"
            for column, part in PROJECTIONS:
                if part != "mlp.gate_proj" or shape.gated:
                    linear = cast(Linear, block.get_submodule(part))
                    self._matrix(row, column, linear, f"{name}.{part}")
            row[table.INPUT_NORM] = self._small.norm(f"{name}.input_layernorm")
            if shape.sandwich_norms:
                row[table.POST_ATTENTION] = self._small.norm(f"{name}.post_attention_layernorm")
                row[table.MLP_NORM] = self._small.norm(f"{name}.pre_feedforward_layernorm")
                row[table.POST_MLP] = self._small.norm(f"{name}.post_feedforward_layernorm")
            else:
                row[table.MLP_NORM] = self._small.norm(f"{name}.post_attention_layernorm")
            if shape.qk_norm:
                row[table.Q_NORM] = self._small.norm(f"{name}.self_attn.q_norm")
                row[table.K_NORM] = self._small.norm(f"{name}.self_attn.k_norm")
            row[table.KEYS] = cache.k_LSKCD[layer].data_ptr()
            row[table.VALUES] = cache.v_LSKCD[layer].data_ptr()
            window = shape.window(layer)
            row[table.WINDOW] = window or 0
            if shape.positions == "rotary" and layer not in shape.unrotated_layers:
                row[table.TURNS] = far if window is None else near
        return rows

    def _turns(self, rotary: Rotary) -> int:
        """The address of the rotations of all positions, [C, 2, D / 2]."""
        cos, sin = rotary(torch.arange(self._cache.length)[None])
        both = torch.stack((cos[0, 0], sin[0, 0]), dim=1).contiguous()
        self._kept.append(both)
        return both.data_ptr()

    def _matrix(self, row: Any, column: int, linear: Linear, name: str) -> None:
        kind = kind_of(linear)
        assert kind is not None, "why_not says so"
        if isinstance(linear, QuantisedLinear):
            matrix = linear.matrix
            scales = matrix.scales
            weights = matrix.quants if isinstance(matrix, Int8) else cast(Int4, matrix).packed
            held = scales.shape[1]
        else:
            weights = scales = linear.weight
            held = linear.out_features
        self._kept.append((weights, scales))
        found = {
            table.WEIGHTS: weights.data_ptr(),
            table.SCALES: scales.data_ptr(),
            table.HELD: held,
            table.BIAS: self._small.address(f"{name}.bias") if linear.bias is not None else 0,
            table.PRODUCT: address(kind),
            # The head is for few rows also when a prompt is read.
            table.WIDE: address(kind, wide=kind.whole and name != "lm_head"),
            table.WHOLE: kind.whole,
            table.TILE: tile_of(kind),
        }
        for place, value in found.items():
            row[column + place] = value


class _Small:
    """The vectors of a model (norms and biases), as one in float32. Norms have their offset in
    them, and their bias behind them."""

    def __init__(self, module: Decoder) -> None:
        found = [(name, one) for name, one in module.named_parameters() if one.dim() == 1]
        starts = np.cumsum([0, *(one.numel() for _, one in found)])
        self._starts = {name: int(at) for (name, _), at in zip(found, starts, strict=False)}
        values = [one.detach() for _, one in found]
        self._values = torch.cat(values).float() if values else torch.empty(0)
        if module.shape.norm_offset:
            for (name, one), at in zip(found, starts, strict=False):
                if name.endswith("norm.weight"):
                    self._values[at : at + one.numel()] += module.shape.norm_offset

    def address(self, name: str) -> int:
        return self._values.data_ptr() + 4 * self._starts[name]

    def norm(self, name: str) -> int:
        return self.address(f"{name}.weight")


def shape_of(module: Decoder) -> kinds.Shape:
    shape = module.shape
    scale = shape.attention_scale
    return kinds.Shape(
        num_layers=shape.num_layers,
        width=shape.hidden_size,
        inner=shape.intermediate_size,
        heads=shape.num_heads,
        kv_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        vocab=shape.vocab_size,
        layer_norm=shape.norm == "layer",
        norm_eps=shape.norm_eps,
        sandwich=shape.sandwich_norms,
        qk_norm=shape.qk_norm,
        gated=shape.gated,
        activation=ACTIVATIONS.index(shape.activation),
        attention_scale=1 / math.sqrt(shape.head_dim) if scale is None else scale,
        softcap=shape.logit_softcap or 0.0,
    )
