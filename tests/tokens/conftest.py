from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from langwright.errors import NetworkMissing
from langwright.store.artifact import sha256_of
from langwright.store.wheel import Wheel, download

TRL = "trl==1.16.0"
"""Apache-2.0; among its files are the chat templates of many models, as their authors ship them."""
TRL_SHA256 = "c4726e139dd40e1a41661511c639c8a68416782b2e3e8c0befebd77bb7ba0396"


@pytest.fixture(scope="session")
def trl_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, read as an archive and never installed; kept between runs of the tests."""
    kept = platformdirs.user_cache_path("langwright-tests", appauthor=False) / "trl-1.16.0.whl"
    if not kept.exists():
        try:
            found = download(TRL, tmp_path_factory.mktemp("trl"), None)
        except NetworkMissing as error:
            pytest.skip(f"{TRL} cannot be fetched: {error}")
        kept.parent.mkdir(parents=True, exist_ok=True)
        aside = kept.with_suffix(f".{tmp_path_factory.getbasetemp().name}")
        aside.write_bytes(found.read_bytes())
        aside.replace(kept)
    assert sha256_of(kept) == TRL_SHA256
    return kept


@pytest.fixture(scope="session")
def sources(trl_wheel: Path) -> dict[str, str]:
    """Name -> Jinja text of the models' own chat templates, and of TRL's marked ones."""
    names = ("llama3_1", "qwen3", "gemma3", "gptoss", "qwen3_training", "gemma3_training")
    with Wheel(trl_wheel) as wheel:
        return {name: wheel.read(f"trl/chat_templates/{name}.jinja").decode() for name in names}
