"""Which files of a repository of the hub are taken, and what they are called here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from langwright.errors import BadInput, NotFound, Unsupported, suggest
from langwright.store.sources import model_members

DATA_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")
"""What is taken of a data set, as it is or packed with gzip or Zstandard."""


_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_PAPERS = ("README", "LICENSE", "LICENCE", "NOTICE")


@dataclass(frozen=True)
class Repository:
    """What a name beginning with `hf:` says."""

    kind: str
    """`model` or `dataset`, as the hub calls them too."""
    id: str
    revision: str
    path: str | None

    @property
    def source(self) -> str:
        """The name again, without the revision."""
        folder = "datasets/" if self.kind == "dataset" else ""
        return f"hf:{folder}{self.id}" + (f":{self.path}" if self.path else "")

    @property
    def title(self) -> str:
        """What the artifact is called unless told otherwise."""
        name, path = self.id.partition("/")[2], PurePosixPath(self.path or "")
        if self.kind == "model":
            return path.stem or name
        return re.sub(
            r"[^A-Za-z0-9._-]+", "-", f"{name}-{path.with_suffix('')}" if path.name else name
        )


def members(repository: Repository, paths: Iterable[str]) -> dict[str, str]:
    """Which of the files `paths` of a repository are taken -> what each is to be called.

    Raises `NotFound`, `BadInput`, or `Unsupported` when there is nothing to take.
    """
    seen = [path for path in paths if not any(part[0] == "." for part in path.split("/"))]
    if repository.kind == "model":
        return _model_members(repository, seen)
    return {path: path for path in _data_files(repository, seen)}


def _model_members(repository: Repository, paths: list[str]) -> dict[str, str]:
    files = sorted(path for path in paths if path.endswith(".gguf"))
    weights = [path for path in paths if path.endswith(".safetensors")]
    if repository.path:
        if repository.path not in files:
            raise NotFound(
                f"{repository.id} has no {repository.path}.",
                remedy=suggest(repository.path, files) if files else f"Write hf:{repository.id}.",
            )
        files, weights = [repository.path], []
    if not weights and len(files) == 1:
        if _PART.search(files[0]):
            raise Unsupported(
                f"{files[0]} is one part of a model in several files, which are not put together.",
                remedy="Choose a GGUF file that is whole.",
            )
        return {files[0]: "model.gguf"}
    if not weights and files:
        raise BadInput(
            f"{repository.id} holds {len(files)} GGUF files: {', '.join(files)}.",
            remedy=f"Choose one, for example `langwright pull hf:{repository.id}:{files[0]}`.",
        )
    if not weights and any(path.endswith(_PICKLES) for path in paths):
        raise Unsupported(
            f"{repository.id} has its weights as pickles only, which can run code when read.",
            remedy="Look for a repository, or a revision (often @refs/pr/1), with safetensors.",
        )
    chosen = model_members(set(paths) - set(files), repository.source)
    return {path: target for path, target in chosen.items() if not _repeats(target, chosen)}


def _repeats(target: str, chosen: dict[str, str]) -> bool:
    """Whether a file holds weights that others hold already, in another form."""
    name = PurePosixPath(target)
    if name.suffix != ".safetensors":
        return False
    beside = {
        path.name for path in map(PurePosixPath, chosen.values()) if path.parent == name.parent
    }
    if "model.safetensors.index.json" in beside:
        return not re.fullmatch(r"model-\d+-of-\d+\.safetensors", name.name)
    return "model.safetensors" in beside and name.name != "model.safetensors"


def _data_files(repository: Repository, paths: list[str]) -> list[str]:
    within = repository.path
    there = [path for path in paths if not within or f"{path}/".startswith(f"{within}/")]
    if not there:
        folders = {str(folder) for path in paths for folder in PurePosixPath(path).parents} - {"."}
        raise NotFound(
            f"{repository.id} has no {within or 'files'}.",
            remedy=suggest(within or "", {*paths, *folders}),
        )
    chosen = sorted(path for path in there if _is_data(path))
    if not chosen and any(path.endswith(".py") for path in there):
        raise Unsupported(
            f"{repository.id} is made by a script, which is not run.",
            remedy=f"Try the hub's own copy: hf:datasets/{repository.id}@refs/convert/parquet.",
        )
    if not chosen:
        raise BadInput(
            f"{repository.source} holds no data that is taken: {', '.join(DATA_SUFFIXES)}, also "
            "with .gz or .zst.",
            remedy="Choose another data set, or fetch its files yourself and give their folder.",
        )
    return chosen


def _is_data(path: str) -> bool:
    name = PurePosixPath(path).name
    unpacked = name.removesuffix(".gz").removesuffix(".zst")
    about = unpacked.partition(".")[0].upper() in _PAPERS or name == "dataset_infos.json"
    return unpacked.lower().endswith(DATA_SUFFIXES) and not about


def checked(path: str) -> str:
    """A path of a repository, if it stays within it on every system; raises `BadInput`."""
    if not path or {"", ".", ".."} & set(path.split("/")) or re.search(r"[\\:\0]", path):
        raise BadInput(
            f"The path {path!r} would lead outside its folder.",
            remedy="Do not use this repository.",
        )
    return path
