"""Packing: trained tokens / paid tokens of four ways to fill rows, and what attention costs.

    .venv/bin/python benchmarks/packing.py [DOCUMENTS.jsonl | TEXT.txt]… [--lengths 256 2048]
    .venv/bin/python benchmarks/packing.py --attention [--rounds 7]

Two shares are told apart. *Compute*: trained targets / positions that pass through the model.
*Corpus*: different tokens trained in an epoch / tokens of the corpus. A token that is thrown away
was paid for as well (it was gathered, cleaned and encoded), so *trained / paid* divides the tokens
trained by the larger of the two: positions computed, or tokens taken off the corpus.

Documents are those that training sees (`split.cut`), an end after each, encoded with a vocabulary
of 4,096 trained on them, as the recipes do; without files, the corpus wikipedia-summaries. The
cropping packer does, on the same documents, what nanochat's `dataloader.py` says of itself, with
its buffer of 1,000 filled 128 at a time and, like it, epoch after epoch.
"""

from __future__ import annotations

import argparse
import statistics
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import chain, count, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from langwright.model.attention import attend_apart
from langwright.store import Store
from langwright.text import Document, Packing, normalise, open_corpus, read_documents
from langwright.text.split import cut
from langwright.tokens import train_bpe

BUFFER, BATCH = 1000, 128
EPOCHS = 5
Share = tuple[float, float, float]
"""Of compute, of the corpus, trained / paid."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--lengths", nargs="+", type=int, default=[256, 2048])
    parser.add_argument("--attention", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    if given.attention:
        attention(given.rounds)
        return
    ways: dict[str, Callable[[list[int], int], Share]] = {
        "best-fit, nothing cropped (default)": ours,
        "best-fit with cropping (nanochat)": cropping,
        "one document a row, padded": padding,
        "concatenated and chopped": chopping,
    }
    for name, sizes in corpora(given.files):
        print(f"\n{name}: {len(sizes):,} documents, {sum(sizes):,} tokens, ", end="")
        print(f"median {statistics.median(sizes):.0f}, longest {max(sizes):,}")
        for length in given.lengths:
            print(f"  context {length:<28} compute   corpus   trained / paid")
            for way, measure in ways.items():
                compute, corpus, paid = measure(sizes, length)
                print(f"    {way:38} {compute:6.2%}  {corpus:6.2%}   {paid:6.2%}")


def corpora(files: Sequence[Path]) -> list[tuple[str, list[int]]]:
    """Tokens of each document, its end included."""
    folders = {str(file): file for file in files}
    if not files:
        store = Store()
        folders["wikipedia-summaries"] = store.path(open_corpus("wikipedia-summaries", store))
    result = []
    for name, path in folders.items():
        texts = [part.full_text for document in documents(path) for part in cut(document)]
        rows = train_bpe(texts, 4096).encode_batch(texts)
        result.append((name, [len(row) + 1 for row in rows]))
    return result


def documents(path: Path) -> list[Document]:
    """Of wikitext, an article each; of other files, what `read_documents` finds."""
    if path.parent.name != "wikitext2":
        return [
            Document(normalise(one.text), one.source, one.title) for one in read_documents(path)
        ]
    articles: list[list[str]] = [[]]
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.startswith(" = ") and not line.startswith(" = = "):
            articles.append([])
        articles[-1].append(line)
    texts = ("".join(lines).strip() for lines in articles)
    return [Document(text, f"{path}#{number}") for number, text in enumerate(texts) if text]


def ours(sizes: list[int], length: int) -> Share:
    offsets = np.cumsum([0, *sizes])
    packing = Packing(np.zeros(offsets[-1], dtype=np.uint8), offsets, length, seed=0)
    trained = packing.tokens_before(packing.num_rows)
    paid = packing.num_rows * length
    return trained / paid, trained / sum(sizes), trained / max(paid, sum(sizes))


def cropping(sizes: list[int], length: int) -> Share:
    """Rows of `length` + 1 tokens from a buffer of whole documents: the longest that fits; where
    none does, the shortest, cropped, its end thrown away. Over at least `EPOCHS` epochs."""
    numbers = np.random.default_rng(0)
    documents = chain.from_iterable(numbers.permutation(sizes).tolist() for _ in count())
    buffer: list[int] = []
    rows = taken = 0
    while taken < EPOCHS * sum(sizes):
        room = length + 1
        while room:
            if len(buffer) < BUFFER:
                buffer = sorted([*buffer, *islice(documents, BATCH)])
            fitting = bisect_right(buffer, room)
            chosen = buffer.pop(max(0, fitting - 1))
            room, taken = room - min(room, chosen), taken + chosen
        rows += 1
    # The first token of a row is never a target.
    return 1.0, rows * length / taken, rows * length / taken


def padding(sizes: list[int], length: int) -> Share:
    """Documents longer than a row in pieces, as ours."""
    rows = sum(-(-size // length) for size in sizes)
    trained = sum(sizes)
    return trained / (rows * length), 1.0, trained / (rows * length)


def chopping(sizes: list[int], length: int) -> Share:
    """The stream cut everywhere alike: documents stand in each other's context, and most begin in
    the middle."""
    rows = sum(sizes) // length
    return 1.0, rows * length / sum(sizes), rows * length / sum(sizes)


def attention(rounds: int) -> None:
    """Forward and backward of one layer's attention, 4,096 tokens: milliseconds, in turn."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for dtype in (torch.float32, torch.bfloat16):
        for rows, length, heads, dim, mean in ((16, 256, 6, 32, 100), (2, 2048, 6, 64, 300)):
            lengths = cut_rows(rows, length, mean)
            owner = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
            owner = owner.view(rows, 1, length, 1)
            mask = (owner == owner.transpose(-1, -2)) & torch.ones(length, length).tril().bool()
            shape = (rows, heads, length, dim)
            qkv = [torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(3)]
            ways: dict[str, Callable[[], Tensor]] = {
                "plain causal (sees everything)": lambda q=qkv: F.scaled_dot_product_attention(
                    *q, is_causal=True
                ),
                "mask": lambda q=qkv, m=mask: F.scaled_dot_product_attention(*q, attn_mask=m),
                "each document apart (ours)": lambda q=qkv, n=lengths: attend_apart(*q, n),
            }
            taken: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(rounds + 1):
                for name, way in ways.items():
                    started = time.perf_counter()
                    way().sum().backward()
                    taken[name].append((time.perf_counter() - started) * 1e3)
            print(f"{dtype}, {rows} rows of {length}, {len(lengths)} documents")
            for name, times in taken.items():
                times = times[1:]
                spread = f"[{min(times):.1f} to {max(times):.1f}]"
                print(f"    {name:32} {statistics.median(times):7.1f} ms {spread}")


def cut_rows(rows: int, length: int, mean: int) -> list[int]:
    numbers = np.random.default_rng(0)

    def one() -> list[int]:
        cuts = np.unique(numbers.integers(1, length, max(1, length // mean)))
        return np.diff(cuts, prepend=0, append=length).tolist()

    return list(chain.from_iterable(one() for _ in range(rows)))


if __name__ == "__main__":
    main()
