"""The outer side of a run: start the launcher, feed and read it, and say how the run ended."""

from __future__ import annotations

import errno
import math
import os
import selectors
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Literal, cast

from langwright.errors import BadSettings, LangwrightError, Unsupported
from langwright.sandbox.filter import seccomp_program
from langwright.sandbox.interpreter import interpreter
from langwright.sandbox.order import Limits, Order

MIB = 1 << 20

Reason = Literal[
    "ended", "timed_out", "out_of_memory", "too_many_processes", "output_too_long", "killed"
]

_LAUNCHER = Path(__file__).with_name("launcher.py")
_KERNEL = (5, 14)
"""Since then RLIMIT_NPROC counts the processes of one user namespace, not all of the user's."""

_GRACE = 30.0
"""Seconds beyond its own that a run may take to be set up and swept away on a busy machine."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    `reason`:

    - `"ended"`: the program ended by itself; `exit_code` is its own (1 after an exception, whose
      traceback is in `stderr`)
    - `"killed"`: a signal ended it that was not of the sandbox's sending, as in a crash of Python
    - `"timed_out"`: it used up its wall or CPU seconds
    - `"out_of_memory"`: its processes together held more than `memory` and were killed, or it
      ended with Python's MemoryError, which is what one process gets at the same limit
    - `"too_many_processes"`: it had more processes and threads than allowed
    - `"output_too_long"`: it wrote more than allowed; `stdout` and `stderr` hold what came before

    `exit_code` is None when a signal ended the program, which `signal` then names. Times are in
    seconds: `wall_seconds` from the start of the program's Python, `cpu_seconds` of all processes.
    Bytes that are not UTF-8 are shown as U+FFFD.
    """

    stdout: str
    stderr: str
    exit_code: int | None
    signal: int | None
    reason: Reason
    wall_seconds: float
    cpu_seconds: float


