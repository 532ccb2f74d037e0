"""The verb `compare`: which of two answers people prefer, gathered, imported and checked."""

from __future__ import annotations

import getpass
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Unpack

from langwright.backend import BackendName, Device, Dtype
from langwright.errors import BadSettings, LangwrightError
from langwright.lifecycle.comparing import Choice, Question, Session
from langwright.lifecycle.drawing import Drawing
from langwright.lifecycle.raters import rater_agreement
from langwright.providers import Model, Options, open_model
from langwright.providers.open import is_address, places_of
from langwright.store import Artifact, Store
from langwright.store.artifact import canonical_json
from langwright.training.preference_import import import_preferences
from langwright.training.prompts import Prompt, prompts_of, read_prompts

Table = dict[str, Any]


def compare(
    *names: str,
    prompts: str | Iterable[str | Prompt] | None = None,
    choose: Callable[[Question], Choice] | None = None,
    rater: str | None = None,
    name: str | None = None,
    import_file: str | None = None,
    keep_empty: bool = False,
    agreement: bool = False,
    dtype: Dtype = "float32",
    backend: BackendName = "own",
    device: Device = "cpu",
    store: Store | None = None,
    **options: Unpack[Options],
) -> Table:
    """Let `choose` say which of two answers is better, to each of `prompts`: those of two models,
    or two of one model. What was chosen is an artifact of kind `comparisons`.

    `prompts` is the path of a file (`read_prompts`), a list, or any iterable that gives one after
    the other; a text or messages each. `choose` gets a `Question` and says "left", "right", "tie",
    "both bad", "skip" or "quit". A coin says which answer stands left. Answer i of prompt n is
    drawn with the seed `seed` + 2 n + i (n and i from 0; `seed` is 0 where not given). Answers
    that are equal but for blanks, or empty, are not asked about. The same `name` with the same
    settings goes on; another `rater` (default: the user's name) is asked the same.

    Returns {"comparisons", "artifact", "run", "remaining", "rater", "choices", "not_asked",
    "raters", "models", "win_rate", "left_rate"}; `remaining` is how many questions the rater has
    still to be asked.

    With `import_file` an artifact is made of a file or a data set instead (`read_preferences`):
    {"comparisons", "artifact", "shape", "pairs", "left_out", "kept_empty", "unread_fields"}. With
    `agreement`, `names` are those of artifacts, and their raters are compared (`rater_agreement`).

    Raises `BadSettings` for what does not go together and for a `name` with other settings, and
    what opening models and reading files raises.
    """
    store = store or Store()
    computing = (dtype, backend, device) != ("float32", "own", "cpu")
    asking = bool(prompts is not None or choose or rater or options or computing)
    if import_file is not None and (names or agreement or asking):
        raise BadSettings(
            "A file is imported, and something else is asked for too.",
            remedy="Import it by itself; only a name and keep_empty go with it.",
        )
    if agreement and (asking or name or not names):
        raise BadSettings(
            "Agreement is that of the raters in artifacts.",
            remedy="Give the names of artifacts of kind comparisons, and nothing else.",
        )
    if keep_empty and import_file is None:
        raise BadSettings(
            "Empty answers are kept where a file is imported.", remedy="Leave keep_empty out."
        )
    if import_file is not None:
        artifact, read = import_preferences(
            import_file, name=name, keep_empty=keep_empty, store=store
        )
        return {"artifact": artifact.name, "shape": read.shape, **read.counts()}
    if agreement:
        return rater_agreement(names, store)
    if prompts is None or choose is None:
        raise BadSettings("There are no prompts, or nobody to choose.", remedy="Give both.")

    def opened(one: str) -> Model:
        return open_model(one, dtype=dtype, backend=backend, device=device, store=store)

    drawing = Drawing(names, _sampling(names, options), opened)
    fixed = _fixed(prompts)
    settings = {
        "verb": "compare",
        "models": list(drawing.names),
        "prompts": _digest(fixed),
        "sampling": drawing.sampling,
        "dtype": dtype,
        "backend": backend,
        "device": device,
    }
    parents = _parents(names, store)
    run = store.run(name or _default_name(names))
    if not run.exists:  # a model that cannot chat must not leave a run behind
        drawing.open()
    run.open(settings, [parent.digest for parent in parents])
    rater, of = rater or getpass.getuser(), None if fixed is None else len(fixed)
    with run.locked():
        session = Session(run, drawing.sampling)
        start = session.num_items
        if of is None or start < of:
            drawing.open()
        if fixed is None:  # what comes one by one is new each time
            drawn = drawing.each(prompts_of(prompts), start)
        else:
            drawn = drawing.ahead(fixed, start)
        run.update_state(status="running")
        try:
            with closing(drawn):
                session.ask(drawn, of, choose, rater)
        finally:  # what was chosen counts, whatever stopped it
            remaining = session.unasked(rater, of)
            result = {
                "comparisons": len(session.comparisons()),
                "artifact": session.publish(store, parents),
                "run": run.name,
                "remaining": remaining,
                "rater": rater,
                **session.counts(),
            }
            status = "stopped" if remaining or of is None else "finished"
            run.update_state(status=status, result=result)
    return result


def _sampling(names: Sequence[str], options: Options) -> Table:
    """The options that are given, with a seed. Raises `BadSettings` for those that make no sense
    here."""
    given = {key: value for key, value in options.items() if value is not None}
    if "logprobs" in given:
        raise BadSettings("Raters see no log-probabilities.", remedy="Leave logprobs out.")
    if len(set(names)) == 1 and given.get("temperature") == 0:
        raise BadSettings(
            "Two answers of one model at temperature 0 are the same.",
            remedy="Give a higher temperature, or a second model.",
        )
    return {"seed": 0, **given}


def _fixed(prompts: str | Iterable[str | Prompt]) -> list[Prompt] | None:
    """All prompts, where they are there at once; None where they come one by one."""
    if isinstance(prompts, str):
        fixed = read_prompts(Path(prompts).expanduser())
    elif isinstance(prompts, Sequence):
        fixed = list(prompts_of(prompts))
    else:
        return None
    if not fixed:
        raise BadSettings("There are no prompts.", remedy="Give at least one.")
    return fixed


def _digest(prompts: list[Prompt] | None) -> str | None:
    if prompts is None:
        return None
    return hashlib.sha256(canonical_json(prompts).encode()).hexdigest()


def _parents(names: Sequence[str], store: Store) -> list[Artifact]:
    """The artifacts that the models are, where they are any. Raises as `open_model` for a name that
    nothing answers to."""
    found: dict[str, Artifact] = {}
    for name in names:
        if is_address(name):
            continue
        places_of(name, store)
        for part in name.split("+"):
            with suppress(LangwrightError):  # a path, or a checkpoint of a run
                artifact = store.get(part)
                found[artifact.digest] = artifact
    return list(found.values())


def _default_name(names: Sequence[str]) -> str:
    parts = [re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[-40:] for name in names]
    return "compare-" + "-".join(dict.fromkeys(parts))
