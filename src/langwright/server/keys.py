"""Keys that open a server: random, told once, kept as hashes."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from filelock import FileLock

from langwright.errors import BadInput, Damaged, NotFound, suggest
from langwright.store import Store
from langwright.store.artifact import check_name
from langwright.store.atomic import write_atomic

Scope = Literal["use", "inspect", "metrics", "admin"]
"""`use`: ask models; `inspect`: look into them; `metrics`: read the server's figures; `admin`: all
of it, and bring, copy, remove and load models."""

PREFIX = "lw-"


class Keys:
    """The keys in a home folder. A key has 256 random bits, so that a plain SHA-256 of it can no
    more be guessed than itself; the file holds nothing else of it."""

    def __init__(self, home: Path) -> None:
        self._home, self._path = home, home / "keys.json"

    def all(self) -> list[dict[str, Any]]:
        """`name`, `scopes`, `created` and `sha256` of each. Raises `Damaged`."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except ValueError:
            raise Damaged(
                f"{self._path} is no JSON.", remedy="Remove it, and make the keys anew."
            ) from None
        return list(found)

    def add(self, name: str, scopes: Sequence[str]) -> str:
        """A new key; it is told here and nowhere else. Raises `BadInput`."""
        check_name(name)
        for scope in scopes:
            if scope not in get_args(Scope):
                raise BadInput(
                    f"There is no scope '{scope}'.", remedy=suggest(scope, get_args(Scope))
                )
        if not scopes:
            raise BadInput("A key needs a scope.", remedy=f"Give one of {get_args(Scope)}.")
        secret = PREFIX + secrets.token_urlsafe(32)
        with self._lock():
            kept = self.all()
            if any(one["name"] == name for one in kept):
                raise BadInput(
                    f"There is a key '{name}'.", remedy="Take another name, or remove that first."
                )
            created = datetime.now(UTC).isoformat(timespec="seconds")
            row = {
                "name": name,
                "scopes": list(scopes),
                "created": created,
                "sha256": _hash(secret),
            }
            self._write([*kept, row])
        return secret

    def remove(self, name: str) -> None:
        """Raises `NotFound`."""
        with self._lock():
            kept = self.all()
            left = [one for one in kept if one["name"] != name]
            if len(left) == len(kept):
                raise NotFound(
                    f"There is no key '{name}'.", remedy="`langwright keys` shows what there is."
                )
            self._write(left)

    def _lock(self) -> FileLock:
        (self._home / "locks").mkdir(parents=True, exist_ok=True)
        return FileLock(self._home / "locks" / "keys")

    def _write(self, rows: list[dict[str, Any]]) -> None:
        write_atomic(self._path, json.dumps(rows, indent=2) + "\n")
        self._path.chmod(0o600)


def scopes_in(kept: Sequence[Mapping[str, Any]], secret: str) -> frozenset[str] | None:
    """What the key opens, of those `kept`; None where it is none of them. Takes the same time for
    each."""
    hashed, found = _hash(secret), None
    for one in kept:
        if hmac.compare_digest(one["sha256"], hashed):
            found = frozenset(one["scopes"])
    return found


def keys(
    *,
    add: str | None = None,
    scopes: Sequence[str] = ("use",),
    remove: str | None = None,
    store: Store | None = None,
) -> dict[str, Any]:
    """`langwright keys`: those of this machine's servers, after one was added or removed; the
    `secret` of a new one is told this once.

    Raises `BadInput` for a name that is taken and an unknown scope, `NotFound`.
    """
    held = Keys((store or Store()).home)
    if remove is not None:
        held.remove(remove)
    secret = None if add is None else held.add(add, scopes)
    rows = [{name: one[name] for name in ("name", "scopes", "created")} for one in held.all()]
    return {"keys": rows} if secret is None else {"keys": rows, "secret": secret}


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", errors="surrogatepass")).hexdigest()
