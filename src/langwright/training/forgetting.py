"""The verb `forget`: a run replayed without a document, as if it had never been there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from dataclasses import asdict

from langwright.errors import BadInput
from langwright.progress import say
from langwright.store import Artifact, Run, Store, write_atomic
from langwright.text import TokenShards
from langwright.training.examples import find
from langwright.training.guard import skipped_windows, window_of
from langwright.training.incident import incidents_folder
from langwright.training.rebuilt import Rebuilt, rebuild
from langwright.training.replay import checkpoint_steps, folder_of, require_one_process
from langwright.training.run_stage import Result, run_stage
from langwright.training.settings import HOW
from langwright.training.stages.pretrain import Pretrain, PretrainSettings
from langwright.training.stages.sft import SFT, SFTSettings
from langwright.training.state import TrainingState


def forget(
    run: str, document: str, *, name: str | None = None, store: Store | None = None
) -> Result:
    """Train the run `run` again without `document` (the first digits of a digest, a source or a
    title; a long document with all its sections), from the last checkpoint before it was first
    seen, as the run `name`: by default RUN-without-DIGEST, its first eight digits.

    The weights are, to the bit, those of a run that has had the setting `forget` from its first
    step on. The result is that of the training verb, with `document`, the step that first learnt
    from it (None: none did), the step of the checkpoint (0: the beginning), and `still_in`: what
    still holds the document, or was made with it. Repeated, the command goes on where it stopped.

    Raises `NotFound` for an unknown run or document, `BadInput` where several documents are meant,
    or one that is held out or forgotten already; `Unsupported` for a run of several processes.
    """
    store = store or Store()
    old = store.run(run)
    rebuilt = rebuild(old, store)
    found = find(document, rebuilt.stage.examples, rebuilt.stage.held_out)
    digests = {one.digest for one in found}
    if digests <= set(rebuilt.settings.forget):
        raise BadInput(
            f"The run '{run}' was trained without '{document}' already.",
            remedy="There is nothing to forget.",
        )
    held_out = sum(one.stem == found[0].stem for one in rebuilt.stage.held_out)
    if held_out:
        say(f"{held_out} of its sections are held out: they go on being measured on.")
    settings = without(rebuilt.settings, digests)
    new = store.run(name or f"{run}-without-{found[0].digest[:8]}")
    first, start = begin_without(new, old, rebuilt, settings, digests)
    if new.state["status"] != "finished":
        where = "the beginning" if start == 0 else f"the checkpoint of step {start}"
        say(f"{new.name}: from {where} on, without {found[0].source}.")
    result = run_stage(new, settings, rebuilt.parents, store, rebuilt.prepare)
    told = asdict(found[0])
    if len(found) > 1:
        told |= {"source": found[0].stem, "digests": [one.digest for one in found]}
    still = _still_in(old, rebuilt, digests, store)
    say(f"The document is still in {', '.join(still)}.")
    return {
        **result,
        "document": told,
        "first_seen_step": first,
        "replayed_from_step": start,
        "still_in": still,
    }


Chosen = PretrainSettings | SFTSettings


def without(settings: Chosen, digests: Collection[str]) -> Chosen:
    """The settings that forget these, too."""
    values = settings.model_dump(mode="json")
    return type(settings).restored(values | {"forget": sorted({*settings.forget, *digests})})


def begin_without(
    new: Run, old: Run, rebuilt: Rebuilt, settings: Chosen, digests: Collection[str]
) -> tuple[int | None, int]:
    """Open the run `new`, of these settings, at the last checkpoint of `old` that has learnt from
    none of `digests`. Begun before, it stays where it is.

    Returns the step of `old` that first learnt from one of them, and that of the checkpoint: 0 for
    the beginning.
    """
    values, parents = settings.model_dump(mode="json"), [one.digest for one in rebuilt.parents]
    new.open(values, parents, free=HOW, defaults=settings.defaults())
    with new.locked():
        if "replay" not in new.state:
            with old.locked():  # so that no checkpoint is dropped meanwhile
                first = first_window(old, rebuilt.stage, digests)
                # One that was begun otherwise, with the same settings, goes on from where it is.
                usable = [] if checkpoint_steps(new) else checkpoint_steps(old)
                start = max(
                    (
                        step
                        for step in usable
                        if first is None or next_window(checkpoint_state(old, step)) <= first
                    ),
                    default=0,
                )
                if start:
                    require_one_process(old, start)
                    copy_checkpoint(old, new, start)
                skipped = skipped_windows(old)
            step = None if first is None else first + 1 - sum(bad < first for bad in skipped)
            new.update_state(replay={"first_seen_step": step, "replayed_from_step": start})
    replay = new.state["replay"]
    return replay["first_seen_step"], replay["replayed_from_step"]


def first_window(run: Run, stage: Pretrain | SFT, digests: Collection[str]) -> int | None:
    """The first window of the data, among those that the run reads, that holds one of these."""
    numbers = {n for n, one in enumerate(stage.examples) if one.digest in digests}
    end = window_of(run.settings["steps"] - 1, skipped_windows(run)) + 1
    return next((window for window in range(end) if stage.numbers(window) & numbers), None)


def copy_checkpoint(old: Run, new: Run, step: int) -> None:
    """Have the run `new` stand at a checkpoint of `old`, with the metrics until then."""
    shutil.copytree(folder_of(old, step), folder_of(new, step), dirs_exist_ok=True)
    shutil.copyfile(old.metrics_path, new.metrics_path)
    new.truncate_metrics(step, checkpoint_state(old, step).guard.incidents)
    incidents_folder(new).mkdir(exist_ok=True)
    for line in (line for line in new.read_metrics() if "incident" in line):
        # The records of what was left out; none of them is of a later window.
        name = f"step-{line['step']:08d}-window-{line['incident']['window']:08d}.json"
        shutil.copyfile(incidents_folder(old) / name, incidents_folder(new) / name)
    write_atomic(new.checkpoints / "latest", folder_of(new, step).name)


def next_window(state: TrainingState) -> int:
    """The first window of the data of which nothing has been seen, not even to refuse it."""
    return window_of(state.step, state.guard.skipped)


def checkpoint_state(run: Run, step: int) -> TrainingState:
    stored = json.loads((folder_of(run, step) / "checkpoint.json").read_text())
    return TrainingState.of(stored["state"])


def _still_in(old: Run, rebuilt: Rebuilt, digests: Collection[str], store: Store) -> list[str]:
    """What holds one of these, or was made with it, and is not made again."""
    made: list[Artifact] = []
    for parent in rebuilt.parents:
        corpora = [store.get(one) for one in parent.parents]
        corpora = [one for one in corpora if one.kind == "corpus"]
        if parent.kind == "conversations" or (parent.kind == "tokenizer" and corpora):
            made.append(parent)
        elif parent.kind == "tokens":
            records = TokenShards(store.path(parent), "train").records()
            if any(record["digest"] in digests for record in records):
                made += [*corpora, parent]
    return [
        *(f"the {one.kind} '{one.name}'" for one in made),
        f"the run '{old.name}' and its model",
    ]
