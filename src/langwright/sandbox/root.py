"""The root folder that a run sees: built empty in memory, with what Python needs bound into it."""

from __future__ import annotations

import os

from langwright.sandbox.kernel import (
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    NO_DEVICES,
    NO_SUID,
    READ_ONLY,
    detach,
    mount,
    pivot_root,
    set_mount,
)
from langwright.sandbox.order import Order

PROGRAM = "/program.py"
WORK = "/tmp"  # noqa: S108  (the run's own, not the host's)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_FILES = 4096
"""How many files and folders may be made: each takes about a kilobyte of the kernel's memory."""


def build_root(order: Order, owner: int) -> int:
    """Replace the root folder of this process, which must be in a mount namespace of its own.

    The working folder belongs to `owner`. Gives a handle of a /proc that has no place in the new
    root: for counting, and out of the program's reach.
    """
    # Links are followed while the old root is still the root.
    sources = {path: os.path.realpath(path) for path in (*order.paths, *_DEVICES)}
    mount("none", "/", None, MS_REC | MS_PRIVATE)  # else the host would see what follows
    space = f"size={(1 << 20) + 2 * len(order.program)},mode=755"
    mount("tmpfs", WORK, "tmpfs", MS_NOSUID | MS_NODEV, space)
    os.chdir(WORK)
    os.mkdir("old")
    pivot_root(".", "old")
    os.chdir("/")

    for path, source in sources.items():
        _bind(f"/old{source}", path, 0 if path in _DEVICES else NO_DEVICES)
    os.mkdir("/empty")
    for path in order.hidden:
        mount("/empty", path, None, MS_BIND)
    with open(PROGRAM, "xb") as file:
        file.write(order.program)

    os.mkdir(WORK)
    options = f"size={order.limits.disk},nr_inodes={_FILES},mode=700,uid={owner},gid={owner}"
    mount("tmpfs", WORK, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
    os.symlink(WORK, "/dev/shm")  # noqa: S108  (named semaphores live there)

    # The kernel gives an ordinary user a new /proc only beside one that hides nothing, so this
    # comes before the old root goes.
    os.mkdir("/proc")
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for path in ("/proc", "/old"):
        detach(path)
        os.rmdir(path)
    set_mount("/", READ_ONLY | NO_SUID | NO_DEVICES, recursive=False)
    return proc


def _bind(source: str, target: str, more: int) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "xb"):
            pass
    mount(source, target, None, MS_BIND | MS_REC)
    set_mount(target, READ_ONLY | NO_SUID | more, recursive=True)
