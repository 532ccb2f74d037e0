"""Personal data and secrets: found by form and checksum, and scrubbed."""

from langwright.text.pii.recogniser import Finding
from langwright.text.pii.scrub import KINDS, Scrub, find, scrub

__all__ = ["KINDS", "Finding", "Scrub", "find", "scrub"]
