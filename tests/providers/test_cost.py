"""What a text costs, against the providers' published prices per million tokens."""

from __future__ import annotations

import gzip
import importlib.resources
from pathlib import Path

import pytest

import langwright as lw
from langwright.errors import BadInput, NotFound
from langwright.store import Store


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> Store:
    pytest.importorskip("bpe_openai", reason="bpe-openai, which ships the ranks, is missing")
    pytest.importorskip("genai_prices", reason="genai-prices is missing")
    store = Store(tmp_path_factory.mktemp("priced"))
    shipped = importlib.resources.files("bpe_openai") / "data"
    for name in ("cl100k_base", "o200k_base"):
        with store.writing(name, "tokenizer") as draft:
            ranks = gzip.decompress((shipped / f"{name}.tiktoken.gz").read_bytes())
            (draft.folder / f"{name}.tiktoken").write_bytes(ranks)
    return store


def test_prices_are_the_published_ones(priced: Store, data: Path) -> None:
    """gpt-4o: 2.50 and 10 dollars a million tokens; gpt-4: 30 and 60."""
    text = (data / "tinyshakespeare" / "input.txt").read_text()[:100_000]
    found = lw.cost(text, ["gpt-4o", "openai/gpt-4"], output_tokens=1000, store=priced)
    assert found["bytes"] == len(text.encode())
    for one, encoding, paid_in, paid_out in zip(
        found["models"], ("o200k_base", "cl100k_base"), (2.5, 30), (10, 60), strict=True
    ):
        count = lw.tokens(text, [encoding], store=priced)["encodings"][0]["count"]
        assert (one["encoding"], one["exact"], one["input_tokens"]) == (encoding, True, count)
        assert one["input_price_usd"] == pytest.approx(count * paid_in / 1e6)
        assert one["output_price_usd"] == pytest.approx(1000 * paid_out / 1e6)
        total = one["input_price_usd"] + one["output_price_usd"]
        assert one["total_price_usd"] == pytest.approx(total)
    assert found["prices"]["source"] == "genai-prices"


def test_a_count_for_a_model_without_public_tokenizer_is_an_estimate(priced: Store) -> None:
    (one,) = lw.cost("Hello world", ["anthropic/claude-sonnet-4-5"], store=priced)["models"]
    assert (one["provider"], one["exact"], one["encoding"]) == ("anthropic", False, "o200k_base")
    assert one["input_tokens"] == 2


def test_what_cannot_be_priced_is_an_error(priced: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="gpt-4oo") as unknown:
        lw.cost("a", ["gpt-4oo"], store=priced)
    assert "gpt-4o" in unknown.value.remedy
    with pytest.raises(BadInput):
        lw.cost("a", [], store=priced)
    with pytest.raises(BadInput):
        lw.cost("a", ["gpt-4o"], output_tokens=-1, store=priced)
    with pytest.raises(NotFound) as missing:
        lw.cost("a", ["gpt-4o"], store=Store(tmp_path))
    assert "langwright pull o200k_base" in missing.value.remedy
