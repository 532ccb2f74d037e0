"""Someone has a file of conversations and wants a model of their own: forecast, training, and what
it was worth."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from langwright.backend import Request, Sampling
from langwright.errors import BadInput, BadSettings
from langwright.inference import Engine
from langwright.model import load_model, load_shape
from langwright.progress import say
from langwright.providers import open_model
from langwright.store import Artifact, Run, Store, write_atomic
from langwright.training import sft
from langwright.training.conversations import open_conversations
from langwright.training.learner import Learner
from langwright.training.recipe import read_recipe
from langwright.training.stages.sft import SFT, SFTSettings
from langwright.training.start import open_start
from langwright.training.tuning import begin
from langwright.training.usage import peak_memory

Table = dict[str, Any]

RECIPE = "smollm2"
EPOCHS = 3
LEAST_STEPS, MOST_STEPS = 20, 2000
WIDEST = 4096
TIMED = 2
SHOWN = 3
ANSWER_TOKENS = 80


def finetune(
    model: str,
    data: str,
    *,
    name: str | None = None,
    epochs: float = EPOCHS,
    store: Store | None = None,
    **settings: object,
) -> Table:
    """Fine-tune `model` (one of the store) on `data` (conversations in any known shape): an
    adapter, or with method=full all of its weights; a forecast first, and at the end what it was
    worth.

    Length and context follow from the data, the rest from the [sft] table of the recipe `smollm2`;
    `settings` change any of it. The same command continues a run that was stopped.

    Returns {"model", "report", "stages": [{"name", "seconds", "metrics"}]}. Raises `NotFound` for a
    model that is not in the store, and as `sft`.
    """
    if not 0 < epochs < math.inf:
        raise BadInput(f"epochs is {epochs}.", remedy="Give how often the data is to be learnt.")
    store = store or Store()
    base, conversations = open_start(model, store), open_conversations(data, store)
    given = {**settings, "model": base.name, "data": conversations.name}
    name = name or f"{base.name}-{Path(data).name.partition('.')[0]}"
    run = store.run(name)
    told = run.folder / "forecast.json"
    if run.exists and not told.exists():
        raise BadInput(
            f"There is a run '{name}' already, which is none of finetune's.",
            remedy="Give another --name.",
        )
    if run.exists:
        chosen = SFTSettings.restored(run.settings)
        forecast: Table = json.loads(told.read_text(encoding="utf-8"))
        if forecast["asked_epochs"] != epochs:
            raise BadSettings(
                f"The run '{name}' was begun with --epochs {forecast['asked_epochs']:g}.",
                remedy="Give another --name, or the same epochs.",
            )
    else:
        chosen, forecast = _forecast(given, base, conversations, epochs, store)
        _say_forecast(forecast)
    started = time.perf_counter()
    _keep(run, forecast)
    # What is asked for otherwise than when the run was begun is `sft`'s to refuse.
    result = sft(RECIPE, name=name, store=store, **_given(chosen) | given)
    trained = time.perf_counter() - started
    before, after = _validated(run, chosen)
    answers = _answers(result["model"], chosen, run, store)
    report = run.folder / "report.md"
    write_atomic(report, _report(base, result, forecast, before, after, answers))
    stages = [
        {"name": "forecast", "seconds": forecast["timing_seconds"], "metrics": forecast},
        {"name": "before", "seconds": 0.0, "metrics": before},
        {"name": "fine-tune", "seconds": round(trained, 2), "metrics": result["metrics"]},
        {"name": "after", "seconds": 0.0, "metrics": after},
    ]
    say(
        f"Of held-out answers: {before['val_bits_per_byte']:.3f} bits per byte before, "
        f"{after['val_bits_per_byte']:.3f} after. Talk: langwright chat {result['model']}"
    )
    return {"model": result["model"], "report": str(report), "stages": stages}


def _forecast(
    given: Table, base: Artifact, data: Artifact, epochs: float, store: Store
) -> tuple[SFTSettings, Table]:
    """The settings, and what they will take: some steps of the real ones are timed."""
    started = time.perf_counter()
    recipe = read_recipe(RECIPE, "sft", {})
    if given.get("method", recipe["method"]) == "full":
        recipe["learning_rate"] /= 10  # an adapter bears ten times the rate of all weights
    window = load_shape(store.path(base)).context_length
    widest = min(window, WIDEST)
    wide = {"context_length": widest, "micro_batch_tokens": widest, "tokens_per_step": widest}
    settings = SFTSettings.build(recipe | given | wide | {"steps": 1})
    bundle, trained = begin(settings, base, store)
    lengths = [len(row.ids) for row in SFT.build(settings, bundle.text, data, store).lessons.rows]
    # All but the longest of a hundred fit; those are told of.
    fitting = min(widest, -(-int(np.quantile(lengths, 0.99)) // 64) * 64)
    given = {"context_length": fitting, **given}
    context = int(given["context_length"])
    step = int(given.get("tokens_per_step", max(recipe["tokens_per_step"], context)))
    tokens = sum(min(length, context) for length in lengths)
    steps = max(LEAST_STEPS, min(MOST_STEPS, round(epochs * tokens / step)))
    derived = {"steps": steps, "tokens_per_step": step}
    derived |= {"warmup_steps": min(recipe["warmup_steps"], steps // 5)}
    given = recipe | derived | given
    chosen = SFTSettings.build(given)
    stage = SFT.build(chosen, bundle.text, data, store)
    learner = Learner(trained.module, chosen, learnt=trained.learnt)
    timed, seconds = 0, list[float]()
    for number in range(TIMED):
        batches = list(stage.micro_batches(number))
        begun = time.perf_counter()
        units = sum(batch.units for batch in batches)
        learner.gradients(stage.loss, batches, units)
        learner.clip()
        learner.forget()
        seconds.append(time.perf_counter() - begun)
        timed += sum(batch.tokens for batch in batches)
    speed = timed / sum(seconds)
    learnt = sum(one.numel() for one in trained.learnt.values())
    whole = sum(one.numel() for one in trained.module.parameters())
    return chosen, {
        "method": chosen.method,
        "asked_epochs": epochs,
        "trained_parameters": learnt,
        "trained_share": learnt / whole,
        "conversations": len(lengths),
        "context_length": context,
        "steps": chosen.steps,
        "tokens": chosen.steps * step,
        "epochs": chosen.steps * step / max(1, tokens),
        "tokens_per_second": speed,
        "seconds": chosen.steps * step / speed,
        "peak_memory_bytes": peak_memory(learner.device),
        "timing_seconds": round(time.perf_counter() - started, 2),
    }


def _given(chosen: SFTSettings) -> Table:
    """What `sft` is to be called with: what the recipe says otherwise, too, where the choice is a
    default."""
    named = {key: getattr(chosen, key) for key in read_recipe(RECIPE, "sft", {})}
    return named | chosen.model_dump(exclude_defaults=True)


def _keep(run: Run, forecast: Table) -> None:
    run.folder.mkdir(parents=True, exist_ok=True)
    write_atomic(run.folder / "forecast.json", json.dumps(forecast))


def _say_forecast(told: Table) -> None:
    memory = told["peak_memory_bytes"]
    say(
        f"{told['conversations']:,} conversations; {told['trained_parameters']:,} parameters are "
        f"trained ({told['trained_share']:.1%}), {told['steps']} steps, {told['tokens']:,} tokens "
        f"({told['epochs']:.1f} times the data): about {told['seconds'] / 60:.1f} minutes"
        + (f", {memory / 1e9:.1f} GB." if memory else ".")
    )


def _validated(run: Run, chosen: SFTSettings) -> tuple[Table, Table]:
    """What was measured on the held-out answers at step 0 and at the end, of the same sample."""
    lines = [line for line in run.read_metrics() if "val_loss" in line]
    parts = ({key: line[key] for key in line if key.startswith("val_")} for line in lines)
    first, *_, last = [*parts]
    return first, last


def _answers(model: str, chosen: SFTSettings, run: Run, store: Store) -> list[Table]:
    """What the model says to held-out prompts, before and after; the likeliest tokens."""
    base, data = (store.get(digest) for digest in run.parents)
    bundle = load_model(store.path(base))
    stage = SFT.build(chosen.divided(1), bundle.text, data, store)
    numbers = [int(one.source.rpartition(":")[2].partition("#")[0]) for one in stage.held_out]
    lines = (store.path(data) / "conversations.jsonl").read_text(encoding="utf-8").splitlines()
    asked = []
    for number in numbers[:SHOWN]:
        messages = json.loads(lines[number - 1])["messages"]
        while messages and messages[-1]["role"] != "assistant":
            messages = messages[:-1]
        asked.append((messages[:-1], messages[-1].get("content", "")))
    told: list[Table] = [{"messages": prompt, "expected": answer} for prompt, answer in asked]
    tuned = open_model(model, store=store).backend
    for key, backend in (("before", Engine(bundle, base.name)), ("after", tuned)):
        requests = [
            Request(
                messages=one["messages"],
                max_tokens=ANSWER_TOKENS,
                sampling=Sampling(0.0),
                id=str(place),
            )
            for place, one in enumerate(told)
        ]
        texts = dict.fromkeys(range(len(told)), "")
        for event in backend.generate(requests):
            texts[int(event.request_id)] += event.text
        for place, text in texts.items():
            told[place][key] = text
    return told


def _report(
    base: Artifact,
    result: Table,
    forecast: Table,
    before: Table,
    after: Table,
    answers: list[Table],
) -> str:
    """The report, as Markdown."""
    metrics = result["metrics"]
    lines = [
        f"# {result['model']}",
        "",
        f"{base.name}, fine-tuned ({forecast['method']}): {forecast['trained_parameters']:,} "
        f"parameters trained, {forecast['trained_share']:.1%} of all.",
        "",
        "| held-out answers | before | after |",
        "|---|---|---|",
        *(
            f"| {_title(key)} | {before[key]:.4f} | {after[key]:.4f} |"
            for key in before
            if key in after
        ),
        "",
        "| | forecast | actual |",
        "|---|---|---|",
        f"| steps | {forecast['steps']} | {result['steps']} |",
        f"| tokens a second | {forecast['tokens_per_second']:,.0f} | "
        f"{metrics['tokens_per_second']:,.0f} |",
    ]
    for one in answers:
        asked = one["messages"][-1]["content"] if one["messages"] else ""
        parts = (
            ("Asked", asked), ("Expected", one["expected"]), ("Before", one["before"]),
            ("After", one["after"]),
        )  # fmt: skip
        lines += ["", *(f"- **{title}.** {' '.join(str(text).split())}" for title, text in parts)]
    return "\n".join(lines) + "\n"


def _title(key: str) -> str:
    return key.removeprefix("val_").replace("_", " ")
