"""What a text costs as the input of providers' models."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from langwright.errors import BadInput, NotFound, Unsupported, suggest
from langwright.providers.open import load_tokenizer
from langwright.store import Store

ESTIMATE = "o200k_base"
"""Counts for models whose tokenizer is not public."""


def cost(
    text: str, models: Sequence[str], *, output_tokens: int = 0, store: Store | None = None
) -> dict[str, Any]:
    """`langwright cost`: tokens of `text` and its price in US dollars for each of `models`, which
    go by their providers' names, with or without the provider (`gpt-4o`,
    `anthropic/claude-sonnet-4-5`).

    Prices are those of the installed `genai-prices` for today. A count is `exact` where the model's
    encoding is public; else it is that of `o200k_base`, an estimate. Of the input nothing is taken
    to be cached, and what a chat format adds is not counted.

    Raises `NotFound` for a model without a price, `Unsupported` without the extra `cost`.
    """
    try:
        import genai_prices
        from genai_prices.data import providers
    except ImportError:
        raise Unsupported(
            "Prices need the package genai-prices.", remedy="pip install 'langwright[cost]'"
        ) from None
    from langwright.tokens import KNOWN, encoding_for  # here, as in `open`

    if not models:
        raise BadInput("No model is named.", remedy="Name one with --model, such as gpt-4o.")
    if output_tokens < 0:
        raise BadInput(f"output_tokens is {output_tokens}.", remedy="Give 0 or more.")
    store = store or Store()
    counts: dict[str, int] = {}
    rows = []
    for model in models:
        provider, slash, short = model.partition("/")
        named = {entry.id for entry in providers}
        asked = (short, provider) if slash and provider in named else (model, None)
        encoding = encoding_for(model)
        exact = encoding in KNOWN
        used = encoding if encoding is not None and exact else ESTIMATE
        if used not in counts:
            counts[used] = len(load_tokenizer(used, store=store).encode(text))
        usage = genai_prices.Usage(input_tokens=counts[used], output_tokens=output_tokens)
        try:
            found = genai_prices.calc_price(usage, asked[0], provider_id=asked[1])
        except LookupError:
            names = [one.id for entry in providers for one in entry.models]
            raise NotFound(
                f"There is no price for '{model}'.", remedy=suggest(asked[0], names)
            ) from None
        rows.append(
            {
                "model": found.model.id,
                "provider": found.provider.id,
                "encoding": used,
                "exact": exact,
                "input_tokens": counts[used],
                "output_tokens": output_tokens,
                "input_price_usd": float(found.input_price),
                "output_price_usd": float(found.output_price),
                "total_price_usd": float(found.total_price),
            }
        )
    version = genai_prices.__version__
    date = datetime.date.today().isoformat()
    return {
        "bytes": len(text.encode()),
        "models": rows,
        "prices": {"source": "genai-prices", "version": version, "date": date},
    }
