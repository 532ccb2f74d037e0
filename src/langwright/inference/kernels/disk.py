"""What Numba compiles is kept in the user's cache folder, for the next start."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import platformdirs

from langwright.inference.kernels.jit import numba


@cache
def folder() -> Path:
    """Numba itself looks at the machine and at the file of a function; the rest is in the name."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return Path(platformdirs.user_cache_dir("langwright")) / "kernels" / digest.hexdigest()[:16]


@contextmanager
def kept_on_disk() -> Iterator[None]:
    """Functions that are told to use the disk within the block use our folder."""
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder())
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before
