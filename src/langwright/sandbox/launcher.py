"""The inner side of a run, started by file path in a bare Python: `launcher.py CHANNEL PARENT`.

Three processes. The *launcher* makes the namespaces and waits. Its child, the first process of the
new process namespace, builds the root folder, gives up its privileges and *watches*: when it ends,
for whatever reason, the kernel kills all others there. Its child in turn goes into one more user
namespace, sets the limits, installs the filter and becomes the *program*.
"""

from __future__ import annotations

import os
import resource
import select
import sys
from math import ceil
from time import monotonic

if __name__ == "__main__":
    # Only the modules named below: the packages around them would bring in half of Langwright.
    _here = os.path.dirname(os.path.abspath(__file__))
    for _name, _folder in (("langwright", os.path.dirname(_here)), ("langwright.sandbox", _here)):
        sys.modules[_name] = type(sys)(_name)
        sys.modules[_name].__path__ = [_folder]

from langwright.sandbox import kernel
from langwright.sandbox.kernel import Refused
from langwright.sandbox.order import Limits, Order
from langwright.sandbox.root import PROGRAM, WORK, build_root
from langwright.sandbox.watch import measure

NOBODY = 65534
_NAMESPACES = (
    kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
)
_INTERVAL = 0.02
"""Seconds between two looks at what a run uses."""

_SIGKILL, _SIGXCPU = 9, 24
_NEEDED_TO_BECOME_NOBODY = (6, 7, 21)  # CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN
_ENVIRONMENT = {
    "HOME": WORK,
    "TMPDIR": WORK,
    "LANG": "C.UTF-8",
    # Every thread would otherwise reserve 64 MiB of the address space that the limit counts.
    "MALLOC_ARENA_MAX": "1",
}


def main(channel: int, parent: int) -> None:
    os.set_inheritable(channel, False)
    kernel.default_signals()
    try:
        order = Order.from_channel(channel)
        privileged = _privileged()
        if privileged:
            kernel.unshare(_NAMESPACES)
        else:
            proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            kernel.enter_user_namespace(proc, NOBODY, _NAMESPACES)
            os.close(proc)
        # Only now: a change of credentials would undo it.
        kernel.die_with_parent()
        if os.getppid() != parent:
            return
        first = os.fork()
    except Refused as refusal:
        _reply(channel, "refused", refusal.code, refusal.step)
        return
    except OSError as error:
        _reply(channel, "refused", error.errno or 0, "starting a process")
        return
    if first == 0:
        try:
            _first_process(order, channel, privileged)
        finally:
            os._exit(0)
    _close_standard_files()  # else their readers would wait for this process, too
    os.waitpid(first, 0)


def _privileged() -> bool:
    """Whether this process may become nobody. Root of a container that maps only itself may not,
    and is treated like an ordinary user."""
    if os.geteuid() != 0:
        return False
    with open("/proc/self/status") as file:
        effective = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    if any(not effective >> capability & 1 for capability in _NEEDED_TO_BECOME_NOBODY):
        return False
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/self/{name}") as file:
            ranges = [[int(field) for field in line.split()] for line in file]
        if not any(start <= NOBODY < start + count for start, _, count in ranges):
            return False
    return True


def _first_process(order: Order, channel: int, privileged: bool) -> None:
    """Build the root, start the program, watch it to its end, tell how it went."""
    try:
        kernel.die_with_parent()
        if os.getpid() != 1:  # "all processes", which it kills in the end, would be the host's
            raise Refused("becoming the first process of a namespace", 0)
        proc = build_root(order, NOBODY)
        kernel.set_host_name("sandbox")
        if privileged:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        kernel.drop_capabilities()
        kernel.die_with_parent()
        kernel.set_dumpable(True)  # else the program's process could not write its own maps
        program = _start(order, proc)
        kernel.set_dumpable(False)
        _close_standard_files()
        _reply(channel, "ran", *_watch(program, order.limits, proc, channel))
    except Refused as refusal:
        _reply(channel, "refused", refusal.code, refusal.step)
    except OSError as error:
        _reply(channel, "refused", error.errno or 0, f"setting up ({error.filename})")


