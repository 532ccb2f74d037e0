"""Examples for training: a file of JSON lines, kept in the store."""

from __future__ import annotations

from pathlib import Path

from langwright.errors import BadInput
from langwright.store import Artifact, Store


def open_lines(name: str, kind: str, shape: str, store: Store) -> Artifact:
    """The artifact of that name and kind (`KIND.jsonl` lies in it), or one made of a .jsonl file;
    raises `BadInput` for another kind, with the `shape` of a line."""
    path = Path(name).expanduser()
    if not path.is_file():
        artifact = store.get(name)
        if artifact.kind != kind:
            raise BadInput(
                f"'{name}' is a {artifact.kind}, not {kind}.",
                remedy=f"Give a .jsonl file of {shape} lines.",
            )
        return artifact
    with store.writing(f"{kind}-{path.stem}", kind) as draft:
        (draft.folder / f"{kind}.jsonl").write_bytes(path.read_bytes())
    return draft.artifact
