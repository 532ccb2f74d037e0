"""Running code that nobody has read: in its own process, namespaces and limits, with no network."""

from langwright.sandbox.run import MIB, Outcome, Reason, available, run_python

__all__ = ["MIB", "Outcome", "Reason", "available", "run_python"]
