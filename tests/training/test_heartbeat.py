from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from langwright.store import Store
from langwright.training.heartbeat import SLOWER, STALLED, Heartbeat

STALL = """
import sys, threading
from pathlib import Path
from langwright.store import Store
from langwright.training.heartbeat import Heartbeat
with Heartbeat(Store(Path(sys.argv[1])).run("r").open({}), 0.05) as heartbeat:
    for step in (1, 2):
        with heartbeat.step(step):
            threading.Event().wait(60 if step == 2 else 0)
"""


def wait_until_reported(path: Path) -> None:
    """What a loader does that waits for a file which does not come."""
    waiting = threading.Event()
    for _ in range(3000):
        if path.exists():
            return
        waiting.wait(0.01)
    pytest.fail("the stall was not found")


def test_a_stalled_step_is_reported_with_what_it_waits_for(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run = store.run("r").open({})
    with Heartbeat(run, 0.05) as heartbeat:
        for step in range(1, 4):
            with heartbeat.step(step):
                pass
        path = run.folder / "incidents" / "stall-00000004.json"
        with heartbeat.step(4):
            wait_until_reported(path)
    record = json.loads(path.read_text())
    assert record["step"] == 4
    assert record["seconds"] > record["limit"] == 0.05
    assert "wait_until_reported" in "".join(record["threads"][f"MainThread ({_main()})"])
    assert "Step 4 has taken" in capsys.readouterr().err
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def _main() -> int | None:
    return threading.main_thread().ident


def test_the_limit_is_ten_times_the_median_and_more_for_the_first_step(store: Store) -> None:
    heartbeat = Heartbeat(store.run("r").open({}), 60)
    assert heartbeat.limit() == SLOWER * 60
    heartbeat._durations.extend([20.0, 21.0, 400.0])
    assert heartbeat.limit() == SLOWER * 21


def test_no_thread_where_it_is_off(store: Store) -> None:
    with Heartbeat(store.run("r").open({}), 0):
        assert "heartbeat" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.skipif(os.name == "nt", reason="torchrun is for Linux")
def test_a_rank_leaves_for_its_launcher_to_start_again(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STALL, str(tmp_path)],
        env={**os.environ, "RANK": "3"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == STALLED, done.stderr
    record = tmp_path / "runs" / "r" / "incidents" / "stall-00000002-rank-3.json"
    assert "in wait" in record.read_text()
