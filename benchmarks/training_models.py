"""What trains, in the benchmarks of training: this package and other projects' models, of one
shape.

Every step is forward, backward, clipping to 1.0 and fused AdamW on fixed random tokens. Peers of
which no registry has the training code are read from the folder `LANGWRIGHT_PEERS` (nanoGPT,
nanochat, litgpt, modded-nanogpt, as git has them). What they import and do not need is stubbed: of
litgpt the package's `__init__` (its command line and lightning) and its converter of Hugging Face
files. Of modded-nanogpt it is the model of `records/track_3_optimization/train_gpt_simple.py`; its
`train_gpt.py` fetches kernels from a hub as it starts and is written for its own width alone.
Embeddings are tied, as ours are, where a peer has the choice; nanochat and modded-nanogpt have not,
and nanochat has value embeddings besides.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import types
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

Step = Callable[[], None]


@dataclass(frozen=True)
class Shape:
    """Of a decoder: `layers` x `width`, `heads`, `vocabulary`; `rows` of `context` tokens a step.

    Without a gate the feed-forward part is 4 x `width` wide inside, with one `gated` wide: a third
    less, so that both have as many parameters."""

    layers: int
    width: int
    heads: int
    context: int
    rows: int
    vocabulary: int = 8192

    @property
    def gated(self) -> int:
        return math.ceil(8 * self.width / 3 / 16) * 16

    @property
    def tokens(self) -> int:
        return self.rows * self.context


@dataclass(frozen=True)
class Order:
    """What a contender shall train. `compiled`: "" for eager, "whole", or "blocks" one by one. Ours
    alone takes `pieces` (so many times the rows in a step), `deterministic`, and float8."""

    shape: Shape
    precision: str = "float32"
    device: str = "cpu"
    compiled: str = ""
    checkpointing: bool = False
    pieces: int = 1
    deterministic: bool = False

    def write(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Order:
        values = json.loads(text)
        return cls(**values | {"shape": Shape(**values["shape"])})


def langwright(order: Order) -> tuple[Step, nn.Module]:
    import torch

    from langwright.model import Architecture, Decoder
    from langwright.training.batch import MicroBatch, next_token_loss
    from langwright.training.learner import Learner
    from langwright.training.settings import LoopSettings

    shape = order.shape
    architecture = Architecture(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.gated,
        num_layers=shape.layers,
        num_heads=shape.heads,
        num_kv_heads=shape.heads,
        head_dim=shape.width // shape.heads,
        context_length=shape.context,
    )
    with torch.device(order.device):
        module = Decoder(architecture)
    # torch's own first values, which a GPU makes at once (a processor would take a minute at 1.5
    # billion), spread the logits so far that a processor's exp falls into denormal numbers.
    if order.device == "cpu":
        module.initialise(0)
    # A processor works through a step by the default's pieces, a GPU through all rows at once.
    at_once = {"micro_batch_tokens": shape.tokens} if order.device == "cuda" else {}
    settings = LoopSettings.build(
        {
            "steps": 1,
            "tokens_per_step": order.pieces * shape.tokens,
            **at_once,
            "context_length": shape.context,
            "learning_rate": 1e-3,
            "embedding_learning_rate": 1e-3,
            "device": order.device,
            "precision": order.precision,
            "compile": bool(order.compiled),
            "activation_checkpointing": order.checkpointing,
            "deterministic": order.deterministic,
        }
    )
    learner = Learner(module, settings)
    # On the processor, as the loop's: the learner takes them to the device.
    ids, targets = data(replace(order, device="cpu"))
    rows = settings.micro_batch_tokens // shape.context
    pieces = zip(ids.split(rows), targets.split(rows), strict=True)
    batches = [MicroBatch(*piece, piece[1].numel()) for piece in pieces] * order.pieces

    def step() -> None:
        learner.gradients(next_token_loss, batches, order.pieces * targets.numel())
        learner.clip()
        learner.move(1.0)

    return step, module


def nanogpt(order: Order) -> tuple[Step, nn.Module]:
    peer = source("nanoGPT", "model")
    shape = order.shape
    config = peer.GPTConfig(
        block_size=shape.context,
        vocab_size=shape.vocabulary,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_embd=shape.width,
        bias=False,
    )
    model = made(order, lambda: peer.GPT(config))
    return steps(order, model, model.transformer.h, lambda ids, targets: model(ids, targets)[1])


def transformers(order: Order) -> tuple[Step, nn.Module]:
    import transformers as peer
    from torch.nn import functional as F

    shape = order.shape
    config = peer.LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.gated,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        use_cache=False,
    )
    model = made(order, lambda: peer.LlamaForCausalLM(config))

    def loss(ids: Tensor, targets: Tensor) -> Tensor:
        logits = model(input_ids=ids).logits
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    return steps(order, model, model.model.layers, loss)


def litgpt(order: Order) -> tuple[Step, nn.Module]:
    from torch.nn import functional as F

    folder = peer_folder("litgpt")
    package, converter = types.ModuleType("litgpt"), types.ModuleType("convert_hf_checkpoint")
    package.__path__ = [str(folder / "litgpt")]
    converter.qkv_reassemble = None  # type: ignore[attr-defined]
    sys.modules["litgpt"] = package
    sys.modules["litgpt.scripts.convert_hf_checkpoint"] = converter
    peer = source("litgpt", "litgpt.model")
    shape = order.shape
    config = peer.Config(
        name="llama-style",
        block_size=shape.context,
        vocab_size=shape.vocabulary,
        padded_vocab_size=shape.vocabulary,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_embd=shape.width,
        intermediate_size=shape.gated,
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
    )
    model = made(order, lambda: peer.GPT(config))
    model.transformer.wte.weight = model.lm_head.weight

    def loss(ids: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(model(ids).float().flatten(0, 1), targets.flatten())

    return steps(order, model, model.transformer.h, loss)


def nanochat(order: Order) -> tuple[Step, nn.Module]:
    """With full attention in every layer, and AdamW throughout, as the others have."""
    os.environ["NANOCHAT_DTYPE"] = order.precision
    os.environ.setdefault("NANOCHAT_BASE_DIR", tempfile.mkdtemp())
    peer = source("nanochat", "nanochat.gpt")
    shape = order.shape
    config = peer.GPTConfig(
        sequence_len=shape.context,
        vocab_size=shape.vocabulary,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_kv_head=shape.heads,
        n_embd=shape.width,
        window_pattern="L",
    )
    model = made(order, lambda: peer.GPT(config))
    model.init_weights()
    return steps(order, model, model.transformer.h, model, autocast=False)


def modded_nanogpt(order: Order) -> tuple[Step, nn.Module]:
    """Heads of 128, which its model fixes."""
    file = peer_folder("modded-nanogpt") / "records/track_3_optimization/train_gpt_simple.py"
    text = file.read_text(encoding="utf-8")
    code = "import torch\nfrom torch import Tensor, nn\nimport torch.nn.functional as F\n#"
    code += text.split("#             Architecture")[1].split("#              Optimizer")[0]
    peer: Any = types.ModuleType("modded_nanogpt")
    sys.modules[peer.__name__] = peer  # the compiler looks there
    exec(compile(code, str(file), "exec"), vars(peer))
    shape = order.shape
    model = made(order, lambda: peer.GPT(shape.vocabulary, shape.layers, shape.width))
    if order.precision == "float32":
        model.float()

    def loss(ids: Tensor, targets: Tensor) -> Tensor:
        total: Tensor = model(ids, targets) / targets.numel()
        return total

    return steps(order, model, model.blocks, loss, autocast=False)


def matrix_products(order: Order) -> tuple[Step, nn.Module]:
    """Nothing but the matrix products of our step: forward, and two backward for each."""
    import torch
    from torch import nn

    shape, rows = order.shape, order.shape.tokens
    dtype, device = getattr(torch, order.precision), order.device
    square, wide = (shape.width, shape.width), (shape.width, shape.gated)
    layer = [square] * 4 + [wide, wide, wide[::-1]]
    kinds = set(layer) | {(shape.width, shape.vocabulary)}
    held = {
        (k, n): [torch.randn(one, dtype=dtype, device=device) for one in ((rows, k), (n, k))]
        + [torch.randn(rows, n, dtype=dtype, device=device)]
        for k, n in kinds
    }
    spare = {kind: [torch.empty_like(one) for one in tensors] for kind, tensors in held.items()}

    def step() -> None:
        for kind in layer * shape.layers + [(shape.width, shape.vocabulary)]:
            (x, w, slope), (for_x, for_w, for_y) = held[kind], spare[kind]
            torch.mm(x, w.t(), out=for_y)
            torch.mm(slope, w, out=for_x)
            torch.mm(slope.t(), x, out=for_w)

    with torch.device("meta"):
        counted = [nn.Linear(*kind, bias=False) for kind in layer * shape.layers]
        counted.append(nn.Linear(shape.width, shape.vocabulary, bias=False))
    return step, nn.ModuleList(counted)


MAKERS = {
    "langwright": langwright,
    "nanoGPT": nanogpt,
    "transformers": transformers,
    "litgpt": litgpt,
    "nanochat": nanochat,
    "modded-nanogpt": modded_nanogpt,
    "matrix products": matrix_products,
}


def peer_folder(name: str) -> Path:
    folder = Path(os.environ.get("LANGWRIGHT_PEERS", "")) / name
    if "LANGWRIGHT_PEERS" not in os.environ or not folder.is_dir():
        raise FileNotFoundError(f"{name} is not in the folder LANGWRIGHT_PEERS")
    return folder


def source(name: str, module: str) -> Any:
    """A module out of a peer's folder."""
    sys.path.insert(0, str(peer_folder(name)))
    return import_module(module)


def made(order: Order, build: Callable[[], Any]) -> Any:
    """A model, built on the device itself."""
    import torch

    with torch.device(order.device):
        return build().to(order.device)


def data(order: Order) -> tuple[Tensor, Tensor]:
    import torch

    size = (order.shape.rows, order.shape.context + 1)
    ids = torch.randint(order.shape.vocabulary, size, generator=torch.Generator().manual_seed(0))
    ids = ids.to(order.device)
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def steps(
    order: Order,
    model: nn.Module,
    blocks: Any,
    loss: Callable[[Tensor, Tensor], Tensor],
    autocast: bool = True,
) -> tuple[Step, nn.Module]:
    """A peer's step: bfloat16 by autocast over float32 weights, unless it has its own way."""
    import torch

    assert not order.checkpointing
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    ids, targets = data(order)
    mixed = autocast and order.precision == "bfloat16"
    if order.compiled == "whole":
        loss = torch.compile(loss, dynamic=False)
    elif order.compiled == "blocks":
        for block in blocks:
            block.compile(dynamic=False)

    def step() -> None:
        with torch.autocast(order.device, torch.bfloat16, enabled=mixed):
            value = loss(ids, targets)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step, model
