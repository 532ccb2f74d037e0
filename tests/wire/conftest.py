from __future__ import annotations

from collections.abc import Iterator

import pytest

from .given import Served


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    with Served() as server:
        yield server
