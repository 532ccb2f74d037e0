"""The side that asks for a run: what it is told where none is possible, and what happens to a run
when it goes away."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from langwright.sandbox import available, run_python

from .conftest import SOURCE

REFUSED = available()
possible = pytest.mark.skipif(REFUSED is not None, reason=f"the kernel refuses: {REFUSED}")


ON_A_HOST = """
import os, sys
from langwright.sandbox import available, kernel, run_python
from langwright.sandbox.filter import seccomp_program
{before}
reason = available()
assert reason and {word!r} in reason, reason
try: run_python("print('bare')")
except Exception as error: print(type(error).__name__)
"""


def refusing(before: str, word: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", ON_A_HOST.format(before=before, word=word)],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_where_the_kernel_refuses_nothing_runs() -> None:
    # As in a container whose own filter withholds new namespaces.
    filtered = "kernel.filter_calls(seccomp_program(os.uname().machine))"
    assert refusing(filtered, "seccomp profile") == "Unsupported\n"


@possible
def test_where_namespaces_are_used_up_nothing_runs() -> None:
    # In a namespace of its own, so that nothing of the machine changes.
    none_left = (
        "proc = os.open('/proc', os.O_RDONLY)\n"
        "kernel.enter_user_namespace(proc, 0)\n"
        "kernel.write(proc, 'sys/user/max_user_namespaces', '0')\n"
    )
    assert refusing(none_left, "user.max_user_namespaces") == "Unsupported\n"


@possible
def test_a_run_ends_with_the_program_that_asked_for_it() -> None:
    code = (
        "import glob, os, threading, time\n"
        "from langwright.sandbox import run_python\n"
        "ask = lambda: run_python('import time; time.sleep(60)', seconds=60)\n"
        "threading.Thread(target=ask, daemon=True).start()\n"
        "def below(process):\n"
        "    files = glob.glob(f'/proc/{process}/task/*/children')\n"
        "    return ' '.join(open(file).read() for file in files).split()\n"
        "programs = []\n"
        "while not programs:\n"
        "    launchers = below(os.getpid())\n"
        "    watchers = [w for launcher in launchers for w in below(launcher)]\n"
        "    programs = [p for watcher in watchers for p in below(watcher)]\n"
        "    time.sleep(0.01)\n"
        "print(*launchers, *watchers, *programs, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
    )
    processes = done.stdout.split()
    assert len(processes) == 3
    for process in processes:
        try:
            handle = os.pidfd_open(int(process))
        except ProcessLookupError:
            continue
        assert select.select([handle], [], [], 10)[0]
        os.close(handle)


@possible
def test_interrupting_a_run_ends_it() -> None:
    code = (
        "import os, signal, threading\n"
        "from langwright.sandbox import run_python\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try: run_python('import time; time.sleep(60)', seconds=60)\n"
        "except KeyboardInterrupt: pass\n"
        "try: os.waitpid(-1, 0)\n"
        "except ChildProcessError: print('nothing left')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=20,
    )
    assert done.stdout == "nothing left\n"


@possible
def test_many_at_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda n: run_python(f"print({n})", seconds=30), range(24)))
    assert [outcome.stdout for outcome in outcomes] == [f"{n}\n" for n in range(24)]
