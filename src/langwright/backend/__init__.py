"""The values and the protocol that every source of tokens shares. No torch here."""

from langwright.backend.dtype import Dtype
from langwright.backend.event import Event, FinishReason, Usage
from langwright.backend.protocol import Backend, Capabilities, NextToken, Scored
from langwright.backend.request import Request, Sampling

__all__ = [
    "Backend",
    "Capabilities",
    "Dtype",
    "Event",
    "FinishReason",
    "NextToken",
    "Request",
    "Sampling",
    "Scored",
    "Usage",
]
