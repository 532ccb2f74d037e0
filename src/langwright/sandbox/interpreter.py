"""What Python itself needs of the host's files: the interpreter, its library, and the shared
libraries of both, each by the path under which the loader asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath

from langwright.errors import Unsupported

# Every extension module of the standard library is loaded once, and the C library is asked what
# that brought in. libgcc_s is what it loads itself when a thread is ended from outside.
_PROBE = """
import ctypes, importlib, os, sys
from importlib.machinery import EXTENSION_SUFFIXES

for folder in filter(os.path.isdir, sys.path):
    for name in os.listdir(folder):
        module = name.partition(".")[0]
        if name.endswith(tuple(EXTENSION_SUFFIXES)) and not module.startswith(("_test", "xx")):
            try:
                importlib.import_module(module)
            except Exception:
                pass
try:
    ctypes.CDLL("libgcc_s.so.1")
except OSError:
    pass

class Loaded(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("name", ctypes.c_char_p)]

paths = [sys.executable, *sys.path, "/etc/ld.so.cache"]

@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Loaded), ctypes.c_size_t, ctypes.c_void_p)
def see(loaded, size, data):
    paths.append(os.fsdecode(loaded.contents.name or b""))
    return 0

ctypes.CDLL(None).dl_iterate_phdr(see, None)
sys.stdout.write("\\0".join(path for path in paths if os.path.isabs(path) and os.path.exists(path)))
"""

_FOREIGN = ("site-packages", "dist-packages")
"""Folders inside the library that hold what somebody has installed there."""


@dataclass(frozen=True)
class Interpreter:
    """`executable` is the one outside every virtual environment; of `paths` none lies in another;
    `hidden` are folders inside them to be shown empty."""

    executable: str
    paths: tuple[str, ...]
    hidden: tuple[str, ...]


def interpreter() -> Interpreter:
    """The interpreter that runs this program. Raises `Unsupported` where it cannot be started."""
    return _probe(os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable))


@lru_cache
def _probe(executable: str) -> Interpreter:
    try:
        found = subprocess.run(
            [executable, "-I", "-S", "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            check=True,
            timeout=60,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise Unsupported(
            f"Python at {executable} cannot be asked for the files it needs ({error}).",
            remedy="Run Langwright with an ordinary CPython.",
        ) from error
    paths = _outermost(os.fsdecode(found).split("\0"))
    hidden = [os.path.join(path, name) for path in paths for name in _FOREIGN]
    return Interpreter(executable, paths, tuple(path for path in hidden if os.path.isdir(path)))


def _outermost(paths: Iterable[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for path in sorted({os.path.normpath(path) for path in paths}):
        if not any(PurePath(path).is_relative_to(folder) for folder in kept):
            kept.append(path)
    return tuple(kept)
