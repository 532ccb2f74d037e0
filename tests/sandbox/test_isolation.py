"""What a run cannot reach: files, processes, the network, the kernel's more dangerous doors."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import SOURCE, Run


@pytest.fixture
def secret() -> Iterator[Path]:
    """A file and its folder that everybody on this machine may read and write."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder, "secret.txt")
        path.write_text("of the host")
        path.chmod(0o666)
        Path(folder).chmod(0o777)
        yield path


def missing(run: Run, path: str | Path) -> bool:
    outcome = run(f"import os; os.stat({str(path)!r})")
    return outcome.exit_code == 1 and "FileNotFoundError" in outcome.stderr


PATHS = [
    "/etc/shadow",
    "/etc/passwd",
    "/etc/hostname",
    os.path.expanduser("~/.ssh"),
    os.path.expanduser("~/.bashrc"),
    "/home",
    "/var/tmp",
    "/usr/bin",
    "/bin/sh",
    "/run",
    "/sys",
    "/sys/fs/cgroup",
    "/proc",
    "/proc/1/environ",
    "/proc/self/status",
    f"/proc/{os.getppid()}",
    "/proc/kcore",
    "/dev/shm/..old",
    "/dev/pts",
    "/dev/mem",
    "/old",
    str(SOURCE),
    __file__,
    sys.prefix if sys.prefix != sys.base_prefix else "/srv",
]


@pytest.mark.parametrize("path", PATHS)
def test_the_hosts_files_are_not_there(run: Run, path: str) -> None:
    assert missing(run, path)


def test_a_file_open_to_all_is_not_there(run: Run, secret: Path) -> None:
    assert missing(run, secret)
    assert missing(run, secret.parent)


def test_nothing_but_python_can_be_read(run: Run) -> None:
    walk = (
        "import os\n"
        "for folder, _, names in os.walk('/'):\n"
        "    for name in names: print(os.path.join(folder, name))\n"
    )
    found = run(walk, output=10**7, seconds=30).stdout.splitlines()
    library = os.path.dirname(os.__file__)
    others = [path for path in found if not path.startswith(library)]
    assert "/program.py" in others
    assert len(others) < 60  # shared libraries and four devices
    assert not [path for path in found if "-packages/" in path]


def test_it_writes_in_its_own_folder_alone(run: Run) -> None:
    attempt = (
        "import os, sys\n"
        "places = {os.path.dirname(path) for path in (os.__file__, sys.executable)}\n"
        "for folder in ['/', '/dev', '/etc', '/empty', *places]:\n"
        "    for do in (lambda f: open(f + '/new', 'w'), lambda f: os.mkdir(f + '/new'),\n"
        "               lambda f: os.chmod(f, 0o777), lambda f: os.rename(f, '/tmp/x')):\n"
        "        try: do(folder)\n"
        "        except OSError: pass\n"
        "        else: print('could', folder)\n"
        "for path in ('/program.py', os.__file__, sys.executable):\n"
        "    for do in (lambda p: open(p, 'a'), os.unlink):\n"
        "        try: do(path)\n"
        "        except OSError: pass\n"
        "        else: print('could', path)\n"
        "open('/tmp/mine', 'w').write('x')\n"
        "print(open('mine').read(), os.listdir())\n"
    )
    assert run(attempt).stdout == "x ['mine']\n"
    assert run("import os; print(os.listdir())").stdout == "[]\n"


def test_what_it_writes_cannot_be_started(run: Run) -> None:
    copy = (
        "import os, shutil, sys\n"
        "shutil.copy(sys.executable, '/tmp/python')\n"
        "os.execv('/tmp/python', ['python', '-c', ''])\n"
    )
    assert "PermissionError" in run(copy).stderr


def test_it_inherits_nothing(run: Run) -> None:
    look = (
        "import os, fcntl\n"
        "def is_open(n):\n"
        "    try: fcntl.fcntl(n, fcntl.F_GETFD); return True\n"
        "    except OSError: return False\n"
        "print(sorted(os.environ), [n for n in range(64) if is_open(n)])\n"
        "print(os.getresuid(), os.getresgid(), os.uname().nodename)\n"
        "print(os.getpid(), os.getppid(), os.getcwd())\n"
    )
    assert run(look).stdout == (
        "['HOME', 'LANG', 'MALLOC_ARENA_MAX', 'TMPDIR'] [0, 1, 2]\n"
        "(65534, 65534, 65534) (65534, 65534, 65534) sandbox\n"
        "2 1 /tmp\n"
    )


def test_no_privilege_and_none_to_come(run: Run) -> None:
    look = (
        "import ctypes\n"
        "libc = ctypes.CDLL(None)\n"
        "data = (ctypes.c_uint32 * 6)(*[9] * 6)\n"
        "assert libc.capget((ctypes.c_uint32 * 2)(0x20080522, 0), data) == 0\n"
        "print(list(data), libc.prctl(39, 0, 0, 0, 0), libc.prctl(21, 0, 0, 0, 0))\n"
    )
    # No capability of any set; no new privileges; a filter of system calls.
    assert run(look).stdout == "[0, 0, 0, 0, 0, 0] 1 2\n"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server
        with pytest.raises(TimeoutError):
            server.accept()


