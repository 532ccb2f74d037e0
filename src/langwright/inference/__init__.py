"""Generation and scoring with own models."""

from langwright.inference.engine import Engine
from langwright.inference.neighbours import (
    Neighbour,
    Neighbourhood,
    Order,
    TableName,
    TokenVector,
    neighbours,
    spelt,
    token_for,
)
from langwright.inference.sampler import Sampler, filter_logits
from langwright.inference.scoring import score_rows
from langwright.inference.stream import TextStream

__all__ = [
    "Engine",
    "Neighbour",
    "Neighbourhood",
    "Order",
    "Sampler",
    "TableName",
    "TextStream",
    "TokenVector",
    "filter_logits",
    "neighbours",
    "score_rows",
    "spelt",
    "token_for",
]
