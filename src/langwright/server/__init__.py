"""Models over HTTP, in the dialects that others speak."""

from langwright.server.keys import keys
from langwright.server.serve import serve
from langwright.server.settings import ServeSettings

__all__ = ["ServeSettings", "keys", "serve"]
