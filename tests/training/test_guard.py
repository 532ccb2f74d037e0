"""Runs that meet bad data, damaged weights and a learning rate that is too high."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from langwright.store import Run, Store
from langwright.training import pretrain, verify_resume
from langwright.training.batch import MicroBatch
from langwright.training.checkpoint import load_checkpoint
from langwright.training.guard import ROLLBACKS, Diverged
from langwright.training.loop import _Training
from langwright.training.stages.pretrain import Pretrain
from langwright.training.views.show_batch import show_batch

STEPS = 44
Batches = Sequence[MicroBatch]
Alter = Callable[[int, Batches], Batches]
Train = Callable[..., dict[str, Any]]


@pytest.fixture
def train(
    store: Store, recipe: str, words: str, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> Train:
    """A run of `STEPS` steps whose stage gives `alter(window, batches)`; without the windows
    `left_out`, as one that was told of them beforehand."""
    plain = Pretrain.micro_batches

    def train(
        name: str, alter: Alter | None = None, left_out: Sequence[int] = (), **settings: Any
    ) -> dict[str, Any]:
        windows = [number for number in range(300) if number not in left_out]

        def micro_batches(self: Pretrain, step: int) -> Batches:
            batches = plain(self, windows[step])
            return alter(step, batches) if alter else batches

        monkeypatch.setattr(Pretrain, "micro_batches", micro_batches)
        quiet = {"steps": STEPS, "eval_every": 1000, "checkpoint_every": 10, "corpus": words}
        return pretrain(recipe, name=name, store=store, **quiet | settings)

    return train


def poisoned(windows: Sequence[int]) -> Alter:
    """Random tokens in place of the targets of some windows."""

    def alter(window: int, batches: Batches) -> Batches:
        if window not in windows:
            return batches
        draw = torch.Generator().manual_seed(window)
        return [replace(batch, targets_BT=_random(batch.targets_BT, draw)) for batch in batches]

    return alter


def _random(targets_BT: Tensor, draw: torch.Generator) -> Tensor:
    drawn = torch.randint(320, targets_BT.shape, generator=draw)
    return torch.where(targets_BT < 0, targets_BT, drawn)


def incidents(run: Run) -> list[dict[str, Any]]:
    return [line["incident"] for line in run.read_metrics() if "incident" in line]


def losses(run: Run) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in run.read_metrics() if "loss" in line]


SHOWN = [("run", 31), ("unguarded", 32), ("run", 32)]


def test_a_poisoned_batch_leaves_no_trace_in_the_weights(train: Train, store: Store) -> None:
    """Bit for bit those of the run that never saw it; without the guard they are others."""
    result = train("run", poisoned([30]))
    told = train("told", left_out=[30])
    assert result["weights_sha256"] == told["weights_sha256"]
    [incident] = incidents(store.run("run"))
    assert (incident["decision"], incident["window"], incident["skipped"]) == ("skip", 30, [30, 30])
    assert incident["z_loss"] > 10
    assert losses(store.run("run")) == losses(store.run("told"))
    unguarded = train("unguarded", poisoned([30]), guard=False)
    assert unguarded["weights_sha256"] != told["weights_sha256"]
    assert not incidents(store.run("unguarded"))
    # What step 31 learnt from is shown, and trained again, as it was.
    shown = [show_batch(name, step=step, store=store)["rows"] for name, step in SHOWN]
    assert shown[0] == shown[1] != shown[2]
    assert verify_resume("run", store=store)["equal"]


def test_the_record_holds_the_batch_with_its_text(train: Train, store: Store) -> None:
    seen: list[int] = []

    def alter(window: int, batches: Batches) -> Batches:
        batches = poisoned([30])(window, batches)
        if window == 30:
            for batch in batches:
                seen.extend(token for token in batch.targets_BT.flatten().tolist() if token >= 0)
        return batches

    train("run", alter)
    [path] = (store.run("run").folder / "incidents").iterdir()
    assert path.name == "step-00000031-window-00000030.json"
    record = json.loads(path.read_text())
    assert [one for document in record["documents"] for one in document["targets"]] == seen
    assert "fox sees" in " ".join(document["text"] for document in record["documents"])


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Sequence[int]], Alter]:
    """Spoil the loss of some windows; to be given to the run as its `alter`."""
    plain, marked = Pretrain.loss, list[Tensor]()

    def spoil(kind: str, windows: Sequence[int]) -> Alter:
        def loss(self: Pretrain, module: nn.Module, batch: MicroBatch) -> Tensor:
            value = plain(self, module, batch)
            if not any(batch.ids_BT is one for one in marked):
                return value
            return value * torch.nan if kind == "nan" else value + 999 * (value - value.detach())

        def note(window: int, batches: Batches) -> Batches:
            if window in windows:
                marked.extend(batch.ids_BT for batch in batches)
            return batches

        monkeypatch.setattr(Pretrain, "loss", loss)
        return note

    return spoil


@pytest.mark.parametrize(("kind", "bad"), [("scaled", 30), ("nan", 3)])
def test_a_gradient_out_of_all_proportion_is_left_out(
    train: Train, store: Store, spoil: Callable[..., Alter], kind: str, bad: int
) -> None:
    """A thousand times as large, with the same loss; or no number at all, in the fourth step."""
    result = train("run", spoil(kind, [bad]))
    [incident] = incidents(store.run("run"))
    assert (incident["decision"], incident["window"]) == ("skip", bad)
    assert incident["loss"] == "nan" if kind == "nan" else incident["z_loss"] < 3
    spoil(kind, [])
    assert result["weights_sha256"] == train("told", left_out=[bad])["weights_sha256"]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_damaged_weights_are_taken_from_the_snapshot(
    train: Train, store: Store, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    """As after a fault of the memory; the run is bit for bit the one that never saw the windows
    since the snapshot."""
    plain, damage = _Training._step, [33]

    def step(self: Any, bar: Any) -> bool:
        if damage == [self.state.step]:
            damage.clear()
            with torch.no_grad():
                self.learner.masters.weights["norm.weight"] *= 30
            self.learner.forget()
        return plain(self, bar)

    monkeypatch.setattr(_Training, "_step", step)
    result = train("run", optimizer=optimizer)
    run = store.run("run")
    decisions = [(one["decision"], one["window"]) for one in incidents(run)]
    assert decisions == [("skip", 33), ("skip", 34), ("rollback", 35)]
    assert incidents(run)[-1]["back_to"] == 25
    assert incidents(run)[-1]["skipped"] == [25, 35]
    told = train("told", left_out=range(25, 36), optimizer=optimizer)
    assert result["weights_sha256"] == told["weights_sha256"]
    assert losses(run) == losses(store.run("told"))
    found = [load_checkpoint(store.run(name)) for name in ("run", "told")]
    memories = [one.state["guard"] for one in found if one is not None]
    for key in ("losses", "norms", "first"):  # what later steps are compared with
        assert memories[0][key] == memories[1][key]


STRETCH = poisoned(range(33, 37))
"""Four bad windows in a row: three make the run go back, the fourth is met after that."""


class Killed(BaseException):
    """The process ends without a word."""


@pytest.fixture
def once_during(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Alter]:
    """Do something in the midst of a window's step, the first time that it comes."""
    plain = Pretrain.loss

    def once_during(window: int, act: Callable[[], None], alter: Alter) -> Alter:
        marked: list[Tensor] = []
        done = False

        def loss(self: Pretrain, module: nn.Module, batch: MicroBatch) -> Tensor:
            nonlocal done
            if not done and any(batch.ids_BT is one for one in marked):
                done = True
                act()
            return plain(self, module, batch)

        def note(now: int, batches: Batches) -> Batches:
            if now == window:
                marked.extend(batch.ids_BT for batch in batches)
            return alter(now, batches)

        monkeypatch.setattr(Pretrain, "loss", loss)
        return note

    return once_during


