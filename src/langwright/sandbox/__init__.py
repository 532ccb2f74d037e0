"""Running code that nobody has read: in namespaces of its own, within limits, without network."""

from langwright.sandbox.run import MIB, Outcome, Reason, available, run_python

__all__ = ["MIB", "Outcome", "Reason", "available", "run_python"]
