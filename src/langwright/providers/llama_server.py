"""llama.cpp's server, in this process."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from langwright.errors import Unsupported


def open_server(path: Path, slots: int, window: int) -> Any:
    """A server for one GGUF file, of so many slots with room for `window` tokens each. Raises
    `Unsupported` where llama.cpp is not installed."""
    try:
        import xllamacpp
    except ImportError:
        raise Unsupported(
            "llama.cpp is not installed.", remedy="pip install 'langwright[backends]'"
        ) from None
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_parallel = slots
    # A place or two more than are used, so that it never ends an answer before we do.
    parameters.n_ctx = slots * (-(-(window + 2) // 256) * 256)
    parameters.warmup = parameters.fit_params = parameters.ui = False
    parameters.verbosity = -1
    # It opens a port of this machine, which nobody else shall use.
    parameters.api_keys = [secrets.token_hex(32)]
    parameters.endpoint_slots = False
    if threads := os.environ.get("OMP_NUM_THREADS"):
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = int(threads)
    return xllamacpp.Server(parameters)
