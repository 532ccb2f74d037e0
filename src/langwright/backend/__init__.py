"""The values and the protocol that every source of tokens shares. No torch here."""

from langwright.backend.backend_name import BackendName
from langwright.backend.dtype import Device, Dtype
from langwright.backend.event import Event, FinishReason, TokenLogprob, Usage
from langwright.backend.partial import OPTIONS, PartialBackend, asked
from langwright.backend.protocol import Backend, Capabilities, Likelihood, NextToken, Scored
from langwright.backend.request import MAX_LOGPROBS, Constraint, Request
from langwright.backend.sampling import Filter, Sampling
from langwright.backend.tools import ToolCall, ToolChoice

__all__ = [
    "MAX_LOGPROBS",
    "OPTIONS",
    "Backend",
    "BackendName",
    "Capabilities",
    "Constraint",
    "Device",
    "Dtype",
    "Event",
    "Filter",
    "FinishReason",
    "Likelihood",
    "NextToken",
    "PartialBackend",
    "Request",
    "Sampling",
    "Scored",
    "TokenLogprob",
    "ToolCall",
    "ToolChoice",
    "Usage",
    "asked",
]
