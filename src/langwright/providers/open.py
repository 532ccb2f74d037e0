"""From the name of a model to the model itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from langwright.backend import BackendName, Device, Dtype
from langwright.errors import BadInput, NotFound, Unsupported, suggest
from langwright.providers.place import Place
from langwright.store import Run, Store
from langwright.store.catalog import catalog

if TYPE_CHECKING:
    from langwright.inference import EngineSettings
    from langwright.model.encoder import Encoder
    from langwright.providers.handle import Model
    from langwright.tokens import Tokenizer

PROVIDERS = frozenset({"anthropic", "gemini", "ollama", "openai"})
_CHECKPOINT = re.compile(r"step-(\d{8,})")


def open_model(
    name: str,
    *,
    dtype: Dtype = "float32",
    backend: BackendName = "own",
    device: Device = "cpu",
    adapters: Sequence[str] = (),
    settings: EngineSettings | None = None,
    store: Store | None = None,
) -> Model:
    """The model that `name` means: one of the store, a run (its final model, else its latest
    checkpoint), a checkpoint `run@STEP`, or a path (Hugging Face folder, GGUF file); each with an
    adapter where `+` and the adapter's name or folder follow, which is merged into the weights, or
    computed beside quantised ones.

    `dtype` is how the weights are held: `float32`, `bfloat16`, `int8`, `int4` (32 weights share a
    scale), `nf4` (meant for QLoRA; slow), or `auto`, as the files hold them.

    `backend` is what computes: the own engine; `llama.cpp`, for GGUF files; `transformers`, for
    Hugging Face folders of families that the own engine does not have.

    `device` is where the own engine computes.

    `adapters` are held beside the weights, so that each request may name another, by the last part
    of its name; `settings` are those of the own engine.

    An address (`http://127.0.0.1:8000/v1#MODEL`) means a model that a server there has, by OpenAI's
    format (see `OpenAICompatible`).

    An encoder (`minilm`) gives a model that embeds and does not generate.

    What has a `/` or ends in `.gguf` is a path, `hf:OWNER/NAME` what was pulled under this name;
    all else is looked up in the store.

    Raises `NotFound` that suggests what was meant, `BadInput` for what is no model, `Unsupported`
    for a provider's model or an unknown family, `Damaged` for a file that cannot be read.
    """
    if is_address(name):
        return _served(name, dtype, backend, device)
    place, added = places_of(name, store or Store())
    # Here, since importing torch takes seconds and a misspelt name should not.
    from langwright.inference import Embedder, Engine
    from langwright.model import Adapters, is_quantised, load_adapter, load_model
    from langwright.model.device import compute_device
    from langwright.model.encoder import is_encoder, load_encoder
    from langwright.providers.handle import Model

    if backend != "own":
        from langwright.providers.backends import open_other

        if added is not None or adapters or settings is not None or device != "cpu":
            raise Unsupported(
                f"{backend} is given no adapter, no settings and no device here.",
                remedy=f"Leave --backend out, or export '{name}' as one model first.",
            )
        return Model(open_other(place, backend, dtype))
    if added is None and is_encoder(place.path):
        if dtype not in ("float32", "auto"):
            raise BadInput(
                f"An encoder is held in float32, not in {dtype}.", remedy="Leave the dtype out."
            )
        return Model(Embedder(load_encoder(place.path), place.name))
    try:
        bundle = load_model(place.path, dtype)
    except Unsupported as error:
        if not (place.path / "config.json").is_file():
            raise
        remedy = f"{error.remedy} Or let transformers compute it: --backend transformers."
        raise Unsupported(error.message, remedy=remedy) from None
    bundle.module.to(compute_device(device))
    if added is None:
        held = Adapters(bundle.module) if adapters else None
        for one in adapters:
            found = place_of(one, store or Store(), ("adapter",))
            assert held is not None
            held.load(found.path.name if "/" in one else one, load_adapter(found.path))
        return Model(Engine(bundle, place.name, settings, adapters=held), bundle)
    if adapters:
        raise BadInput(
            f"'{name}' has an adapter in its weights, so no others can stand beside them.",
            remedy="Name the base alone, and all adapters as `adapters`.",
        )
    beside = Adapters(bundle.module)
    beside.load("one", load_adapter(added.path))
    if is_quantised(bundle.module):
        beside.select("one")
    else:
        beside.merge("one")
        beside.detach()
    return Model(Engine(bundle, f"{place.name}+{added.name}", settings), bundle)


def is_address(name: str) -> bool:
    return name.startswith(("http://", "https://"))


def _served(name: str, dtype: Dtype, backend: BackendName, device: Device) -> Model:
    if (dtype, backend, device) != ("float32", "own", "cpu"):
        raise BadInput(
            f"What computes at {name.partition('#')[0]}, where and how, is the server's affair.",
            remedy="Leave the dtype, the back end and the device out.",
        )
    from langwright.providers.handle import Model
    from langwright.providers.openai_compatible import OpenAICompatible

    return Model(OpenAICompatible(name))


def open_encoder(name: str, *, store: Store | None = None) -> Encoder | None:
    """The encoder that `name` means; None where it means another kind of model, whose weights stay
    unread. Raises as `open_model` does."""
    place, added = places_of(name, store or Store())
    from langwright.model.encoder import is_encoder, load_encoder

    return load_encoder(place.path) if added is None and is_encoder(place.path) else None


def load_tokenizer(name: str, *, store: Store | None = None) -> Tokenizer:
    """The tokenizer that `name` means: of kind tokenizer, or of a model, whose weights stay unread.
    The name of an OpenAI model (`gpt-4o`, `openai/gpt-4o`) means its encoding.

    Raises as `open_model` does.
    """
    from langwright.tokens import (
        KNOWN,
        encoding_for,
        read_known,
        read_tokenizer,
        tokenizer_from_gguf,
    )

    store = store or Store()
    try:
        path = place_of(name, store, ("model", "tokenizer")).path
    except (NotFound, Unsupported):
        encoding = encoding_for(name)
        if encoding is None:
            raise
        if encoding not in KNOWN:
            raise Unsupported(
                f"The encoding of {name} is {encoding}, which is not built.",
                remedy=f"There are {', '.join(KNOWN)}.",
            ) from None
        path = place_of(encoding, store, ("tokenizer",)).path
    if path.is_dir() and (known := read_known(path)) is not None:
        return known
    ggufs = [path] if path.is_file() else sorted(path.glob("*.gguf"))
    if len(ggufs) != 1:
        return read_tokenizer(path / "tokenizer.json")
    from langwright.model.gguf_file import GGUFFile

    return tokenizer_from_gguf(GGUFFile(ggufs[0]).fields)


def places_of(name: str, store: Store) -> tuple[Place, Place | None]:
    """Where the model lies, and the adapter that `name` puts behind a `+`."""
    if "+" not in name or Path(name).expanduser().exists():  # a path may hold a plus
        return place_of(name, store, ("model",)), None
    base, _, adapter = name.rpartition("+")
    return place_of(base, store, ("model",)), place_of(adapter, store, ("adapter",))


def place_of(name: str, store: Store, kinds: tuple[str, ...]) -> Place:
    """Where the thing of one of `kinds` lies that `name` means; raises as `open_model`."""
    if is_address(name):
        raise Unsupported(
            f"'{name}' is another machine's; this needs the model's own files.",
            remedy="Use a model of this machine: `langwright list` shows them.",
        )
    if name.startswith("hf:"):
        return _pulled(name, store)
    if "/" in name or name.endswith(".gguf"):
        return _path(name)
    run_name, at, step = name.partition("@")
    if at:
        return _checkpoint(_run(run_name, store), step)
    artifact = None
    try:
        artifact = store.get(name)
        if artifact.kind in kinds:
            return Place(name, store.path(artifact))
    except NotFound as error:
        if artifact is not None:  # its bytes were removed
            raise
        not_found = error
    for run in store.runs():
        if run.name == name:
            return _checkpoint(run, "")
    if artifact is not None:
        raise BadInput(
            f"'{name}' is of the kind {artifact.kind}; what is needed is a {' or a '.join(kinds)}.",
            remedy=suggest(name, _known(store, kinds)),
        )
    if name in catalog():
        raise not_found
    raise NotFound(
        f"There is no {' or '.join(kinds)} '{name}'.", remedy=suggest(name, _known(store, kinds))
    )


def _pulled(name: str, store: Store) -> Place:
    """What was pulled from the hub under this name, without its revision."""
    for artifact in store.artifacts():
        if artifact.settings.get("source") == name and not artifact.dropped:
            return Place(artifact.name, store.path(artifact))
    raise NotFound(f"'{name}' is not in the store.", remedy=f"`langwright pull {name}` brings it.")


def _path(name: str) -> Place:
    path = Path(name).expanduser()
    if path.exists():
        return Place(name, path)
    provider = name.partition("/")[0]
    if provider in PROVIDERS:
        raise Unsupported(
            f"'{name}' names a model of the provider {provider}, and providers are not built yet: "
            "they come with the gateway.",
            remedy="Use a model on this machine: `langwright list` shows them.",
        )
    raise NotFound(f"There is no file or folder {name}.", remedy="Check the path.")


def _run(name: str, store: Store) -> Run:
    runs = {run.name: run for run in store.runs()}
    if name not in runs:
        raise NotFound(f"There is no run '{name}'.", remedy=suggest(name, runs))
    return runs[name]


def _checkpoint(run: Run, step: str) -> Place:
    """The checkpoint of that step; with no step the latest."""
    found = {}
    for path in run.checkpoints.glob("step-*/model"):
        match = _CHECKPOINT.fullmatch(path.parent.name)
        if match:
            found[int(match[1])] = path
    if not found:
        raise NotFound(
            f"The run '{run.name}' has no checkpoint yet.",
            remedy="Let it train further: the setting checkpoint_every says when it saves.",
        )
    steps = ", ".join(map(str, sorted(found)))
    if not step:
        latest = max(found)
        return Place(f"{run.name}@{latest}", found[latest])
    if not step.isascii() or not step.isdigit():
        raise BadInput(f"'{step}' is not a step.", remedy=f"There are {steps}.")
    if int(step) not in found:
        raise NotFound(
            f"The run '{run.name}' has no checkpoint of step {int(step)}.",
            remedy=f"There are {steps}.",
        )
    return Place(f"{run.name}@{int(step)}", found[int(step)])


def _known(store: Store, kinds: tuple[str, ...]) -> list[str]:
    names = [a.name for a in store.artifacts() if a.kind in kinds and not a.dropped]
    names += [run.name for run in store.runs()]
    return names + [name for name, entry in catalog().items() if entry.kind in kinds]
