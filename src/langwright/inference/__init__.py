"""Generation and scoring with own models, and the glass box."""

from langwright.inference.embedder import Embedder
from langwright.inference.engine import Engine
from langwright.inference.glassbox import Mixing, Part, Trace, watch, without_parts
from langwright.inference.inspection import Inspection, InspectOptions, inspect
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
from langwright.inference.reader import Reader
from langwright.inference.sampler import Sampler, filter_logits
from langwright.inference.scoring import score_rows
from langwright.inference.settings import EngineSettings
from langwright.inference.stream import StopStrings, TextStream

__all__ = [
    "Embedder",
    "Engine",
    "EngineSettings",
    "InspectOptions",
    "Inspection",
    "Mixing",
    "Neighbour",
    "Neighbourhood",
    "Order",
    "Part",
    "Reader",
    "Sampler",
    "StopStrings",
    "TableName",
    "TextStream",
    "TokenVector",
    "Trace",
    "filter_logits",
    "inspect",
    "neighbours",
    "score_rows",
    "spelt",
    "token_for",
    "watch",
    "without_parts",
]
