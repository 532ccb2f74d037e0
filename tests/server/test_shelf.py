"""Models within a bound of memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from langwright.errors import Busy, Unsupported
from langwright.model import ModelBundle
from langwright.model.folder import save_folder
from langwright.providers import Model
from langwright.server.catalogue import Catalogue
from langwright.server.metrics import Metrics
from langwright.server.settings import ServeSettings
from langwright.server.shelf import GB, Shelf
from langwright.store import Store

Make = Callable[..., tuple[Shelf, list[str], list[int]]]


@pytest.fixture
def make(small: ModelBundle, tmp_path: Path, store: Store) -> Make:
    """A shelf with room for so many of three equal models; their names; and how many were in
    memory each time that one was loaded."""
    names = [str(tmp_path / name) for name in "abc"]
    for name in names:
        Path(name).mkdir()
        save_folder(Path(name), small)
    size = sum(one.nbytes for one in small.module.parameters())

    def make(room: float) -> tuple[Shelf, list[str], list[int]]:
        settings = ServeSettings(memory_gb=room * size / GB)
        catalogue = Catalogue(names, settings, store)
        before: list[int] = []

        def opened(name: str) -> Model:
            before.append(len(shelf.loaded()))
            return catalogue.open(name)

        shelf = Shelf(opened, catalogue.bytes_of, settings, Metrics())
        return shelf, names, before

    return make


def test_room_is_made_before_a_model_is_loaded(make: Make) -> None:
    shelf, (a, b, c), before = make(2.5)

    async def ask(*names: str) -> None:
        for name in names:
            async with shelf.use(name):
                pass

    asyncio.run(ask(a, b, a, c))
    assert [one.key for one in shelf.loaded()] == [a, c]  # b was longest idle
    assert before == [0, 1, 1]
    shelf.close()


def test_what_answers_stays(make: Make) -> None:
    shelf, (a, b, _), before = make(1.5)

    async def ask() -> None:
        async with shelf.use(a):
            with pytest.raises(Busy, match="no memory"):
                async with shelf.use(b):
                    pass
        async with shelf.use(b):
            assert [one.key for one in shelf.loaded()] == [b]

    asyncio.run(ask())
    assert before == [0, 0]  # b was not read in vain
    shelf.close()


def test_two_that_come_at_once_do_not_both_take_the_room_for_one(make: Make) -> None:
    shelf, (a, b, _), before = make(1.5)

    async def use(name: str) -> None:
        async with shelf.use(name):
            pass

    async def both() -> None:
        await asyncio.gather(use(a), use(b))

    asyncio.run(both())
    assert len(shelf.loaded()) == 1
    assert before == [0, 0]
    shelf.close()


def test_what_never_fits_is_not_read(make: Make) -> None:
    shelf, (a, _, _), before = make(0.5)

    async def ask() -> None:
        async with shelf.use(a):
            pass

    with pytest.raises(Unsupported, match="GB of memory; the server is given"):
        asyncio.run(ask())
    assert before == []
    shelf.close()


def test_a_model_that_only_another_program_knows_may_have_any_size(
    tmp_path: Path, store: Store
) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/config.json").write_text('{"model_type": "mamba"}')
    (tmp_path / "odd/model.safetensors").write_bytes(b"")
    name = str(tmp_path / "odd")
    assert Catalogue([name], ServeSettings(memory_gb=1), store).bytes_of(name) == 0
