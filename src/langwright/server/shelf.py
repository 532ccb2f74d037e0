"""The models of a server: loaded when they are asked for, within a bound of memory."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from langwright.backend.bridge import Bridge
from langwright.errors import BadSettings, Busy, Unsupported
from langwright.providers import Model
from langwright.providers.open import is_address
from langwright.server.metrics import Metrics
from langwright.server.settings import ServeSettings
from langwright.wire.failure import Failure, Refused

GB = 2**30
log = logging.getLogger("langwright.server")


@dataclass
class Loaded:
    """A model in memory, and who uses it; `key` is the name it was asked for by, which for a run is
    that of the run, whatever its checkpoint."""

    key: str
    model: Model
    bridge: Bridge
    bytes: int
    fingerprint: str | None
    users: int = 0
    used: float = field(default_factory=time.monotonic)
    keep_s: float | None = None
    """Seconds after which it goes where nobody asks for it; None: it stays."""

    @property
    def name(self) -> str:
        return self.model.name

    @cached_property
    def about(self) -> dict[str, Any] | None:
        """The model's shape in words and numbers; None of another program's."""
        try:
            module = self.model.module
        except Unsupported:
            return None
        from langwright.model.description import describe_shape  # brings torch

        told = describe_shape(module.shape)
        count = told["parameters"]["total"]
        return {
            "family": told["family"],
            "count": count,
            "parameters": f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.1f}M",
            "dtype": str(module.dtype).removeprefix("torch."),
            "window": told["context_length"],
            "width": told["hidden_size"],
            "layers": told["num_layers"],
        }

    @property
    def gpu_bytes(self) -> int:
        try:
            return self.bytes if self.model.module.device.type == "cuda" else 0
        except Unsupported:
            return 0


@contextmanager
def between_servers(name: str) -> Iterator[None]:
    """What a server behind this one has against it, its key above all, is no fault of the
    caller's."""
    try:
        yield
    except BadSettings as error:
        if not is_address(name):
            raise
        log.error("The server behind '%s' refuses: %s", name, error)
        said = "The server behind this model refuses this one."
        raise Refused(Failure("unavailable", said)) from error


Opener = Callable[[str], Model]


class Shelf:
    """`opener` loads a model by its name, `sizer` tells beforehand what it will take at least. What
    is loaded stays while somebody uses it, and afterwards as long as there is room, `keep_alive_s`
    at most."""

    def __init__(
        self,
        opener: Opener,
        sizer: Callable[[str], int],
        settings: ServeSettings,
        metrics: Metrics,
    ) -> None:
        self._opener, self._sizer = opener, sizer
        self._settings, self._metrics = settings, metrics
        self._loaded: dict[str, Loaded] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        # One at a time: two that load at once would both take the room that is there for one.
        self._loading = asyncio.Lock()
        self._loads = ThreadPoolExecutor(1, thread_name_prefix="loads models")

    def loaded(self) -> list[Loaded]:
        return list(self._loaded.values())

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[Loaded]:
        """The model of that exact name, loaded, while the block lasts. Raises as `open_model`, and
        `Busy` where those in use leave no room."""
        one = self._loaded.get(name)
        if one is None:
            async with self._locks.setdefault(name, asyncio.Lock()):
                one = self._loaded.get(name) or await self._load(name)
        one.users += 1
        try:
            yield one
        finally:
            one.users -= 1
            one.used = time.monotonic()
            if not one.users and self._loaded.get(name) is not one:
                one.bridge.close()

    async def renew(self, name: str) -> Loaded:
        """Load the model of that name again, and answer by it from then on; who uses the one
        before keeps it until they are done."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            before = self._loaded.get(name)
            one = await self._load(name)
        if before is not None and not before.users:
            before.bridge.close()
        return one

    async def _load(self, name: str) -> Loaded:
        loop = asyncio.get_running_loop()
        async with self._loading:
            if self._settings.memory_gb:  # room is made before it is needed
                least = await loop.run_in_executor(self._loads, self._sizer, name)
                self._make_room(least, name)
            return await self._open(name)

    async def _open(self, name: str) -> Loaded:
        loop = asyncio.get_running_loop()
        with between_servers(name):
            model = await loop.run_in_executor(self._loads, self._opener, name)
        size = _size(model)
        self._make_room(size, name)
        at_once = min(self._settings.max_answers, model.backend.capabilities().at_once)
        bridge = Bridge(model.backend, at_once, self._settings.max_waiting)
        keep = self._settings.keep_alive_s or None
        one = Loaded(name, model, bridge, size, _fingerprint(model), keep_s=keep)
        self._loaded[name] = one
        self._metrics.loaded.labels(name).set(size)
        return one

    def _make_room(self, size: int, name: str) -> None:
        bound = self._settings.memory_gb * GB
        if not bound:
            return
        if size > bound:
            raise Unsupported(
                f"'{name}' takes {size / GB:.2f} GB of memory; the server is given "
                f"{self._settings.memory_gb:g}.",
                remedy="Serve it with fewer bits (--dtype int8), or give more memory.",
            )
        while sum(one.bytes for one in self.loaded()) + size > bound:
            idle = [key for key, one in self._loaded.items() if not one.users]
            if not idle:
                raise Busy(
                    f"There is no memory for '{name}' while others answer.",
                    remedy="Try again later.",
                )
            self.unload(min(idle, key=lambda key: self._loaded[key].used))

    def unload(self, name: str) -> None:
        """Let the model go. Who uses it keeps it until they are done."""
        one = self._loaded.pop(name, None)
        if one is None:
            return
        self._metrics.loaded.remove(name)
        if not one.users:
            one.bridge.close()

    def keep(self, name: str, seconds: float | None) -> None:
        """Unload the model so many seconds after its last use; None: never."""
        if name in self._loaded:
            self._loaded[name].keep_s = seconds
            self.sweep()

    def sweep(self) -> None:
        """Let go what nobody has asked for too long."""
        now = time.monotonic()
        for key, one in list(self._loaded.items()):
            if one.keep_s is not None and not one.users and now - one.used >= one.keep_s:
                self.unload(key)

    def close(self) -> None:
        for name in list(self._loaded):
            self.unload(name)
        self._loads.shutdown(wait=False, cancel_futures=True)


def _size(model: Model) -> int:
    """Bytes of the weights; 0 where they are another program's."""
    try:
        module = model.module
    except Unsupported:
        return 0
    tensors = {one.data_ptr(): one.nbytes for one in (*module.parameters(), *module.buffers())}
    return sum(tensors.values())


def _fingerprint(model: Model) -> str | None:
    """Tells a model, and a step of a run, from others, by its exact name and its tokenizer."""
    try:
        tokenizer = model.tokenizer
    except Unsupported:
        return None
    return "fp_" + hashlib.sha256(f"{model.name} {tokenizer.fingerprint}".encode()).hexdigest()[:10]
