"""Cleaning: repair, and the published rules that drop what is no good text."""

from langwright.text.cleaning.c4 import C4
from langwright.text.cleaning.fineweb import FineWebQuality
from langwright.text.cleaning.gopher import GopherQuality
from langwright.text.cleaning.repair import Repair
from langwright.text.cleaning.repetition import GopherRepetition
from langwright.text.cleaning.step import Dropped, Step

__all__ = [
    "C4",
    "Dropped",
    "FineWebQuality",
    "GopherQuality",
    "GopherRepetition",
    "Repair",
    "Step",
]
