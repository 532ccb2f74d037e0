"""Training and encoding of byte-level BPE, beside other libraries on the same text.

    .venv/bin/python benchmarks/tokenization.py train FILE.jsonl… [--megabytes 100] [--vocab 32768]
    .venv/bin/python benchmarks/tokenization.py encode FILE.jsonl… [--megabytes 8] [--rounds 5]

`train`: each trains on the same documents in a process of its own, which reports its time and its
peak memory; `rustbpe` and `gigabpe` run where they are installed (`pip install rustbpe gigabpe`).
`encode`: cl100k_base on documents of about 8 kB, in turn in one process, on one thread and as a
batch on all cores; the ratio to tiktoken is taken round by round. All give lists of ids but
quicktok's batch, which gives one array. `bpe_openai` and `quicktok` (`pip install bpe-openai
quicktok-v1`) run where they are installed. The ranks come from the store: `langwright pull
cl100k_base`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Encode = Callable[[list[str]], Any]

TRAIN = {
    "langwright": """
from langwright.tokens import train_tokenizer
trained = train_tokenizer("bpe", texts(), vocab)
done()
learnt = trained.vocab_size
""",
    "rustbpe": """
import rustbpe
from langwright.tokens.splits import SPLITS
trained = rustbpe.Tokenizer()
trained.train_from_iterator(texts(), vocab, pattern=SPLITS["qwen2"])
done()
learnt = trained.vocab_size
""",
    "gigabpe": """
import gigabpe
vocabulary, _ = gigabpe.train_bpe([path + ".txt"], vocab)
done()
learnt = len(vocabulary)
""",
}
FRAME = """
import json, resource, sys, time
path, vocab = sys.argv[1], int(sys.argv[2])
taken = []
def texts():
    with open(path, "rb") as lines:
        for line in lines:
            yield json.loads(line)["text"]
def done():
    taken.append(time.perf_counter() - started)
import langwright.tokens
started = time.perf_counter()
{body}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
print(taken[0], peak, learnt)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["train", "encode"])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--megabytes", type=float)
    parser.add_argument("--vocab", type=int, default=32_768)
    parser.add_argument("--rounds", type=int)
    given = parser.parse_args()
    if given.what == "train":
        training(given.files, given.megabytes or 100, given.vocab, given.rounds or 3)
    else:
        encoding(given.files, given.megabytes or 8, given.rounds or 5)


def training(files: list[Path], megabytes: float, vocab: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corpus.jsonl"
        size = 0
        # gigabpe reads its files itself, as plain text.
        with path.open("w", encoding="utf-8") as rows, Path(f"{path}.txt").open("w") as plain:
            for text in texts(files, megabytes):
                size += len(text.encode())
                rows.write(json.dumps({"text": text}) + "\n")
                plain.write(text)
        print(f"{size / 1e6:.1f} MB, vocabulary {vocab:,}, {os.cpu_count()} cores")
        results: dict[str, list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for name, body in TRAIN.items():
                if name == "langwright" or find_spec(name):
                    ran = subprocess.run(
                        [sys.executable, "-c", FRAME.format(body=body), str(path), str(vocab)],
                        stdout=subprocess.PIPE,
                        text=True,
                        check=True,
                    )
                    seconds, peak, learnt = map(float, ran.stdout.split())
                    results.setdefault(f"{name} ({learnt:,.0f} ids)", []).append((seconds, peak))
        for name, runs in results.items():
            seconds, peaks = zip(*runs, strict=True)
            print(f"{name:26} {spread(seconds)} s, peak {statistics.median(peaks):.0f} MB")


def encoding(files: list[Path], megabytes: float, rounds: int) -> None:
    pieces = [
        text[start : start + 8_000]
        for text in texts(files, megabytes)
        for start in range(0, len(text), 8_000)
    ]
    size = sum(len(piece.encode()) for piece in pieces) / 1e6
    print(f"cl100k_base, {size:.1f} MB in {len(pieces):,} documents, {os.cpu_count()} cores")
    libraries = encoders()
    for way, which in (("one thread", 0), ("all cores", 1)):
        speeds: dict[str, list[float]] = {name: [] for name in libraries}
        expected: list[list[int]] = libraries["tiktoken"][0](pieces)
        for number in range(rounds + 1):
            for name, ways in libraries.items():
                started = time.perf_counter()
                ids = ways[which](pieces)
                taken = time.perf_counter() - started
                if number == 0:  # warming up, and the check that all give the same
                    wrong = sum(list(a) != b for a, b in zip(as_lists(ids), expected, strict=True))
                    if wrong:
                        print(f"{name}: ids of {wrong:,} documents differ from tiktoken's")
                else:
                    speeds[name].append(size / taken)
        for name, values in speeds.items():
            ratios = [a / b for a, b in zip(values, speeds["tiktoken"], strict=True)]
            print(f"{way:10} {name:12} {spread(values)} MB/s, {spread(ratios)} times tiktoken")


def encoders() -> dict[str, tuple[Encode, Encode]]:
    """Library -> how it encodes many texts on one thread, and on all cores."""
    import tiktoken
    from tokenizers import Tokenizer

    from langwright.providers.open import load_tokenizer
    from langwright.tokens.known import RankTokenizer

    ours = load_tokenizer("cl100k_base")
    assert isinstance(ours, RankTokenizer)
    # tiktoken as it comes: its own pattern, the same ranks.
    theirs = tiktoken.Encoding(
        "cl100k_base",
        pat_str=r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+|"
        r" ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
        mergeable_ranks=dict(ours._ranks),
        special_tokens=ours.special,
    )
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        ours.save(Path(folder) / "tokenizer.json")
        hugging = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    found: dict[str, tuple[Encode, Encode]] = {
        "tiktoken": (
            lambda texts: [theirs.encode_ordinary(text) for text in texts],
            lambda texts: theirs.encode_ordinary_batch(texts, num_threads=cores),
        ),
        "langwright": (
            lambda texts: [ours.encode(text) for text in texts],
            ours.encode_batch,
        ),
        "tokenizers": (
            lambda texts: [hugging.encode(text).ids for text in texts],
            lambda texts: [one.ids for one in hugging.encode_batch_fast(texts)],
        ),
    }
    if find_spec("bpe_openai"):
        import bpe_openai

        github = bpe_openai.get_encoding("cl100k_base")
        found["bpe_openai"] = (
            lambda texts: [github.encode_ordinary(text) for text in texts],
            lambda texts: github.encode_ordinary_batch(texts, num_threads=cores),
        )
    if find_spec("quicktok"):
        import quicktok

        quick = quicktok.get_encoding("cl100k_base")
        found["quicktok"] = (
            lambda texts: [quick.encode_ordinary(text) for text in texts],
            lambda texts: quick.encode_batch(texts, threads=cores),
        )
    return found


def as_lists(ids: Any) -> Iterator[list[int]]:
    if isinstance(ids, tuple):  # quicktok's batch: all ids, and where each text begins
        for start, end in zip(ids[1][:-1], ids[1][1:], strict=True):
            yield ids[0][start:end].tolist()
    else:
        yield from ids


def spread(values: list[float] | tuple[float, ...]) -> str:
    return f"{statistics.median(values):6.2f} [{min(values):.2f} to {max(values):.2f}]"


def texts(files: list[Path], megabytes: float) -> Iterator[str]:
    left = megabytes * 1e6
    for file in files:
        with file.open("rb") as lines:
            for line in lines:
                text = json.loads(line)["text"]
                yield text
                left -= len(text.encode())
                if left <= 0:
                    return


if __name__ == "__main__":
    main()
