"""Where everything that Langwright keeps lies on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """The folder named by LANGWRIGHT_HOME, else the user's data folder of this system."""
    chosen = os.environ.get("LANGWRIGHT_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_data_path("langwright", appauthor=False)
