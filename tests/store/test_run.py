"""Runs: one set of settings, one process at a time, and metrics that survive a kill."""

from __future__ import annotations

import json
import os
import signal

import pytest

from langwright.errors import BadInput, BadSettings, Busy, Damaged, NotFound
from langwright.store import Store

from .conftest import StartChild, add

HOLD = """
run = store.run("r").open({"steps": 1})
with run.locked():
    run.update_state(status="running")
    ready()
    run.update_state(status="finished", result={"train_loss": 2.0})
"""


def test_the_same_settings_continue_and_others_are_listed(store: Store) -> None:
    settings = {"steps": 10, "model": {"layers": 2, "width": 8}, "betas": (0.9, 0.99)}
    store.run("r").open(settings, ["p1"]).append_metrics({"step": 1})
    assert store.run("r").open(settings, ["p1"]).read_metrics() == [{"step": 1}]
    other = {"steps": 10, "model": {"layers": 4, "width": 8}, "betas": (0.9, 0.99), "seed": 1}
    with pytest.raises(BadSettings) as caught:
        store.run("r").open(other, ["p2"])
    assert caught.value.message.splitlines()[1:] == [
        "  model.layers: 2 -> 4",
        "  parents: ['p1'] -> ['p2']",
        "  seed: not set -> 1",
    ]
    assert "--name" in caught.value.remedy
    assert store.run("r").settings["model"] == {"layers": 2, "width": 8}


def test_a_run_from_before_there_was_a_setting_goes_on_with_its_default(store: Store) -> None:
    run = store.run("r").open({"steps": 1})
    run.open({"steps": 1, "later": 0}, defaults={"later": 0})
    with pytest.raises(BadSettings, match="later: 0 -> 2"):
        run.open({"steps": 1, "later": 2}, defaults={"later": 0})
    with pytest.raises(BadSettings, match="later: not set -> 0"):
        run.open({"steps": 1, "later": 0})


def test_a_run_is_there_only_once_opened(store: Store) -> None:
    run = store.run("r")
    assert not run.exists
    with pytest.raises(NotFound):
        _ = run.settings
    with pytest.raises(BadInput):
        run.open({"loss": float("nan")})
    assert not run.exists
    run.open({})
    assert run.exists
    assert run.checkpoints.is_dir()
    assert [r.name for r in store.runs()] == ["r"]
    assert run.status == "stopped"


def test_a_torn_last_line_is_forgotten_and_does_not_spoil_the_next(store: Store) -> None:
    run = store.run("r").open({})
    assert run.read_metrics() == []
    run.append_metrics({"step": 1, "words": "ü"})
    with run.metrics_path.open("a") as file:
        file.write('{"step": 2, "lo')
    assert run.read_metrics() == [{"step": 1, "words": "ü"}]
    run.append_metrics({"step": 2})
    assert run.read_metrics() == [{"step": 1, "words": "ü"}, {"step": 2}]
    with run.metrics_path.open("a") as file:
        file.write("x" * 10_000)
    run.append_metrics({"step": 3})
    assert [line["step"] for line in run.read_metrics()] == [1, 2, 3]


def test_a_broken_line_in_the_middle_is_damage(store: Store) -> None:
    run = store.run("r").open({})
    run.metrics_path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(Damaged, match="Line 2"):
        run.read_metrics()


def test_metrics_of_a_killed_process_are_there(store: Store, child: StartChild) -> None:
    code = "run = store.run('r').open({})\nrun.append_metrics({'step': 1})\nready()"
    child(code).end(signal.SIGKILL)
    assert store.run("r").read_metrics() == [{"step": 1}]


def test_resuming_forgets_what_lies_beyond_the_checkpoint(store: Store) -> None:
    run = store.run("r").open({})
    for step in (1, 2, 3):
        run.append_metrics({"step": step})
    run.append_metrics({"note": "without a step"})
    run.truncate_metrics(2)
    assert run.read_metrics() == [{"step": 1}, {"step": 2}, {"note": "without a step"}]
    run.append_metrics({"step": 3})
    assert len(run.read_metrics()) == 4


def test_a_held_run_is_busy_and_says_who_holds_it(store: Store, child: StartChild) -> None:
    holder = child(HOLD)
    run = store.run("r")
    assert run.status == "running"
    with pytest.raises(Busy, match=f"process {holder.process.pid}\\."), run.locked():
        pass
    with pytest.raises(Busy):
        store.remove("r")
    assert run.exists
    holder.go()
    assert run.public() == {
        "name": "r",
        "kind": "run",
        "status": "finished",
        "parents": [],
        "settings": {"steps": 1},
        "metrics": {"train_loss": 2.0},
    }
    with run.locked():
        pass


def test_a_killed_run_is_stopped_and_may_be_taken_over(store: Store, child: StartChild) -> None:
    child(HOLD).end(signal.SIGKILL)
    run = store.run("r")
    assert run.state["status"] == "running"
    assert run.status == "stopped"
    with run.locked():
        holder = store.home / "locks" / "run.r.pid"
        assert holder.read_text() == str(os.getpid())


def test_a_run_is_busy_within_its_own_process_too(store: Store) -> None:
    run = store.run("r").open({})
    with run.locked(), pytest.raises(Busy, match=str(os.getpid())), store.run("r").locked():
        pass


def test_removing_a_run_takes_its_folder_and_the_records_only_it_kept(store: Store) -> None:
    corpus = add(store, "corpus")
    run = store.run("r").open({}, [corpus.digest])
    store.remove("corpus")
    assert store.get(corpus.digest).dropped
    removed = store.remove("r")
    assert [r["name"] for r in removed["runs"]] == ["r"]
    assert removed["artifacts"] == []
    assert not run.folder.exists()
    assert store.artifacts() == []


def test_state_keeps_what_it_is_not_told_to_change(store: Store) -> None:
    run = store.run("r").open({})
    run.update_state(status="running", step=3)
    run.update_state(step=4)
    assert json.loads((run.folder / "state.json").read_text()) == {"status": "running", "step": 4}
