"""The system calls that Python 3.11 has no name for, through the C library.

Used by the launcher alone: it must stay importable without anything else of Langwright, because
the launcher starts once for every run.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x2, 0x4, 0x8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2

READ_ONLY, NO_SUID, NO_DEVICES = 0x1, 0x2, 0x4
"""Attributes of `set_mount`."""

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_SIGKILL = 9
_MOUNT_SETATTR = 442  # the same number on every architecture but alpha; glibc names it since 2.36
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The kernel refused `step` with the error number `code`."""

    def __init__(self, step: str, code: int) -> None:
        super().__init__(step, code)
        self.step = step
        self.code = code


def _call(name: str, *arguments: object, step: str) -> None:
    if getattr(_libc, name)(*arguments) < 0:
        raise Refused(step, ctypes.get_errno())


def unshare(flags: int) -> None:
    _call("unshare", flags, step="making namespaces")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    _call(
        "mount",
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        options.encode() or None,
        step=f"mounting {kind or source} on {target}",
    )


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def set_mount(path: str, attributes: int, *, recursive: bool) -> None:
    """Add attributes to the mount at `path`; unlike a remount this keeps the ones it has, which
    an ordinary user may not take away."""
    wanted = _MountAttributes(set=attributes)
    _call(
        "syscall",
        ctypes.c_long(_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        path.encode(),
        ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
        ctypes.byref(wanted),
        ctypes.c_size_t(ctypes.sizeof(wanted)),
        step=f"making {path} read-only",
    )


def detach(path: str) -> None:
    _call("umount2", path.encode(), MNT_DETACH, step=f"unmounting {path}")


def pivot_root(new: str, old: str) -> None:
    _call("pivot_root", new.encode(), old.encode(), step="changing the root folder")


def set_host_name(name: str) -> None:
    _call("sethostname", name.encode(), ctypes.c_size_t(len(name)), step="naming the host")


def _prctl(step: str, option: int, *arguments: object) -> None:
    rest = [*arguments, *[ctypes.c_ulong(0)] * (4 - len(arguments))]
    _call("prctl", ctypes.c_int(option), *rest, step=step)


def die_with_parent() -> None:
    _prctl("binding to the parent's life", _PR_SET_PDEATHSIG, ctypes.c_ulong(_SIGKILL))


def default_signals() -> None:
    """Every signal does again what it does by default, and none is held back: what the calling
    program ignores or blocks was inherited. Not through `signal`, whose import is slow."""
    for number in range(1, 65):
        _libc.signal(number, None)  # refused for SIGKILL and SIGSTOP, which cannot be changed
    _call("pthread_sigmask", 2, (ctypes.c_ulong * 16)(), None, step="unblocking signals")


def set_dumpable(on: bool) -> None:
    """Whether processes of the same user may look into this one, and it into its own /proc."""
    _prctl("closing the process's memory", _PR_SET_DUMPABLE, ctypes.c_ulong(on))


def drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _call("capset", header, (ctypes.c_uint32 * 6)(), step="dropping capabilities")


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def filter_calls(instructions: bytes) -> None:
    """Install a seccomp filter, and give up for ever what a setuid program could regain."""
    _prctl("giving up new privileges", _PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1))
    program = _Program(len(instructions) // 8, instructions)
    mode = ctypes.c_ulong(_SECCOMP_MODE_FILTER)
    _prctl("filtering system calls", _PR_SET_SECCOMP, mode, ctypes.byref(program))


def enter_user_namespace(proc: int, inside: int, more: int = 0) -> None:
    """Go into a new user namespace (and those in `more`), where one's own user and group are
    called `inside`. `proc` is a handle of a /proc folder.

    To map one's own identity alone needs no privilege.
    """
    user, group = os.geteuid(), os.getegid()  # afterwards both read as "nobody"
    unshare(CLONE_NEWUSER | more)
    write(proc, "self/setgroups", "deny")
    write(proc, "self/uid_map", f"{inside} {user} 1")
    write(proc, "self/gid_map", f"{inside} {group} 1")


def write(proc: int, name: str, line: str) -> None:
    try:
        handle = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)
    except OSError as error:
        raise Refused(f"writing /proc/{name}", error.errno or 0) from error
