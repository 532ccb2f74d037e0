"""A host for runs, as root or as an ordinary user: takes them from standard input, one JSON line
each, and tells beside each outcome what the run has left behind.

    python host.py USER_ID FOLDER...   (the folders that the user must be able to reach)
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from langwright.sandbox import kernel, run_python

PR_SET_CHILD_SUBREAPER = 36


def become(user: int, folders: list[str]) -> None:
    """Become an ordinary user to whom these folders are open, whatever lies around them: in a
    mount namespace of one's own, so that nothing of the machine changes."""
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    handles = {folder: os.open(folder, os.O_PATH) for folder in folders}
    closed = {
        next((str(p) for p in [*path.parents][::-1] if not p.stat().st_mode & 1), None)
        for path in map(Path, folders)
    }
    for folder in sorted(closed - {None}):
        kernel.mount("tmpfs", str(folder), "tmpfs", 0, "mode=755")
    for folder, handle in handles.items():
        if not os.path.isdir(folder):
            os.makedirs(folder)
            source = f"/proc/self/fd/{handle}"
            kernel.mount(source, folder, None, kernel.MS_BIND | kernel.MS_REC)
        os.close(handle)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def children() -> list[str]:
    """Processes below this one, also those whose parent has gone."""
    mine = Path(f"/proc/self/task/{os.getpid()}/children")
    return mine.read_text().split()


def main() -> None:
    user, folders = int(sys.argv[1]), sys.argv[2:]
    if user != os.geteuid():
        become(user, folders)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.environ["A_SECRET"] = "of the host"
    for line in sys.stdin:
        mounts = len(Path("/proc/self/mountinfo").read_text().splitlines())
        answer: dict[str, object] = {}
        try:
            answer["outcome"] = asdict(run_python(**json.loads(line)))
        except Exception as error:
            answer["error"] = f"{type(error).__name__}: {error}"
        answer["children"] = children()
        answer["mounts"] = len(Path("/proc/self/mountinfo").read_text().splitlines()) - mounts
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
