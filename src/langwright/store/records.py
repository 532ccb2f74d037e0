"""What the store knows about its artifacts: their records, and the names that point to them."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from langwright.errors import Damaged, NotFound
from langwright.store.artifact import Artifact
from langwright.store.atomic import ASIDE, sync_folder, write_atomic


class Records:
    """The folders `records` and `names`. Whoever changes them holds `lock()`; readers need not."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._records = home / "records"
        self._names = home / "names"

    def lock(self) -> FileLock:
        return FileLock(self._home / "lock")

    def prepare(self) -> None:
        for folder in (self._records, self._names):
            folder.mkdir(parents=True, exist_ok=True)

    def read(self, digest: str) -> Artifact:
        """Raises `NotFound`, and `Damaged` for a record that cannot be read."""
        path = self._path(digest)
        try:
            return Artifact.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise NotFound(
                f"There is no artifact {digest[:12]}.", remedy="`langwright list` shows what is."
            ) from None
        except ValidationError:
            raise Damaged(
                f"The record {path} cannot be read.",
                remedy="Delete that file, then pull or make the artifact again.",
            ) from None

    def write(self, artifact: Artifact) -> None:
        write_atomic(self._path(artifact.digest), artifact.model_dump_json(indent=1))

    def delete(self, digest: str) -> None:
        self._path(digest).unlink()

    def has(self, digest: str) -> bool:
        return self._path(digest).exists()

    def beginning(self, prefix: str) -> list[str]:
        """The digests that begin with `prefix`."""
        return sorted(path.stem for path in self._records.glob(f"{prefix}*.json"))

    def names(self) -> dict[str, str]:
        """Name -> digest."""
        found = {}
        for path in self._names.glob("*.json"):
            with suppress(FileNotFoundError):  # removed by another process just now
                pointer = json.loads(path.read_bytes())
                found[pointer["name"]] = pointer["digest"]
        return found

    def point(self, name: str, digest: str) -> None:
        pointer = {"name": name, "digest": digest}
        write_atomic(self._names / f"{name}.json", json.dumps(pointer))

    def unpoint(self, name: str) -> None:
        (self._names / f"{name}.json").unlink()
        sync_folder(self._names)

    def all(self) -> list[Artifact]:
        """One for each name, and one for each record without a name; by name, then age."""
        names: dict[str, list[str]] = {}
        for name, digest in self.names().items():
            names.setdefault(digest, []).append(name)
        found = []
        for digest in self.beginning(""):
            with suppress(NotFound):  # removed by another process just now
                record = self.read(digest)
                for name in names.get(digest, [record.name]):
                    found.append(record.model_copy(update={"name": name}))
        return sorted(found, key=lambda artifact: (artifact.name, artifact.created))

    def _path(self, digest: str) -> Path:
        return self._records / f"{digest}.json"

    def litter(self) -> list[Path]:
        """Half-written files. Whoever writes holds the lock, so its holder may remove these."""
        folders = (self._records, self._names)
        return [path for folder in folders for path in folder.glob(f".*{ASIDE}")]