def _start(order: Order, proc: int) -> int:
    """Fork, and return once the program's own Python has taken over."""
    reading, writing = os.pipe()
    program = os.fork()
    if program == 0:
        try:
            _become_program(order, proc)
        except Refused as refusal:
            os.write(writing, f"{refusal.code} {refusal.step}".encode())
        except Exception as error:
            code = getattr(error, "errno", None) or 0
            os.write(writing, f"{code} starting Python ({error})".encode())
        finally:
            os._exit(1)
    os.close(writing)  # the other end closes with the exec
    failure = os.read(reading, 4096).decode()
    os.close(reading)
    if failure:
        code, _, step = failure.partition(" ")
        raise Refused(step, int(code))
    return program


def _become_program(order: Order, proc: int) -> None:
    # From here the watching process cannot be looked into: it belongs to the namespace outside.
    kernel.enter_user_namespace(proc, NOBODY)
    # Should the whole machine run out of memory, the kernel is to begin with this process.
    kernel.write(proc, "self/oom_score_adj", "1000")
    limits = order.limits
    seconds = ceil(limits.cpu_seconds)
    for name, soft, hard in (
        (resource.RLIMIT_AS, limits.memory, limits.memory),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_CPU, seconds, seconds + 1),
        (resource.RLIMIT_FSIZE, limits.disk, limits.disk),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_NOFILE, 64, 64),
        # One more than allowed, so that the watcher sees who wants more.
        (resource.RLIMIT_NPROC, limits.processes + 1, limits.processes + 1),
        (resource.RLIMIT_STACK, 8 << 20, 8 << 20),
    ):
        try:
            resource.setrlimit(name, (soft, hard))
        except ValueError as error:
            raise Refused("setting a limit above one that already holds here", 0) from error
    os.umask(0o022)
    os.chdir(WORK)
    kernel.filter_calls(order.instructions)
    arguments = [order.executable, "-I", "-B", "-X", "utf8", PROGRAM]
    os.execve(order.executable, arguments, _ENVIRONMENT)  # noqa: S606


def _watch(program: int, limits: Limits, proc: int, channel: int) -> tuple[str, int, float, float]:
    """Why the run ended, the program's wait status, CPU and wall seconds of all its processes."""
    start = monotonic()
    poll = select.poll()
    ended = os.pidfd_open(program)
    poll.register(ended, select.POLLIN)
    poll.register(channel, select.POLLIN)
    reason = ""
    while not reason:
        left = start + limits.seconds - monotonic()
        ready = {handle for handle, _ in poll.poll(max(0.0, min(left, _INTERVAL)) * 1000)}
        use = measure(proc, limits.memory)
        if ended in ready:
            reason = "ended"
        elif channel in ready:  # the other side wants no more, or is gone
            reason = "stopped"
        elif monotonic() - start >= limits.seconds or use.cpu_seconds >= limits.cpu_seconds:
            reason = "timed_out"
        elif use.memory > limits.memory:
            reason = "out_of_memory"
        elif use.tasks > limits.processes:
            reason = "too_many_processes"
    wall = monotonic() - start
    status, own_cpu = _end_all(program)
    by_limit = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (_SIGKILL, _SIGXCPU)
    if reason == "ended" and by_limit and own_cpu >= limits.cpu_seconds:
        reason = "timed_out"
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return reason, status, usage.ru_utime + usage.ru_stime, wall


def _end_all(program: int) -> tuple[int, float]:
    """Kill every process of the namespace and wait for each: the program's status, CPU seconds."""
    status, seconds = 0, 0.0
    while True:
        try:  # noqa: SIM105  (contextlib takes long to import)
            os.kill(-1, _SIGKILL)
        except ProcessLookupError:
            pass
        try:
            process, its_status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return status, seconds
        if process == program:
            status, seconds = its_status, usage.ru_utime + usage.ru_stime


def _close_standard_files() -> None:
    for handle in (0, 1, 2):
        os.close(handle)


def _reply(channel: int, *fields: object) -> None:
    try:  # noqa: SIM105
        os.write(channel, "\0".join(map(str, fields)).encode())
    except OSError:
        pass  # nobody is there to hear it


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
