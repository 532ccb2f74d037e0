"""Runs as root and as an ordinary user; after each, nothing may be left of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import langwright
from langwright.sandbox import Outcome, available

Run = Callable[..., Outcome]
ORDINARY = 54321
SOURCE = Path(langwright.__file__).parents[1]


class Host:
    def __init__(self, user: int) -> None:
        python = os.path.realpath(sys.executable)
        here = Path(__file__).with_name("host.py")
        self.process = subprocess.Popen(
            [python, str(here), str(user), sys.base_prefix, str(SOURCE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": str(SOURCE)},
            text=True,
        )

    def run(self, code: str, **settings: Any) -> Outcome:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"code": code, **settings}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert answer["children"] == []
        assert answer["mounts"] == 0
        if "error" in answer:
            raise AssertionError(answer["error"])
        return Outcome(**answer["outcome"])

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="session")
def hosts() -> Iterator[dict[str, Host]]:
    reason = available()
    if reason:
        pytest.skip(f"the kernel refuses: {reason}")
    roles = {"root": 0, "user": ORDINARY} if os.geteuid() == 0 else {"user": os.geteuid()}
    started = {role: Host(user) for role, user in roles.items()}
    yield started
    for host in started.values():
        host.close()


@pytest.fixture(params=["root", "user"])
def run(request: pytest.FixtureRequest, hosts: dict[str, Host]) -> Run:
    if request.param not in hosts:
        pytest.skip("the tests do not run as root")
    return hosts[request.param].run
