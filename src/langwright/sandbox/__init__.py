<<<<<<< HEAD
"""Running code that nobody has read: in its own process, namespaces and limits, with no network."""
=======
"""Running code that nobody has read: in namespaces of its own, within limits, without network."""
>>>>>>> sandbox

from langwright.sandbox.run import MIB, Outcome, Reason, available, run_python

__all__ = ["MIB", "Outcome", "Reason", "available", "run_python"]
