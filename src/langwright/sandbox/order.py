"""What the sandbox's two sides say to each other over their one channel, as bytes.

Plain classes and `struct`: the launcher starts for every run, and importing dataclasses or json
would take longer than the run's own Python does to start.
"""

from __future__ import annotations

import os
import struct

_LIMITS = struct.Struct("=2d3Q")
_LENGTH = struct.Struct("=Q")


class Limits:
    """Times in seconds, `memory` and `disk` in bytes, `processes` with their threads."""

    def __init__(
        self, seconds: float, cpu_seconds: float, memory: int, processes: int, disk: int
    ) -> None:
        self.seconds = seconds
        self.cpu_seconds = cpu_seconds
        self.memory = memory
        self.processes = processes
        self.disk = disk

    def to_bytes(self) -> bytes:
        return _LIMITS.pack(self.seconds, self.cpu_seconds, self.memory, self.processes, self.disk)


class Order:
    """One run: its limits, the interpreter with the files it needs, the filter, the program."""

    def __init__(
        self,
        limits: Limits,
        executable: str,
        paths: tuple[str, ...],
        hidden: tuple[str, ...],
        instructions: bytes,
        program: bytes,
    ) -> None:
        self.limits = limits
        self.executable = executable
        self.paths = paths
        self.hidden = hidden
        self.instructions = instructions
        self.program = program

    def to_bytes(self) -> bytes:
        parts = [
            self.limits.to_bytes(),
            os.fsencode(self.executable),
            os.fsencode("\0".join(self.paths)),
            os.fsencode("\0".join(self.hidden)),
            self.instructions,
            self.program,
        ]
        return b"".join(_LENGTH.pack(len(part)) + part for part in parts)

    @classmethod
    def from_channel(cls, channel: int) -> Order:
        """Read one from a file handle. Raises `EOFError` where the other side has gone."""
        limits, executable, paths, hidden, instructions, program = (
            _read(channel, _LENGTH.unpack(_read(channel, _LENGTH.size))[0]) for _ in range(6)
        )
        return cls(
            Limits(*_LIMITS.unpack(limits)),
            os.fsdecode(executable),
            _names(paths),
            _names(hidden),
            instructions,
            program,
        )


def _names(part: bytes) -> tuple[str, ...]:
    return tuple(os.fsdecode(part).split("\0")) if part else ()


def _read(channel: int, length: int) -> bytes:
    parts = []
    while length:
        part = os.read(channel, min(length, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
