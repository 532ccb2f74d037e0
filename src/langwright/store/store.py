"""The store: every artifact and run on this machine, by name, with what it was made from.

home/artifacts/<digest>/     the files
home/records/<digest>.json   what they are; outlives them while something was made from them
home/names/<name>.json       which digest a name means; written last
home/runs/<name>/            see `run.py`
home/tmp/                    what is still being written
home/lock, home/locks/       one process at a time changes records, holds a run, pulls a name
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from langwright.errors import BadInput, Damaged, NotFound, suggest
from langwright.store.artifact import Artifact, canonical_json, check_name, damage, digest_of, scan
from langwright.store.atomic import publish_folder, space_checked, sync_tree
from langwright.store.draft import Draft, aside_folder, sweep
from langwright.store.home import home as default_home
from langwright.store.records import Records
from langwright.store.run import Run

Shown = dict[str, list[dict[str, Any]]]
"""What a verb answers with `--json`."""

_DIGEST_PREFIX = re.compile(r"[0-9a-f]{8,64}")


class Store:
    """The artifacts and runs under one home folder; any number of processes may share it."""

    def __init__(self, home: Path | None = None) -> None:
        self.home = home or default_home()
        self._records = Records(self.home)
        self._artifacts = self.home / "artifacts"
        self._tmp = self.home / "tmp"
        if os.access(self.home, os.W_OK):
            self._sweep()

    @contextmanager
    def writing(
        self,
        name: str,
        kind: str,
        *,
        parents: Iterable[Artifact | str] = (),
        settings: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        licence: str | None = None,
    ) -> Iterator[Draft]:
        """Write an artifact into the yielded `folder`; it appears whole when the block ends.

        `parents` are artifacts, names or digests. An exception or Ctrl-C in the block leaves
        nothing behind. Raises `BadInput` for a bad name, `NotFound` for an unknown parent,
        `NoSpace` when the disk is full. A name that exists moves to the new artifact; the old one
        stays, known by its digest.
        """
        check_name(name)
        ancestors = [p if isinstance(p, Artifact) else self.get(p) for p in parents]
        with space_checked(self.home), aside_folder(self._tmp, self._records.lock()) as place:
            draft = Draft(place, dict(settings or {}), dict(metrics or {}), licence)
            yield draft
            draft._artifact = self._publish(draft, name, kind, ancestors)

    def _publish(self, draft: Draft, name: str, kind: str, parents: list[Artifact]) -> Artifact:
        files = scan(draft.folder)
        digests = [parent.digest for parent in parents]
        # As JSON knows them, where a tuple is a list, so that they equal what is read back.
        settings = json.loads(canonical_json(draft.settings))
        artifact = Artifact(
            name=name,
            kind=kind,
            digest=digest_of(kind, files, digests, settings, draft.licence),
            bytes=sum(size for _, size in files.values()),
            licence=draft.licence,
            parents=digests,
            settings=settings,
            metrics=json.loads(canonical_json(draft.metrics)),
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
            files=files,
        )
        target = self._artifacts / artifact.digest
        self._artifacts.mkdir(exist_ok=True)
        self._records.prepare()
        sync_tree(draft.folder)
        with self._records.lock():
            for parent in parents:  # one may have been removed while this was being written
                if not self._records.has(parent.digest):
                    self._records.write(parent.model_copy(update={"dropped": True}))
            if target.exists() and damage(target, files):
                shutil.rmtree(target)
            if not target.exists():
                publish_folder(draft.folder, target)
            self._records.write(artifact)
            self._records.point(name, artifact.digest)
        return artifact

    def get(self, name: str) -> Artifact:
        """The artifact of a name, or of the first 8 or more digits of a digest.

        Raises `NotFound`; `BadInput` when several digests begin so; `Damaged` for a record that
        cannot be read.
        """
        names = self._records.names()
        if name in names:
            return self._records.read(names[name]).model_copy(update={"name": name})
        if _DIGEST_PREFIX.fullmatch(name):
            found = self._records.beginning(name)
            if len(found) > 1:
                raise BadInput(
                    f"{len(found)} digests begin with {name}.", remedy="Give more of its digits."
                )
            if found:
                return self._records.read(found[0])
        raise self._not_found(name)

    def point(self, name: str, artifact: Artifact) -> None:
        """Let `name` mean `artifact`, too. Raises `BadInput` for a bad name, `NotFound` where the
        artifact is gone."""
        check_name(name)
        with self._records.lock():
            self.path(self.get(artifact.digest))
            self._records.point(name, artifact.digest)

    def _not_found(self, name: str) -> NotFound:
        from langwright.store.catalog import catalog  # here: only a mistake needs it

        older = [a for a in self.artifacts() if a.name == name and not a.dropped]
        if name in catalog():
            remedy = f"`langwright pull {name}` brings it."
        elif older:
            remedy = f"An older one of that name is kept as {older[-1].digest[:12]}."
        else:
            known = [*self._records.names(), *(run.name for run in self.runs()), *catalog()]
            remedy = suggest(name, known)
        return NotFound(f"There is no artifact '{name}'.", remedy=remedy)

    def path(self, artifact: Artifact) -> Path:
        """The folder with its files. Raises `NotFound` when they were removed, `Damaged` when
        they are gone without having been."""
        folder = self._artifacts / artifact.digest
        what = f"The bytes of '{artifact.name}' ({artifact.digest[:12]})"
        if artifact.dropped:
            raise NotFound(f"{what} were removed.", remedy="Pull or make it again.")
        if not folder.is_dir():
            raise Damaged(f"{what} are missing.", remedy=_start_over(artifact))
        return folder

    def verify(self, artifact: Artifact) -> None:
        """Read every byte again; raises `Damaged` that names the first wrong file."""
        problem = damage(self.path(artifact), artifact.files)
        if problem:
            raise Damaged(f"'{artifact.name}' is damaged: {problem}.", remedy=_start_over(artifact))

    def artifacts(self, kind: str | None = None) -> list[Artifact]:
        """All, by name and age; also those whose name went to a newer one, and the dropped."""
        return [artifact for artifact in self._records.all() if kind in (None, artifact.kind)]

    def remove(self, name: str) -> Shown:
        """Remove the artifact and the run of that name, and say which: `{"artifacts", "runs"}`.

        What something else was made from keeps its record and loses its bytes; what another name
        shares loses only this name. Raises `NotFound`, and `Busy` while the run is running.
        """
        removed: Shown = {"artifacts": [], "runs": []}
        for run in self.runs():
            if run.name == name:
                with run.locked():
                    removed["runs"].append(run.public())
                    shutil.rmtree(run.folder)
        with self._records.lock():
            names = self._records.names()
            if name in names or not removed["runs"]:
                artifact = self.get(name)
                same = [n for n, digest in names.items() if digest == artifact.digest]
                self._drop(artifact, [name] if name in names else same)
                removed["artifacts"].append(artifact.public())
            self._forget()
        return removed

    def _drop(self, artifact: Artifact, names: list[str]) -> None:
        """Take `names` from the artifact, and its bytes when it then has no other."""
        same = {n for n, digest in self._records.names().items() if digest == artifact.digest}
        last = same == set(names)
        if last:  # recorded before the bytes go, or a crash would look like damage
            self._records.write(artifact.model_copy(update={"dropped": True}))
        for name in names:
            self._records.unpoint(name)
        if last:
            shutil.rmtree(self._artifacts / artifact.digest, ignore_errors=True)

    def _forget(self) -> None:
        """Delete the records of dropped artifacts from which nothing is made any more."""
        records = {artifact.digest: artifact for artifact in self.artifacts()}
        of_runs = {parent for run in self.runs() for parent in run.parents}
        while True:
            needed = of_runs.union(*(artifact.parents for artifact in records.values()))
            idle = [d for d, artifact in records.items() if artifact.dropped and d not in needed]
            if not idle:
                return
            for digest in idle:
                del records[digest]
                self._records.delete(digest)

    def lineage(self, name: str) -> Shown:
        """All that `name` was made from: `{"nodes": [...], "edges": [{"from", "to"}]}`.

        `from` is the digest of a parent, `to` that of its child. Raises `NotFound`.
        """
        root = self.get(name)
        nodes, edges, queue = {root.digest: root}, [], [root]
        while queue:
            child = queue.pop(0)
            for digest in dict.fromkeys(child.parents):
                edges.append({"from": digest, "to": child.digest})
                if digest not in nodes:
                    nodes[digest] = self._records.read(digest)
                    queue.append(nodes[digest])
        return {"nodes": [node.public() for node in nodes.values()], "edges": edges}

    def run(self, name: str) -> Run:
        """The run of that name, there or not yet there. Raises `BadInput` for a bad name."""
        return Run(self.home, check_name(name))

    def runs(self) -> list[Run]:
        """All runs, by name."""
        found = sorted((self.home / "runs").glob("*/settings.json"))
        return [Run(self.home, path.parent.name) for path in found]

    def _sweep(self) -> None:
        """Remove what dead processes left: drafts, half-written records, bytes of no record."""
        if not self._litter():
            return
        with self._records.lock():
            for path in self._litter():
                if path.parent == self._tmp:
                    sweep(path)
                elif path.parent == self._artifacts:
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def _litter(self) -> list[Path]:
        kept = {artifact.digest for artifact in self.artifacts() if not artifact.dropped}
        drafts = list(self._tmp.glob("*"))
        ownerless = [path for path in self._artifacts.glob("*") if path.name not in kept]
        return [*drafts, *ownerless, *self._records.litter()]


def _start_over(artifact: Artifact) -> str:
    return f"`langwright remove {artifact.name}`, then pull or make it again."
