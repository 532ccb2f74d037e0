"""Which models a server offers, and what it tells of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from langwright.errors import LangwrightError, Unsupported
from langwright.providers import Model, describe, open_model
from langwright.providers.open import is_address, place_of, places_of
from langwright.server.settings import ServeSettings
from langwright.store import Store
from langwright.store.artifact import Artifact


@dataclass(frozen=True)
class Offer:
    """A model by the name that calls give it. `base` is what is loaded, `adapter` what a call
    chooses beside its weights."""

    name: str
    base: str
    adapter: str | None = None
    artifact: Artifact | None = None

    @property
    def created(self) -> int:
        """Seconds since 1970; 0 where it is not known."""
        if self.artifact is None:
            return 0
        return int(datetime.fromisoformat(self.artifact.created).timestamp())

    @property
    def lineage(self) -> dict[str, Any]:
        """What it was made from and how it did; empty where the store does not know it."""
        if self.artifact is None:
            return {}
        return self.artifact.model_dump(
            mode="json", include={"kind", "digest", "parents", "licence", "metrics", "bytes"}
        )


class Catalogue:
    """The models `names`, or where none is named every model of the store, as it is now."""

    def __init__(self, names: Sequence[str], settings: ServeSettings, store: Store) -> None:
        self._names, self._settings, self.store = list(names), settings, store
        for name in names:  # a misspelt one should not wait for the first call
            if not is_address(name):
                places_of(name, store)

    @property
    def is_whole_store(self) -> bool:
        return not self._names

    def find(self, name: str) -> Offer | None:
        """The offer of that name, without its lineage: what every call asks for."""
        if self._names:
            return self._offer(name, {}) if name in self._names else self._step(name)
        try:
            artifact = self.store.get(name)
        except LangwrightError:
            there = self._has_model(name)
        else:
            there = artifact.name == name and artifact.kind == "model" and not artifact.dropped
        return Offer(name, name) if there else self._step(name)

    def names(self) -> list[str]:
        return list(self._names or self.offers())

    def offers(self) -> dict[str, Offer]:
        """By name. `base+adapter` is held beside the weights of `base` where both are named."""
        artifacts = {one.name: one for one in self.store.artifacts() if not one.dropped}
        if self._names:
            return {name: self._offer(name, artifacts) for name in self._names}
        found = [one.name for one in artifacts.values() if one.kind == "model"]
        found += [run.name for run in self.store.runs() if self._has_model(run.name)]
        return {name: self._offer(name, artifacts) for name in dict.fromkeys(found)}

    def _offer(self, name: str, artifacts: Mapping[str, Artifact]) -> Offer:
        base, plus, adapter = name.rpartition("+")
        if plus and base in self._names and not Path(name).exists():
            held = Path(adapter).name if "/" in adapter else adapter  # as `open_model` calls it
            return Offer(name, base, held, artifacts.get(adapter))
        return Offer(name, name, None, artifacts.get(name))

    def _step(self, name: str) -> Offer | None:
        """A step of a run that is followed, as `run@400`; None where the name is none such."""
        run, at, _ = name.partition("@")
        if not (self._settings.follow and at and self.find(run)):
            return None
        return Offer(name, name)

    def latest(self, name: str) -> str | None:
        """What a name means just now: of a run its latest checkpoint; None where that is gone."""
        try:
            return place_of(name, self.store, ("model",)).name
        except LangwrightError:
            return None

    def _has_model(self, run: str) -> bool:
        return any(one.name == run for one in self.store.runs()) and self.latest(run) is not None

    def bytes_of(self, base: str) -> int:
        """What its weights take at least, when they are loaded; 0 where only another program knows
        such a model."""
        if is_address(base):
            return 0
        try:
            sizes = describe(base, store=self.store)["weights_bytes"]
        except Unsupported:
            return 0
        return int(sizes.get(self._settings.dtype, min(sizes.values())))

    def open(self, base: str) -> Model:
        """Load a model of the catalogue, with the adapters that others of it name."""
        named = [(self._offer(name, {}), name.rpartition("+")[2]) for name in self._names]
        adapters = [said for one, said in named if one.base == base and one.adapter]
        if is_address(base):
            return open_model(base, store=self.store)
        from langwright.inference import EngineSettings
        from langwright.model.encoder import is_encoder

        place, added = places_of(base, self.store)
        if added is None and is_encoder(place.path):
            return open_model(base, store=self.store)  # it has but one dtype
        settings = EngineSettings(max_slots=self._settings.max_answers)
        how = self._settings
        try:
            return open_model(
                base,
                dtype=how.dtype,
                device=how.device,
                adapters=adapters,
                settings=settings,
                store=self.store,
            )
        except Unsupported:
            if adapters:
                raise
            return open_model(base, dtype=how.dtype, backend="transformers", store=self.store)