def run_python(
    code: str,
    *,
    stdin: str = "",
    seconds: float = 5.0,
    cpu_seconds: float | None = None,
    memory: int = 256 * MIB,
    processes: int = 16,
    disk: int = 64 * MIB,
    output: int = MIB,
) -> Outcome:
    """Run a Python program that nobody has read, with the standard library and nothing else.

    It sees no network, no other process, no environment and no file of this machine but Python's
    own; what it writes into its working folder is gone afterwards, and so are all its processes.

    Args:
        code: any text; what Python cannot parse ends with a SyntaxError in `stderr`.
        stdin: what it may read from standard input.
        seconds: by the clock.
        cpu_seconds: computing time of all its processes; the same as `seconds` unless given.
        memory: bytes; at least 32 MiB.
        processes: processes and their threads, itself included.
        disk: bytes of its working folder.
        output: bytes that it may write to `stdout`, and as many to `stderr`.

    Raises `Unsupported` where this machine cannot isolate it: it is never run without. Raises
    `BadSettings` for limits that make no sense.
    """
    limits = Limits(
        seconds, seconds if cpu_seconds is None else cpu_seconds, memory, processes, disk
    )
    _check(limits, output)
    instructions = _instructions()
    python = interpreter()
    # Text that has no UTF-8 form becomes bytes that Python itself refuses, so that every text
    # has an outcome.
    order = Order(
        limits,
        python.executable,
        python.paths,
        python.hidden,
        instructions,
        code.encode("utf-8", "surrogatepass"),
    )
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = subprocess.Popen(
                [
                    *(python.executable, "-I", "-S", str(_LAUNCHER)),
                    *(str(theirs.fileno()), str(os.getpid())),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=[theirs.fileno()],
                env={},
                cwd="/",
                start_new_session=True,  # Ctrl-C is for this process, which then ends the run
            )
        try:
            talk = _Conversation(process, ours, stdin.encode("utf-8", "surrogatepass"), output)
            talk.send(order.to_bytes())
            talk.listen(monotonic() + seconds + _GRACE)
        finally:
            ours.close()  # ends whatever still runs
            _sweep(process)
    return _outcome(talk)


def available() -> str | None:
    """None where programs can be run here, else why not (one run is tried)."""
    try:
        run_python("", seconds=30)
    except Unsupported as error:
        return str(error)
    return None


def _check(limits: Limits, output: int) -> None:
    for name, value, least in (
        ("seconds", limits.seconds, 0.01),
        ("cpu_seconds", limits.cpu_seconds, 0.01),
        ("memory", limits.memory, 32 * MIB),
        ("processes", limits.processes, 1),
        ("disk", limits.disk, 4096),  # to the kernel, 0 would mean no limit
        ("output", output, 0),
    ):
        if not (math.isfinite(value) and least <= value < 2**62):
            raise BadSettings(f"A run cannot have {name}={value}.", remedy=f"Give {least} or more.")


def _instructions() -> bytes:
    machine = os.uname() if sys.platform == "linux" else None
    if machine is None:
        raise Unsupported(
            f"Programs are isolated by means of Linux, and this is {sys.platform}.",
            remedy="Use Linux: a container or a virtual machine will do.",
        )
    release = tuple(int(part) for part in machine.release.split("-")[0].split(".")[:2])
    if release < _KERNEL:
        raise Unsupported(
            f"The kernel is {machine.release}; limits per run need 5.14.",
            remedy="Use a newer Linux.",
        )
    instructions = seccomp_program(machine.machine)
    if instructions is None:
        raise Unsupported(
            f"The numbers of {machine.machine}'s system calls are not known here.",
            remedy="Use a machine of the kind x86_64 or aarch64.",
        )
    return instructions


class _Conversation:
    """What goes to a run and what comes back, without ever waiting for one side alone."""

    def __init__(
        self, process: subprocess.Popen[bytes], channel: socket.socket, stdin: bytes, cap: int
    ) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.input = process.stdin
        self.channel = channel
        self.stdin = memoryview(stdin)
        self.kept: dict[int, bytearray] = {}
        self.kept[process.stdout.fileno()] = self.stdout = bytearray()
        self.kept[process.stderr.fileno()] = self.stderr = bytearray()
        self.cap = cap
        self.too_long = False
        self.reply = b""

    def send(self, order: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the missing reply will say so
            self.channel.sendall(order)

    def listen(self, deadline: float) -> None:
        """Until everything is closed on the other side, or the deadline."""
        os.set_blocking(self.input.fileno(), False)
        with selectors.DefaultSelector() as ready:
            ready.register(self.channel, selectors.EVENT_READ, self._hear)
            ready.register(self.input, selectors.EVENT_WRITE, self._feed)
            for handle in self.kept:
                ready.register(handle, selectors.EVENT_READ, self._keep)
            while ready.get_map() and (left := deadline - monotonic()) > 0:
                for key, _ in ready.select(left):
                    if not key.data(key):
                        ready.unregister(key.fileobj)

    def _hear(self, key: selectors.SelectorKey) -> bool:
        part = os.read(key.fd, 1 << 16)
        self.reply += part
        return bool(part)

    def _keep(self, key: selectors.SelectorKey) -> bool:
        part, kept = os.read(key.fd, 1 << 16), self.kept[key.fd]
        room = self.cap - len(kept)
        kept += part[:room]
        if len(part) > room:
            self.too_long = True
            self.channel.shutdown(socket.SHUT_WR)  # the watcher ends the run
            return False
        return bool(part)

    def _feed(self, key: selectors.SelectorKey) -> bool:
        try:
            self.stdin = self.stdin[os.write(key.fd, self.stdin[: 1 << 16]) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:  # nobody reads any more
            self.stdin = self.stdin[:0]
        if not self.stdin:
            self.input.close()
        return bool(self.stdin)


def _sweep(process: subprocess.Popen[bytes]) -> None:
    """Wait until the launcher has ended: it outlives everything that it started."""
    for file in (process.stdin, process.stdout, process.stderr):
        if file:
            file.close()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()  # the first process of the namespace dies with it, and all others then
        process.wait()


def _outcome(talk: _Conversation) -> Outcome:
    kind, *fields = talk.reply.decode().split("\0")
    if kind == "refused":
        raise _refusal(int(fields[0]), fields[1])
    if kind != "ran":
        raise LangwrightError(
            "A run's launcher ended without a word.",
            remedy="Look whether this machine is short of memory, then run it again.",
        )
    reason, status, cpu, wall = fields
    code = os.waitstatus_to_exitcode(int(status))
    stderr = talk.stderr.decode("utf-8", "replace")
    return Outcome(
        stdout=talk.stdout.decode("utf-8", "replace"),
        stderr=stderr,
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        reason=_reason(reason, code, stderr, talk.too_long),
        wall_seconds=float(wall),
        cpu_seconds=float(cpu),
    )


def _reason(said: str, code: int, stderr: str, too_long: bool) -> Reason:
    if too_long:
        return "output_too_long"
    if said != "ended":
        return cast(Reason, said)
    if code < 0:
        return "killed"
    # Only the program knows what its MemoryError was about; a lie would harm its own result.
    last = stderr.rstrip().rpartition("\n")[2]
    return "out_of_memory" if code == 1 and last.startswith("MemoryError") else "ended"


def _refusal(code: int, step: str) -> Unsupported:
    if step.startswith("mounting proc"):
        remedy = "In a container, run it with an unmasked /proc."
    elif code in (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EINVAL, errno.ENOSYS):
        remedy = (
            "Allow user namespaces: the settings user.max_user_namespaces, "
            "kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns "
            "of sysctl; in a container, a seccomp profile that lets unshare and mount through."
        )
    else:
        remedy = "Try another machine, or tell Langwright's authors what this one is."
    why = os.strerror(code) if code else "refused"
    return Unsupported(f"Programs cannot be isolated here: {step} failed ({why}).", remedy=remedy)
