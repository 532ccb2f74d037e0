"""What all processes of a run use together, read from the /proc of their namespace."""

from __future__ import annotations

import os

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")


class Use:
    """`tasks` are processes with their threads, without the first process, which watches."""

    def __init__(self) -> None:
        self.tasks = 0
        self.memory = 0
        self.cpu_seconds = 0.0


def measure(proc: int, memory_limit: int) -> Use:
    """`proc` is a handle of a /proc folder. Memory that processes share is counted once, but only
    where it matters: when counted several times it would be above `memory_limit`."""
    use = Use()
    ids = [name for name in os.listdir(proc) if name.isdigit() and name != "1"]
    for name in ids:
        # The name of a program, in round brackets, may hold anything; what follows may not.
        fields = _read(proc, f"{name}/stat").rpartition(b")")[2].split()
        if not fields:
            continue
        use.cpu_seconds += sum(int(field) for field in fields[11:15]) / _TICK
        use.tasks += int(fields[17])
        use.memory += int(fields[21]) * _PAGE
    if use.memory > memory_limit:
        use.memory = sum(_fair_share(proc, name) for name in ids)
    return use


def _fair_share(proc: int, name: str) -> int:
    for line in _read(proc, f"{name}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(proc: int, name: str) -> bytes:
    try:
        handle = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
        try:
            return os.read(handle, 1 << 16)
        finally:
            os.close(handle)
    except OSError:  # it has ended in the meantime
        return b""
