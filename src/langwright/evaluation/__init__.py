"""Measuring models: baselines, intervals and graders."""

from langwright.evaluation.answer_format import (
    FormatVerdict,
    follows_format,
    num_sentences,
    sentences,
)
from langwright.evaluation.compression import xz_bits_per_byte
from langwright.evaluation.edit_distance import edit_distance
from langwright.evaluation.interval import Interval, bootstrap_difference, bootstrap_ratio, wilson
from langwright.evaluation.likelihood import document_nats
from langwright.evaluation.ngram import WittenBell

__all__ = [
    "FormatVerdict",
    "Interval",
    "WittenBell",
    "bootstrap_difference",
    "bootstrap_ratio",
    "document_nats",
    "edit_distance",
    "follows_format",
    "num_sentences",
    "sentences",
    "wilson",
    "xz_bits_per_byte",
]