def kill() -> None:
    raise Killed


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    "windows",
    [
        pytest.param([27, 35], id="some"),
        pytest.param(range(24, 41), id="all", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    ("act", "raised", "lost"),
    [(kill, Killed, range(30, 36)), (terminate, KeyboardInterrupt, range(25, 33))],
)
def test_a_run_stopped_around_an_incident_goes_on_as_if_it_had_not_been(
    train: Train,
    store: Store,
    once_during: Callable[..., Alter],
    capsys: pytest.CaptureFixture[str],
    windows: Sequence[int],
    act: Callable[[], None],
    raised: type[BaseException],
    lost: range,
) -> None:
    """At each point of it: weights and lines of the record are the same. Stopped within the windows
    `lost`, it has the snapshot of step 25 no more when it must go back, and makes it again."""
    whole = train("whole", STRETCH)
    decisions = [one["decision"] for one in incidents(store.run("whole"))]
    assert decisions == ["skip", "skip", "rollback", "skip"]
    for window in windows:
        name, alter = f"run-{window}", once_during(window, act, STRETCH)
        with pytest.raises(raised):
            train(name, alter)
        assert train(name, alter)["weights_sha256"] == whole["weights_sha256"], window
        said = "The snapshot of step 25 is gone; from step 20 it is made again."
        assert (said in capsys.readouterr().err) == (window in lost), window
        assert _lines(store.run(name)) == _lines(store.run("whole")), window


def _lines(run: Run) -> list[dict[str, Any]]:
    """All that was recorded, but for the time and the memory it took."""
    return [
        {key: line[key] for key in line if not key.endswith(("seconds", "memory_bytes"))}
        for line in run.read_metrics()
    ]


def test_it_does_not_go_back_without_end(
    train: Train, store: Store, spoil: Callable[..., Alter]
) -> None:
    """A loss that stays no number: some rollbacks, then an error that names the records."""
    with pytest.raises(Diverged, match=r"after 3 rollbacks.*incidents") as error:
        train("run", spoil("nan", range(33, 300)))
    run = store.run("run")
    decisions = [one["decision"] for one in incidents(run)]
    assert decisions == ["skip", "skip", "rollback"] * ROLLBACKS + ["skip", "skip", "stop"]
    assert [one["back_to"] for one in incidents(run) if one["back_to"] is not None] == [25, 0, 0]
    assert len(list((run.folder / "incidents").iterdir())) == len(decisions)
    assert "guard_threshold" in error.value.remedy
    assert run.status == "stopped"
    with pytest.raises(Diverged):
        train("run", spoil("nan", range(33, 300)))
    assert len(incidents(run)) == len(decisions)


def test_a_learning_rate_that_explodes_is_halved(train: Train, store: Store) -> None:
    """Five hundred times the recipe's: without the guard the loss ends above that of guessing."""
    hot = {"steps": 80, "warmup_steps": 30, "optimizer": "muon"}
    hot |= {"learning_rate": 2.0, "embedding_learning_rate": 2.0}
    result = train("run", **hot)
    found = incidents(store.run("run"))
    assert {one["decision"] for one in found} >= {"rollback"}
    assert min(one["rate"] for one in found) <= 0.5
    rates = [line["learning_rate"] for line in store.run("run").read_metrics() if "loss" in line]
    assert max(rates[-30:]) <= 1.0
    unguarded = train("unguarded", guard=False, **hot)
    assert result["metrics"]["val_loss"] < unguarded["metrics"]["val_loss"] - 0.5


CLEAN: list[dict[str, Any]] = [
    {
        "seed": seed,
        "optimizer": ("adamw", "muon")[seed % 2],
        "schedule": ("wsd", "cosine")[seed // 2 % 2],
        "warmup_steps": (0, 3, 20, 40)[seed // 4 % 4],
        "hidden_size": (32, 48)[seed // 3 % 2],
        "num_layers": 1 + seed % 3,
        "tokens_per_step": (256, 512, 1024)[seed % 3],
        "learning_rate": (3e-3, 1e-2)[seed // 5 % 2],
    }
    for seed in range(20)
]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(one, marks=() if one["seed"] < 2 else pytest.mark.slow, id=str(one["seed"]))
        for one in CLEAN
    ],
)
def test_clean_runs_are_left_alone(train: Train, store: Store, settings: dict[str, Any]) -> None:
    """Not one batch is left out, though the text is real and its batches are small."""
    train("run", corpus="python-docs", steps=120, **settings)
    assert incidents(store.run("run")) == []


def test_several_processes_decide_alike_and_go_back_together(
    store: Store, recipe: str, words: str
) -> None:
    """Two ranks with half of the weights each: as one process does, to the bit. What counts is the
    first rank's sight of loss and norm."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    worker = Path(__file__).with_name("guard_worker.py")
    done = subprocess.run(
        [*command, str(worker), recipe, words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    decisions = [one["decision"] for one in incidents(store.run("run"))]
    assert decisions == ["skip", "skip", "rollback", "skip"]
    names = ("run", "told", "misread")
    assert len({store.run(name).state["result"]["weights_sha256"] for name in names}) == 1
    assert losses(store.run("run")) == losses(store.run("told"))
