"""Models out of Langwright, with proof that other programs read them as we do."""

from langwright.lifecycle.export.export import export

__all__ = ["export"]
