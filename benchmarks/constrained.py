"""Constrained decoding on jsonschemabench (guidance-ai/jsonschemabench): what is compiled, whether
every answer that ends by itself validates, and microseconds per token.

    python benchmarks/constrained.py MODEL [--schemas 500] [--with-model 40]

The folder `jsonschemabench` is looked for in LANGWRIGHT_PEERS. Schemas are an even sample of
maskbench's. First they are driven with random logits over the model's tokens, then some with the
model itself.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import jsonschema
import torch
from jsonschema.validators import validator_for

import langwright as lw
from langwright.backend import Constraint, Request, Sampling
from langwright.errors import BadInput
from langwright.inference.constraint import Grammars


def sample(count: int) -> list[tuple[str, Any]]:
    folder = Path(os.environ.get("LANGWRIGHT_PEERS", ".")) / "jsonschemabench/maskbench/data"
    files = sorted(folder.glob("*.json"))
    if not files:
        raise SystemExit(f"{folder} holds no schemas; set LANGWRIGHT_PEERS.")
    chosen = [files[index * len(files) // count] for index in range(count)]
    return [(path.stem, json.loads(path.read_text())["schema"]) for path in chosen]


def valid(schema: Any, text: str) -> bool | None:
    """None where the oracle cannot read the schema."""
    kind = validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
        return bool(kind(schema).is_valid(json.loads(text)))
    except json.JSONDecodeError:
        return False
    except Exception:
        return None


def random_logits(model: lw.Model, schemas: list[tuple[str, Any]], limit: int) -> None:
    tokenizer, ends = model.tokenizer, model.bundle.end_ids
    begun = time.perf_counter()
    grammars = Grammars(tokenizer, ends)
    print(f"tokens prepared in {time.perf_counter() - begun:.2f} s")
    generator = torch.Generator().manual_seed(0)
    refused, cut, wrong, unknown, right, failed = 0, 0, [], 0, 0, 0
    compile_s, token_s = [], []
    for name, schema in schemas:
        begun = time.perf_counter()
        try:
            matcher = grammars.matcher(Constraint(json_schema=schema))
        except BadInput:
            refused += 1
            continue
        finally:
            compile_s.append(time.perf_counter() - begun)
        drawn: list[int] = []
        while len(drawn) < limit and not matcher.complete:
            logits = torch.randn(tokenizer.vocab_size, generator=generator)
            begun = time.perf_counter()
            masked = matcher.masked(logits)
            token_s.append(time.perf_counter() - begun)
            token = int(masked.argmax())
            if token in ends:
                break
            drawn.append(token)
            begun = time.perf_counter()
            matcher.drew(token)
            token_s[-1] += time.perf_counter() - begun
            if matcher.error:
                failed += 1
                break
        else:
            if not matcher.complete:
                cut += 1
                continue
        if matcher.error:
            continue
        verdict = valid(schema, tokenizer.decode(drawn))
        if verdict is None:
            unknown += 1
        elif verdict:
            right += 1
        else:
            wrong.append(name)
    total = len(schemas)
    us = sorted(1e6 * value for value in token_s)
    print(f"random logits: {total} schemas, compiled {(total - refused) / total:.1%}")
    print(f"  ended by itself: {right} valid, {len(wrong)} not {wrong}, {unknown} not decidable")
    print(f"  cut at {limit} tokens: {cut}; ended by a limit of the parser: {failed}")
    print(
        f"  {len(us)} tokens, us a token: mean {statistics.fmean(us):.0f}, median "
        f"{us[len(us) // 2]:.0f}, p99 {us[len(us) * 99 // 100]:.0f}; to compile, ms: median "
        f"{1e3 * statistics.median(compile_s):.1f}, greatest {1e3 * max(compile_s):.0f}"
    )


def with_model(model: lw.Model, schemas: list[tuple[str, Any]], limit: int) -> None:
    right, wrong, cut, unknown, refused = 0, [], 0, 0, 0
    for name, schema in schemas:
        asked = f"Give an example of JSON for this schema:\n{json.dumps(schema)[:1500]}"
        request = Request(
            messages=[{"role": "user", "content": asked}],
            constraint=Constraint(json_schema=schema),
            max_tokens=limit,
            sampling=Sampling(0.7, seed=1),
        )
        text, reason = "", None
        try:
            for event in model.backend.generate([request]):
                text, reason = text + event.text, event.finish_reason
        except BadInput:
            refused += 1
            continue
        if reason != "stop":
            cut += 1
            continue
        verdict = valid(schema, text)
        right, unknown = right + (verdict is True), unknown + (verdict is None)
        wrong += [name] if verdict is False else []
    print(
        f"with {model.name}: {len(schemas)} schemas, {refused} refused, {right} valid, "
        f"{len(wrong)} not {wrong}, {unknown} not decidable, {cut} cut at {limit} tokens"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--schemas", type=int, default=500)
    parser.add_argument("--with-model", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=200)
    given = parser.parse_args()
    model = lw.load(given.model)
    schemas = sample(given.schemas)
    random_logits(model, schemas, given.tokens)
    step = max(1, len(schemas) // max(1, given.with_model))
    with_model(model, schemas[::step][: given.with_model], 120)


if __name__ == "__main__":
    main()
