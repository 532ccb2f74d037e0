"""The Hugging Face hub: models and data sets, pinned to a commit, every byte checked.

`hf:OWNER/NAME` is a model, `hf:datasets/OWNER/NAME` a data set; `@REVISION` (a branch, tag or
commit; default `main`) and then `:PATH` may follow: one GGUF file of a model, one file or folder
of a data set. The client is `huggingface_hub`, so that HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and a
login made with its own program hold. Files are data: nothing of a repository is ever run.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langwright.errors import (
    BadInput,
    Damaged,
    NetworkMissing,
    NoSpace,
    NotFound,
    Unsupported,
)
from langwright.store.artifact import sha256_of
from langwright.store.draft import Draft
from langwright.store.repository import Repository, checked, members
from langwright.store.sources import Source, check_gguf, say_left_out

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    from langwright.progress import Bar

_NAME = re.compile(
    r"hf:(datasets/)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?(?::([^:@\\\0]+))?", flags=re.ASCII
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ANSWER_S = 30.0
_TRIES = 3


def hub_source(name: str) -> Source:
    """The source of a name beginning with `hf:`; asks the hub which commit the revision is now.

    When the hub cannot be reached, that is said, and only what was pulled before of the same
    revision is this source. Raises `BadInput`, `NotFound`, `Unsupported`, and `NetworkMissing`
    for what the hub does not give without consent.
    """
    from langwright.progress import say

    repository = _parse(name)
    api = _api()
    try:
        commit, licence = _ask(api, repository)
    except NetworkMissing as error:
        if not isinstance(error, _Unreachable):
            raise
        say(f"{error.message} Only what was pulled before can be used.")
        unreachable = error  # the name of an `except` is gone after its block

        def refuse(draft: Draft) -> None:
            raise unreachable

        key = "commit" if _COMMIT.fullmatch(repository.revision) else "revision"
        settings = {"source": repository.source, key: repository.revision}
        sentence = "Not there yet at this revision."
        return Source(
            repository.title, repository.kind, sentence, None, settings, refuse, moves=True
        )

    def fetch(draft: Draft) -> None:
        draft.settings["revision"] = repository.revision
        _fetch(api, repository, commit, draft)

    sentence = f"A {repository.kind} of the Hugging Face hub, commit {commit[:12]}."
    settings = {"source": repository.source, "commit": commit}
    return Source(repository.title, repository.kind, sentence, licence, settings, fetch, moves=True)


def _parse(name: str) -> Repository:
    match = _NAME.fullmatch(name)
    if not match:
        raise BadInput(
            f"'{name}' names nothing on the hub.",
            remedy="Write hf:OWNER/NAME or hf:datasets/OWNER/NAME, then @REVISION, then :PATH "
            "where wanted.",
        )
    kind, path = "dataset" if match[1] else "model", match[4]
    if path is not None:
        path = checked(path.strip("/"))
    if kind == "model" and path and not path.endswith(".gguf"):
        raise BadInput(
            f"Of a model, {path} cannot be taken alone.",
            remedy=f"Choose a GGUF file, or write hf:{match[2]} for the whole model.",
        )
    return Repository(kind, match[2], match[3] or "main", path)


def _api() -> HfApi:
    try:
        import httpx2  # noqa: F401  # what it speaks HTTP with, since its version 2
        from huggingface_hub import HfApi
    except ImportError:
        raise Unsupported(
            "The Hugging Face hub needs the package huggingface_hub.",
            remedy="`pip install 'langwright[hub]'`",
        ) from None
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)


def _ask(api: HfApi, repository: Repository) -> tuple[str, str | None]:
    """The commit that the revision is now, and the licence that the card states."""
    with _explained(api, repository):
        ask = api.model_info if repository.kind == "model" else api.dataset_info
        info = ask(repository.id, revision=repository.revision, timeout=_ANSWER_S)
    commit = info.sha or ""
    if not _COMMIT.fullmatch(commit):
        raise Damaged(
            f"{api.endpoint} does not say which commit {repository.source} is at.",
            remedy="Check HF_ENDPOINT: it must be a Hugging Face hub.",
        )
    stated = getattr(info.card_data, "license", None)
    if stated == "other":
        stated = getattr(info.card_data, "license_name", None) or stated
    licences = stated if isinstance(stated, list) else [stated] if stated else []
    return commit, ", ".join(str(one) for one in licences)[:100] or None


def _fetch(api: HfApi, repository: Repository, commit: str, draft: Draft) -> None:
    """Download the wanted files aside, check each, and move it into the draft."""
    from huggingface_hub.hf_api import RepoFile

    from langwright.progress import progress

    with _explained(api, repository):
        tree = api.list_repo_tree(
            repository.id, recursive=True, revision=commit, repo_type=repository.kind
        )
        files = {checked(one.path): one for one in tree if isinstance(one, RepoFile)}
    wanted = members(repository, files)
    size = sum(files[path].size for path in wanted)
    _check_space(draft.scratch, size)
    with progress(f"Fetching {repository.id}", size) as bar:
        for path, target in wanted.items():
            there = _download(api, repository, commit, path, draft.scratch, bar)
            _check_content(there, files[path])
            (draft.folder / target).parent.mkdir(parents=True, exist_ok=True)
            there.replace(draft.folder / target)
    check_gguf(draft.folder)
    say_left_out(files.keys() - wanted.keys())


def _check_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise NoSpace(
            f"This needs {size:,} bytes, and {free:,} are free.",
            remedy="Free some space, or set LANGWRIGHT_HOME to a folder on a larger disk.",
        )


def _download(
    api: HfApi, repository: Repository, commit: str, path: str, scratch: Path, bar: Bar
) -> Path:
    """One file under `scratch`. A cut connection goes on where it was cut, as the client does;
    one that was torn, which it gives up on, begins the file again."""
    import httpx2

    with _explained(api, repository):
        before = bar.done
        for left in reversed(range(_TRIES)):
            try:
                return Path(
                    api.hf_hub_download(
                        repository.id,
                        path,
                        repo_type=repository.kind,
                        revision=commit,
                        local_dir=scratch / "hub",
                        cache_dir=scratch / "cache",
                        tqdm_class=_into(bar),
                    )
                )
            except httpx2.NetworkError:
                if not left:
                    raise
                bar.advance(before - bar.done, "again: the connection broke")
    raise AssertionError("the last try returns or raises")


def _into(bar: Bar) -> Any:
    """The client's kind of progress bar, which moves `bar` and shows nothing itself."""
    from huggingface_hub.utils.tqdm import tqdm

    class Into(tqdm):
        def __init__(self, *_: object, **__: object) -> None:
            super().__init__(disable=True)  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            bar.advance(n or 0, f"{bar.done / 1e6:.1f} MB")

        def update_transfer(self, n: float) -> None:
            """Bytes on the wire, which are others where the hub stores pieces once."""

    return Into


