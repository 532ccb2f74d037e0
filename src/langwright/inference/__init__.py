"""Generation and scoring with own models."""

from langwright.inference.engine import Engine
from langwright.inference.sampler import Sampler, filter_logits
from langwright.inference.scoring import score_rows
from langwright.inference.stream import TextStream

__all__ = ["Engine", "Sampler", "TextStream", "filter_logits", "score_rows"]
