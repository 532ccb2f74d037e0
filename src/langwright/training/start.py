"""The model that a run starts from, by its name: one of the store, or one with an adapter in it."""

from __future__ import annotations

from langwright.errors import BadInput
from langwright.model import Adapters, load_adapter, load_model, save_folder
from langwright.progress import say
from langwright.store import Artifact, Store

_SETTINGS = {"merged": True}


def open_start(name: str, store: Store) -> Artifact:
    """The artifact of that name. MODEL+ADAPTER becomes a model of its own, MODEL-ADAPTER, whose
    parents are both: the adapter in the weights, in float32; made before, it is used again. So what
    is trained on it, another adapter for one, has one model beneath that can be named.

    Raises `NotFound`, and `BadInput` for an adapter without a model or what is no adapter.
    """
    base_name, plus, adapter_name = name.rpartition("+")
    found = store.get(adapter_name)
    if not plus:
        if found.kind == "adapter":
            raise BadInput(
                f"'{name}' is an adapter, which is nothing without its model.",
                remedy=f"Name it as MODEL+{name}.",
            )
        return found
    if found.kind != "adapter":
        raise BadInput(
            f"'{adapter_name}' is of the kind {found.kind}, not an adapter.",
            remedy="Name MODEL+ADAPTER, or a model alone.",
        )
    base = open_start(base_name, store)
    if found.parents and base.digest not in found.parents:
        say(f"The adapter {found.name} was trained on another model than {base.name}.")
    return _merged(base, found, store)


def _merged(base: Artifact, adapter: Artifact, store: Store) -> Artifact:
    parents = [base.digest, adapter.digest]
    for artifact in store.artifacts("model"):
        if (artifact.parents, artifact.settings) == (parents, _SETTINGS) and not artifact.dropped:
            return artifact
    name = f"{base.name}-{adapter.name}"
    if any(other.name == name for other in store.artifacts()):
        raise BadInput(
            f"The adapter would be merged into a model '{name}', which is something else already.",
            remedy=f"`langwright remove {name}`, or train the adapter under another name.",
        )
    bundle = load_model(store.path(base))
    adapters = Adapters(bundle.module)
    adapters.load("one", load_adapter(store.path(adapter)))
    adapters.merge("one")
    adapters.detach()
    licence = base.licence or adapter.licence
    with store.writing(
        name, "model", parents=parents, settings=_SETTINGS, licence=licence
    ) as draft:
        save_folder(draft.folder, bundle)
    say(f"The adapter {adapter.name} is merged into the weights of {base.name}: {name}.")
    return draft.artifact