def _check_content(path: Path, file: RepoFile) -> None:
    """Raises `Damaged` unless the bytes are those that the hub's list of files names."""
    if file.lfs:
        what, expected, found = "sha256", file.lfs.sha256, sha256_of(path)
    else:
        what, expected, found = "git hash", file.blob_id, _git_hash(path)
    if found != expected:
        raise Damaged(
            f"{file.path} has the {what} {found}, expected was {expected}.",
            remedy="Pull again. If it stays so, do not trust the hub at HF_ENDPOINT.",
        )


def _git_hash(path: Path) -> str:
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


class _Unreachable(NetworkMissing):
    """The hub did not answer at all, so what is here already may do."""


@contextmanager
def _explained(api: HfApi, repository: Repository) -> Iterator[None]:
    """Turn the client's errors into ours."""
    import httpx2
    from huggingface_hub import errors

    page = f"{api.endpoint}/{repository.source.removeprefix('hf:').partition(':')[0]}"
    try:
        yield
    except errors.GatedRepoError:
        raise NetworkMissing(
            f"{repository.id} is gated: its owner gives it to those who agree to the terms.",
            remedy=f"Agree on {page}, then set HF_TOKEN to a token of that account.",
        ) from None
    except errors.RevisionNotFoundError:
        raise NotFound(
            f"{repository.id} has no revision '{repository.revision}'.",
            remedy=f"{page}/tree/main lists its branches and tags; without @ it is main.",
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403, 404):
            other = "hf:" if repository.kind == "dataset" else "hf:datasets/"
            raise NotFound(
                f"The hub has no {repository.kind} {repository.id}, or does not show it to you "
                f"(status {status}).",
                remedy=f"Check the name (is it {other}{repository.id}?). For a private one, set "
                "HF_TOKEN to a token that may read it.",
            ) from None
        raise _Unreachable(
            f"The hub answers with status {status}.", remedy="Wait a little, then pull again."
        ) from None
    except errors.HFValidationError as error:
        raise BadInput(
            f"'{repository.id}' cannot be a repository: {error}.", remedy="Check the name."
        ) from None
    except errors.OfflineModeIsEnabled:
        raise _Unreachable(
            "HF_HUB_OFFLINE forbids asking the hub.",
            remedy="Unset HF_HUB_OFFLINE to fetch it.",
        ) from None
    except (httpx2.TransportError, errors.LocalEntryNotFoundError):
        raise _Unreachable(
            "The Hugging Face hub cannot be reached.",
            remedy="Check the network and HF_ENDPOINT, then pull again.",
        ) from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the hub's
            raise
        raise Damaged(
            f"The hub's answer cannot be used: {str(error).splitlines()[0]}",
            remedy="Pull again; check HF_ENDPOINT.",
        ) from None
