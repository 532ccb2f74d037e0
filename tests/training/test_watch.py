"""Watching runs: figures of their metrics, following, drawing, and sending them on."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from langwright.errors import BadInput, NotFound, Unsupported
from langwright.store import Run, Store
from langwright.training.views import exporters
from langwright.training.views import watch as watching
from langwright.training.views.plot import plot
from langwright.training.views.watch import watch


def line(step: int, loss: float) -> dict[str, Any]:
    """As the loop writes it: a quarter of a second and 100 tokens a step."""
    told: dict[str, Any] = {"step": step, "loss": loss, "gradient_norm": 1.5 * loss}
    told |= {"learning_rate": 1e-3, "tokens": 100 * step, "seconds": 0.25 * step}
    return told | {"bits_per_byte": loss / 2}


@pytest.fixture
def run(store: Store) -> Run:
    """A run of 40 steps that has made ten, and was measured at 0 and 10."""
    run = store.run("one").open({"steps": 40, "learning_rate": 1e-3})
    run.append_metrics({"step": 0, "val_loss": 5.0, "val_bits_per_byte": 2.5})
    for step in range(1, 11):
        run.append_metrics(line(step, 5.0 - 0.1 * step))
    run.append_metrics({"step": 10, "val_loss": 4.2, "val_bits_per_byte": 2.1})
    return run


def test_the_figures_are_those_of_the_last_lines(run: Run, store: Store) -> None:
    (told,) = watch("one", store=store)["runs"]
    assert (told["run"], told["status"], told["step"], told["steps"]) == ("one", "stopped", 10, 40)
    assert (told["loss"], told["gradient_norm"], told["tokens"]) == (4.0, 6.0, 1000)
    assert (told["val_loss"], told["val_bits_per_byte"]) == (4.2, 2.1)
    assert told["tokens_per_second"] == pytest.approx(400)
    assert told["seconds_left"] == pytest.approx(30 * 0.25)
    assert told["curve"] == [[step, 5.0 - 0.1 * step] for step in range(1, 11)]
    assert told["val_curve"] == [[0, 5.0], [10, 4.2]]
    assert (told["memory_bytes"], told["mfu"]) == (None, None)


def test_what_the_lines_do_not_tell_is_none(store: Store) -> None:
    store.run("bare").open({"pretrain": {}})
    (told,) = watch("bare", store=store)["runs"]
    assert (told["step"], told["steps"], told["loss"], told["curve"]) == (0, None, None, [])
    store.run("bare").append_metrics({"step": 1, "loss": "nan"})
    store.run("bare").append_metrics({"step": 2, "loss": 3.0, "memory_bytes": 7, "mfu": 0.4})
    store.run("bare").append_metrics({"step": 2, "incident": {"number": 1}})
    store.run("bare").append_metrics({"step": 2, "sample": "Once upon"})
    (told,) = watch("bare", store=store)["runs"]
    assert (told["curve"], told["memory_bytes"], told["mfu"]) == ([[2, 3.0]], 7, 0.4)
    assert told["incidents"] == [{"step": 2, "incident": {"number": 1}}]
    assert told["samples"] == [{"step": 2, "sample": "Once upon"}]
    assert (told["tokens_per_second"], told["seconds_left"]) == (None, None)


def test_a_long_run_is_a_short_curve_with_the_same_mean(store: Store) -> None:
    run = store.run("long").open({"steps": 5000})
    lines = "".join(json.dumps(line(step, 1 / step)) + "\n" for step in range(1, 4001))
    run.metrics_path.write_text(lines)
    (told,) = watch("long", store=store)["runs"]
    assert len(told["curve"]) == 400
    assert told["curve"][-1][0] == 4000
    mean = sum(1 / step for step in range(1, 4001)) / 4000
    assert sum(loss for _, loss in told["curve"]) / 400 == pytest.approx(mean)


def test_it_follows_until_no_run_is_running(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "REFRESH_S", 0.0)
    other = store.run("other").open({"steps": 3})
    frames = []

    def look(frame: dict[str, Any]) -> None:
        frames.append(frame)
        step = frame["runs"][0]["step"] + 1
        run.append_metrics(line(step, 3.0))
        if step == 14:
            run.update_state(status="finished")

    with run.locked():
        run.update_state(status="running")
        last = watch("one", "other", follow=True, look=look, store=store)
    assert [frame["runs"][0]["step"] for frame in frames] == [10, 11, 12, 13, 14]
    assert frames[0]["runs"][0]["status"] == "running"
    assert last == frames[-1]
    assert last["runs"][0]["status"] == "finished"
    assert other.status == "stopped"


def test_ctrl_c_ends_it_with_what_was_seen(run: Run, store: Store) -> None:
    def look(_: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with run.locked():
        run.update_state(status="running")
        seen = watch("one", follow=True, look=look, store=store)
    assert seen["runs"][0]["step"] == 10


def test_unknown_runs_and_none_at_all(store: Store, run: Run) -> None:
    with pytest.raises(NotFound, match="one"):
        watch("oen", store=store)
    with pytest.raises(BadInput, match="no run to watch"):
        watch(store=store)


def test_a_plot_has_its_highest_above_and_its_lowest_below() -> None:
    falling = [(x, 100.0 - x) for x in range(101)]
    drawn = plot([falling], 20, 7)
    assert drawn is not None
    assert (drawn.first, drawn.last) == (0, 100)
    columns = [[row[x][0] != " " for row in drawn.rows].index(True) for x in range(20)]
    assert columns == sorted(columns)
    assert (columns[0], columns[-1]) == (0, 6)
    assert drawn.high > drawn.low
    assert plot([[], []], 20, 7) is None
    flat = plot([[(1, 2.0)], [(3, 2.0)]], 5, 3)
    assert flat is not None
    assert [flat.rows[1][x][1] for x in range(5)] == [0, None, None, None, 1]


@pytest.mark.parametrize("kind", ["tensorboard", "trackio", "wandb"])
def test_a_missing_package_names_its_extra(
    run: Run, store: Store, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ModuleSpec(kind, None, is_package=True)  # as wandb's own folder looks to Python
    for found in (None, folder):
        monkeypatch.setattr(exporters, "find_spec", lambda name, found=found: found)
        with pytest.raises(Unsupported, match=rf"langwright\[{kind}\]"):
            watch("one", to=[f"{kind}:here"], store=store)


@pytest.mark.parametrize("target", ["tensorbord:x", "tensorboard", "wandb:"])
def test_a_target_that_is_none_is_named(run: Run, store: Store, target: str) -> None:
    with pytest.raises(BadInput, match=r"no place for metrics.*(tensorboard|wandb)"):
        watch("one", to=[target], store=store)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(one.step, pytest.approx(one.value)) for one in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def test_tensorboard_reads_what_was_sent(run: Run, store: Store, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run.append_metrics({"step": 10, "sample": "Once upon"})
    target = f"tensorboard:{tmp_path}"
    told = watch("one", to=[target], store=store)
    assert told["exported"] == [{"run": "one", "to": [target], "lines": 13}]
    found = scalars(tmp_path / "one")
    assert found["loss"] == [(step, 5.0 - 0.1 * step) for step in range(1, 11)]
    assert found["val_loss"] == [(0, 5.0), (10, 4.2)]
    watch("one", to=[target], store=store)
    assert scalars(tmp_path / "one")["loss"] == found["loss"]  # not twice


def test_a_run_that_goes_back_is_sent_again_from_there(
    run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.setattr(watching, "REFRESH_S", 0.0)

    def look(frame: dict[str, Any]) -> None:
        if frame["runs"][0]["step"] == 10:
            run.truncate_metrics(4)
            for step in (5, 6):
                run.append_metrics(line(step, 9.0))
        else:
            run.update_state(status="finished")

    with run.locked():
        run.update_state(status="running")
        watch("one", follow=True, to=[f"tensorboard:{tmp_path}"], look=look, store=store)
    losses = scalars(tmp_path / "one")["loss"]
    assert losses == [*((step, 5.0 - 0.1 * step) for step in range(1, 5)), (5, 9.0), (6, 9.0)]


@pytest.fixture
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what the others write, without a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.slow
def test_trackio_holds_what_was_sent(
    run: Run, store: Store, quiet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("trackio")
    watch("one", to=["trackio:project"], store=store)
    assert capsys.readouterr().out == ""  # which is for results
    (path,) = (quiet / "trackio").rglob("project*.db")
    rows = sqlite3.connect(path).execute("select step, metrics from metrics").fetchall()
    told = [(step, json.loads(text)) for step, text in rows]
    losses = {step: values["loss"] for step, values in told if "gradient_norm" in values}
    assert losses == pytest.approx({step: 5.0 - 0.1 * step for step in range(1, 11)})


@pytest.mark.slow
def test_wandb_offline_holds_what_was_sent(run: Run, store: Store, quiet: Path) -> None:
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    watch("one", to=["wandb:project"], store=store)
    (path,) = quiet.rglob("run-*.wandb")
    losses = {}
    for found in records(path.read_bytes()[7:]):
        items = {
            (one.key or one.nested_key[0]): one.value_json
            for one in Record.FromString(found).history.item
        }
        if "gradient_norm" in items:
            losses[int(items["step"])] = float(items["loss"])
    assert losses == pytest.approx({step: 5.0 - 0.1 * step for step in range(1, 11)})


def records(data: bytes) -> Iterator[bytes]:
    """Of LevelDB's log format, in which W&B keeps a run; small records, so one block is enough."""
    place, parts = 0, b""
    while place + 7 <= len(data):
        size, kind = struct.unpack_from("<HB", data, place + 4)
        parts += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""