def test_no_tcp(run: Run, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    outcome = run(f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)")
    assert "OSError: [Errno 97]" in outcome.stderr
    outcome = run(f"import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/', timeout=2)")
    assert "URLError" in outcome.stderr


def test_no_names(run: Run) -> None:
    assert "gaierror" in run("import socket; socket.getaddrinfo('example.org', 80)").stderr


FAMILIES = {
    "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17, "AF_ALG": 38, "AF_VSOCK": 40
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_no_socket_but_unix_ones(run: Run, family: int) -> None:
    for kind in (1, 2, 3, 5):
        outcome = run(f"import socket; socket.socket({family}, {kind})")
        assert "[Errno 97] Address family not supported" in outcome.stderr


def test_the_hosts_abstract_sockets_are_elsewhere(run: Run) -> None:
    name = f"\0langwright-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        connect = f"import socket; socket.socket(socket.AF_UNIX).connect({name!r})"
        subprocess.run([sys.executable, "-c", connect], check=True)
        assert "ConnectionRefusedError" in run(connect).stderr


def test_its_own_unix_sockets_work(run: Run) -> None:
    own = "import socket; a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1))"
    assert run(own).stdout == "b'x'\n"


def test_it_signals_nobody_outside(run: Run) -> None:
    shoot = (
        "import os, signal\n"
        "for number in sorted(signal.valid_signals()):\n"
        "    for process in (1, os.getppid()):\n"
        "        try: os.kill(process, number)\n"
        "        except OSError: pass\n"
        "    for process in range(3, 300):\n"
        "        try: os.kill(process, number)\n"
        "        except ProcessLookupError: pass\n"
        "        else: print('hit', process)\n"
        "    try: os.kill(-1, number)\n"
        "    except OSError: pass\n"
        "print('still here')\n"
    )
    outcome = run(shoot)
    assert (outcome.stdout, outcome.reason) == ("still here\n", "ended")


def test_it_finds_no_process_of_the_host(run: Run) -> None:
    probe = f"import os; os.kill({os.getpid()}, 0)"
    assert "ProcessLookupError" in run(probe).stderr


SYSTEM_CALLS = {
    "new user namespace": "libc.unshare(0x10000000)",
    "new user namespace by clone": "libc.syscall(56 if x86 else 220, 0x10000011, 0, 0, 0, 0)",
    "mount": "libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)",
    "read-only no more": "libc.mount(b'none', b'/', None, 0x20, None)",
    "unmount": "libc.umount2(b'/tmp', 2)",
    "chroot": "libc.chroot(b'/tmp')",
    "pivot_root": "libc.pivot_root(b'/tmp', b'/tmp')",
    "ptrace": "libc.ptrace(0, 0, 0, 0)",
    "another process's memory": "libc.process_vm_readv(1, None, 0, None, 0, 0)",
    "keyrings": "libc.syscall(250 if x86 else 219, 0, -3, 0)",
    "io_uring": "libc.syscall(425, 1, (ctypes.c_char * 120)())",
    "bpf": "libc.syscall(321 if x86 else 280, 0, None, 0)",
    "perf": "libc.syscall(298 if x86 else 241, None, 0, -1, -1, 0)",
    "userfaultfd": "libc.syscall(323 if x86 else 282, 1)",
    "personality": "libc.personality(0x0040000)",
    "host name": "libc.sethostname(b'x', 1)",
    "a device": "libc.mknod(b'/tmp/disk', 0o60666, 0xfe00)",
}


def call(run: Run, expression: str) -> str:
    return run(
        "import ctypes, errno, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "x86 = os.uname().machine == 'x86_64'\n"
        f"print(errno.errorcode[ctypes.get_errno()] if {expression} < 0 else 'done')\n"
    ).stdout


@pytest.mark.parametrize("expression", SYSTEM_CALLS.values(), ids=SYSTEM_CALLS)
def test_refused_system_calls(run: Run, expression: str) -> None:
    assert call(run, expression) == "EPERM\n"


def test_system_calls_that_the_filter_cannot_judge_do_not_exist(run: Run) -> None:
    assert call(run, "libc.syscall(435, (ctypes.c_char * 88)(), 88)") == "ENOSYS\n"  # clone3
    assert call(run, "libc.syscall(463, 0, 0, 0, 0, 0)") == "ENOSYS\n"  # newer than the list
    if os.uname().machine == "x86_64":
        assert call(run, "libc.syscall(0x40000000 + 39)") == "ENOSYS\n"  # getpid of the x32 kind


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="about the 32-bit calls of x86")
def test_32_bit_system_calls_are_fatal(run: Run) -> None:
    # mov eax, 20 (getpid); int 0x80; ret
    code = (
        "import ctypes, mmap\n"
        "page = mmap.mmap(-1, 4096, prot=7)\n"
        "page.write(bytes.fromhex('b814000000cd80c3'))\n"
        "start = ctypes.addressof(ctypes.c_char.from_buffer(page))\n"
        "print(ctypes.CFUNCTYPE(ctypes.c_int)(start)())\n"
    )
    outcome = run(code)
    assert (outcome.stdout, outcome.signal) == ("", 31)  # SIGSYS
