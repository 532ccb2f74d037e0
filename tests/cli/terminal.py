"""A real (pseudo) terminal, with a program in it; a thing of Unix."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios

from .conftest import PROGRAM


class Terminal:
    """A program whose three streams are one terminal, which it controls."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self._handle, theirs = pty.openpty()
        self.child = subprocess.Popen(
            [*PROGRAM, *words],
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)

    def type(self, text: str) -> None:
        os.write(self._handle, text.encode())

    def until(self, marker: str) -> str:
        """What it prints up to and with `marker`."""
        seen = b""
        while not seen.decode(errors="ignore").endswith(marker):
            ready, _, _ = select.select([self._handle], [], [], 300)
            assert ready, f"waited in vain for {marker!r}; saw {seen!r}"
            seen += os.read(self._handle, 1)
        return seen.decode()

    def leave(self) -> int:
        """The exit code, once it has ended by itself."""
        while select.select([self._handle], [], [], 300)[0]:
            try:
                if not os.read(self._handle, 4096):
                    break
            except OSError:  # Linux's end of a terminal
                break
        return self.child.wait(timeout=300)

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        os.close(self._handle)
