"""A token's neighbours: the rows of the embedding table that point where its own row points."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from langwright.errors import BadInput
from langwright.model import ModelBundle
from langwright.tokens import Tokenizer

TableName = Literal["input", "output"]
Order = Literal["cosine", "dot"]

SHORT = 0.5
TWIN = 0.98
"""The two signs of a token that training hardly met: a vector shorter than this share of the
table's median, or at least this cosine with another token's vector. Rows that are only ever pushed
away all move alike: they stay short where the table only comes in, and grow into one and the same
vector where it makes the logits (Land and Bartolo 2024, arXiv 2405.05417).

Signs, not proofs. In SmolLM2-135M-Instruct, whose tables are tied, no row is short (the least has
0.57 of the median, and belongs to ' John'), and 30 of 49,152 have a twin: control tokens, the zero
byte, and scraps of code such as 'PlaneProtection'; the next cosine below is 0.978.
"""

_ROWS = 8192
_PRODUCTS = 2**22
_TINY = 1e-12
_PIECES_SHOWN = 12


@dataclass(frozen=True)
class TokenVector:
    """A token and its row of the table. `text` shows invalid UTF-8 as U+FFFD, `bytes` are exact;
    `norm` is the Euclidean one; `rare` is said of rows that training hardly met (see `SHORT`)."""

    id: int
    text: str
    bytes: list[int]
    norm: float
    rare: bool


@dataclass(frozen=True)
class Neighbour(TokenVector):
    """One token near another: cosine and dot product of their rows."""

    cosine: float
    dot: float


@dataclass(frozen=True)
class Neighbourhood:
    """The nearest tokens, nearest first. Where `tied`, input and output are one table."""

    token: TokenVector
    table: TableName
    tied: bool
    by: Order
    median_norm: float
    neighbours: list[Neighbour]

    def to_json(self) -> dict[str, Any]:
        """The object that `langwright neighbours --json` prints, less the model's name."""
        return asdict(self)


def token_for(tokenizer: Tokenizer, text: str | None, token: int | None) -> int:
    """The id that is meant: `token`, or the only one of `text`, whose blanks count.

    Raises `BadInput` that shows how the text is cut when it is not one token.
    """
    if (text is None) == (token is None):
        raise BadInput("One token is needed, as a text or as an id.", remedy="Give one of the two.")
    if token is not None:
        if not tokenizer.token_bytes(token):
            raise BadInput(f"The id {token} stands for no token.", remedy="Take another.")
        return token
    assert text is not None
    ids = tokenizer.encode(text)
    if len(ids) == 1:
        return ids[0]
    pieces = [spelt(tokenizer.token_bytes(piece)) for piece in ids[:_PIECES_SHOWN]]
    pieces += ["…"] if len(ids) > _PIECES_SHOWN else []
    if not ids:
        raise BadInput("The text is empty.", remedy=_nearby(tokenizer, text))
    raise BadInput(
        f"The text is {len(ids)} tokens, not one: {' | '.join(pieces)}.",
        remedy=_nearby(tokenizer, text),
    )


def spelt(piece: bytes) -> str:
    """A token for people, in quotes; what is not UTF-8 by itself as bytes."""
    try:
        return repr(piece.decode())
    except UnicodeDecodeError:
        return repr(piece)


def _nearby(tokenizer: Tokenizer, text: str) -> str:
    if text in tokenizer.special:
        return f"It names a special token, whose id is {tokenizer.special[text]}: give --id."
    word = text.strip()
    for other in (f" {word}", word):
        if word and other != text and len(tokenizer.encode(other)) == 1:
            return f"This is one token: {other!r}; blanks count."
    return "Give one token; a word inside a text begins with its blank, as ' cat'."


@torch.inference_mode()
def neighbours(
    bundle: ModelBundle,
    token: int,
    k: int = 10,
    table: TableName = "input",
    by: Order = "cosine",
) -> Neighbourhood:
    """The `k` tokens whose rows have the largest cosine (or dot product) with that of `token`.

    `input` is the table that tokens enter by, `output` the rows that logits are dot products
    with. The token itself, ids that stand for none and rows beyond the vocabulary are left out;
    of equals the smaller id comes first.
    """
    if k < 1:
        raise BadInput(f"k is {k}.", remedy="Ask for at least 1 token.")
    for name, value, known in (("table", table, TableName), ("by", by, Order)):
        if value not in get_args(known):
            options = " or ".join(get_args(known))
            raise BadInput(f"{name} is '{value}'.", remedy=f"Take {options}.")
    module, tokenizer = bundle.module, bundle.tokenizer
    layer = module.embed_tokens if table == "input" else module.lm_head
    rows_VE = layer.weight[: tokenizer.vocab_size].cpu()
    dot_V, norm_V = _compared(rows_VE, token)
    if not norm_V[token]:
        raise BadInput(
            f"The row of token {token} in the {table} table is all zeros: it points nowhere.",
            remedy="Take a token that training has met.",
        )
    cosine_V = (dot_V / norm_V.clamp_min(_TINY) / norm_V[token]).clamp(-1, 1)
    spelling = [tokenizer.token_bytes(index) for index in range(tokenizer.vocab_size)]
    is_token_V = torch.tensor([piece != b"" for piece in spelling])
    median = float(norm_V[is_token_V].median())

    is_token_V[token] = False
    ids = is_token_V.nonzero()[:, 0]
    values = (cosine_V if by == "cosine" else dot_V)[ids]
    nearest = ids[values.sort(descending=True, stable=True).indices[:k]].tolist()
    shown = [token, *nearest]
    twins = _have_twins(rows_VE, norm_V, shown)
    vectors = {}
    for index, twin in zip(shown, twins, strict=True):
        piece, norm = spelling[index], float(norm_V[index])
        text = piece.decode(errors="replace")
        rare = twin or norm < SHORT * median
        vectors[index] = TokenVector(index, text, list(piece), norm, rare)
    found = [
        Neighbour(**vars(vectors[index]), cosine=float(cosine_V[index]), dot=float(dot_V[index]))
        for index in nearest
    ]
    return Neighbourhood(vectors[token], table, module.shape.tie_embeddings, by, median, found)


def _compared(rows_VE: Tensor, token: int) -> tuple[Tensor, Tensor]:
    """Dot product with the row of `token`, and norm, of each row [V], in float32."""
    row_E = rows_VE[token].float()
    dots, norms = [], []
    # In blocks, so that a table in half precision never stands whole in float32.
    for block in rows_VE.split(_ROWS):
        block_RE = block.float()
        dots.append(block_RE @ row_E)
        norms.append(torch.linalg.vector_norm(block_RE, dim=1))
    return torch.cat(dots), torch.cat(norms)


def _have_twins(rows_VE: Tensor, norm_V: Tensor, ids: list[int]) -> list[bool]:
    """Whether the row of each id lies within `TWIN` of another row."""
    ids_K = torch.tensor(ids)
    chosen_KE = rows_VE[ids_K].float() / norm_V[ids_K, None].clamp_min(_TINY)
    nearest_K = torch.full((len(ids),), -1.0)
    step = max(1, min(_ROWS, _PRODUCTS // len(ids)))
    for start in range(0, len(rows_VE), step):
        norm_R1 = norm_V[start : start + step, None].clamp_min(_TINY)
        cosine_RK = rows_VE[start : start + step].float() @ chosen_KE.T / norm_R1
        itself_RK = torch.arange(start, start + len(norm_R1))[:, None] == ids_K
        nearest_K = nearest_K.maximum(cosine_RK.masked_fill(itself_RK, -1.0).amax(0))
    return [bool(value) for value in nearest_K >= TWIN]
