"""Spelling to phonemes: the 2017 Transformer on the CMU pronouncing dictionary.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/phonemes.py [--steps 6000] [--svg FILE]

A tenth of the words is held out with all their variants. Printed are word and phoneme error on the
whole of it, of the model and of a baseline: letters aligned to phonemes by hard EM (a letter
gives none, one or two), and for each letter what it gave most often between the same neighbours,
four on each side or as many as were seen.

Whether cross-attention shows the alignment is measured on held-out words by two shares: of steps
whose centre of attention is not left of the one before, and of phonemes whose most attended letter
is the one that the aligner, which knows nothing of the model, gives. The second stands beside what
a straight line from the first letter to the last gives; looking everywhere alike gets the first.
The layer and heads that are drawn are those with the second highest on words of the training.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from langwright.errors import NotFound
from langwright.evaluation import Interval, bootstrap_ratio, wilson
from langwright.model.pairs import PairsModel, load_pairs_model
from langwright.store import Store, pull
from langwright.training import pairs
from langwright.training.epochs import held_out
from langwright.training.stages.pairs import Pair, nearest, read_pairs

SETTINGS = {
    "data": "cmudict", "validation_fraction": 0.1, "context_length": 32,
    "hidden_size": 128, "intermediate_size": 512, "num_layers": 3, "num_heads": 4,
    "dropout": 0.0, "tokens_per_step": 2048, "micro_batch_tokens": 1024,
    "learning_rate": 2e-3, "embedding_learning_rate": 2e-3, "schedule": "wsd",
    "warmup_steps": 200, "decay_fraction": 0.8, "final_learning_rate_fraction": 0.0,
    "precision": "float32", "eval_every": 2000, "checkpoint_every": 250,
}  # fmt: skip
DRAWN = {"phoneme": "F OW N IY M", "knight": "N AY T", "thought": "TH AO T",
         "xylophone": "Z AY L AH F OW N"}  # fmt: skip
NEIGHBOURS, MEASURED = 4, 500
Words = dict[str, list[tuple[str, ...]]]
"""Spelling -> its pronunciations."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--name", default="phonemes")
    parser.add_argument("--svg", type=Path, default=Path("docs/images/phonemes.svg"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    store = Store()
    try:
        data = store.get("cmudict")
    except NotFound:
        data = pull("cmudict", store=store)
    result = pairs(name=given.name, store=store, steps=given.steps, **SETTINGS)
    read = read_pairs(store.path(data) / "pairs.jsonl", 31)
    out = held_out([repr(pair.source).encode() for pair in read], 0.1)
    train, test = (
        by_word([pair for pair, held in zip(read, out, strict=True) if held == side])
        for side in (False, True)
    )
    print(f"{len(train):,} words to learn, {len(test):,} held out, {result['steps']:,} steps")
    metrics = store.run(given.name).read_metrics()
    print(f"{max(line.get('seconds', 0) for line in metrics):,.0f} s of training steps")

    aligner = Aligner([(word, targets[0]) for word, targets in train.items()])
    model = load_pairs_model(store.path(store.get(result["model"])))
    for neighbours in (0, NEIGHBOURS):
        most = Frequent(aligner, train, neighbours)
        name = f"baseline, {neighbours} neighbours"
        report(name, test, lambda words, most=most: [most.write(word) for word in words])
    for beams in (1, 4, 8):
        report(f"transformer, beams {beams}", test, lambda w, n=beams: model.write(w, beams=n))
    learnt = dict(list(train.items())[::55])
    report("the same, learnt words", learnt, lambda words: model.write(words, beams=4))
    print(f"the stage's own: {result['metrics']}")
    draw(given.svg, model, alignment(model, aligner, train, test), set(test))


def by_word(read: Sequence[Pair]) -> Words:
    words: Words = defaultdict(list)
    for pair in read:
        words["".join(pair.source)].append(pair.target)
    return dict(words)


def report(name: str, test: Words, write: Callable[[list[str]], Sequence[Sequence[str]]]) -> None:
    """Errors against the nearest of a word's pronunciations, with 95 % intervals."""
    started = time.perf_counter()
    written = write(list(test))
    seconds = time.perf_counter() - started
    found = [nearest(one, targets) for one, targets in zip(written, test.values(), strict=True)]
    edits, sizes = zip(*found, strict=True)
    word = wilson(sum(one > 0 for one in edits), len(found))
    phoneme = bootstrap_ratio(edits, sizes, seed=0)
    print(
        f"{name:24} WER {percent(word)}  PER {percent(phoneme)}  "
        f"n = {len(found):,} words, {sum(sizes):,} phonemes; {seconds:.0f} s",
        flush=True,
    )


Part = tuple[str, ...]
"""The phonemes of one letter: none, one or two."""


class Aligner:
    """Which letter gives which phonemes: hard EM over monotonic alignments."""

    def __init__(self, words: Sequence[tuple[str, Part]], rounds: int = 5) -> None:
        self._cost: dict[tuple[str, Part], float] = {}
        self._counts: dict[str, Counter[Part]] = defaultdict(Counter)
        sample = words[:: max(1, len(words) // 20_000)]
        for word, phonemes in sample:  # to begin with, what stands at the same place
            for i, letter in enumerate(word):
                self._counts[letter][()] += 0.2
                for j, phoneme in enumerate(phonemes):
                    far = abs((i + 0.5) / len(word) - (j + 0.5) / len(phonemes))
                    self._counts[letter][(phoneme,)] += math.exp(-8 * far)
        for _ in range(rounds):
            counts: dict[str, Counter[Part]] = defaultdict(Counter)
            for word, phonemes in sample:
                for letter, part in zip(word, self.align(word, phonemes) or [], strict=False):
                    counts[letter][part] += 1
            self._counts, self._cost = counts, {}

    def cost(self, letter: str, part: Part) -> float:
        found = self._cost.get((letter, part))
        if found is None:
            count, all_ = self._counts[letter][part], self._counts[letter].total()
            unseen = 10.0 ** -(2 * len(part) + 1)
            found = self._cost[letter, part] = -math.log((count + unseen) / (all_ + 1))
        return found

    def align(self, word: str, phonemes: Part) -> list[Part] | None:
        """What each letter gives; None where two a letter are too few (`w`, said "double u")."""
        size = len(phonemes)
        best = [0.0] + [math.inf] * size
        taken = []
        for letter in word:
            row, choice = [math.inf] * (size + 1), [0] * (size + 1)
            for end in range(size + 1):
                for width in range(min(2, end) + 1):
                    if best[end - width] < math.inf:
                        cost = best[end - width] + self.cost(letter, phonemes[end - width : end])
                        if cost < row[end]:
                            row[end], choice[end] = cost, width
            best = row
            taken.append(choice)
        if best[size] == math.inf:
            return None
        parts, end = [], size
        for choice in reversed(taken):
            parts.append(phonemes[end - choice[end] : end])
            end -= choice[end]
        return parts[::-1]


class Frequent:
    """The baseline: for each letter between its neighbours what it gave most often."""

    def __init__(self, aligner: Aligner, train: Words, neighbours: int) -> None:
        self._seen: dict[str, Counter[Part]] = defaultdict(Counter)
        self._neighbours = neighbours
        for word, targets in train.items():
            for target in targets:
                for i, part in enumerate(aligner.align(word, target) or []):
                    for context in self._contexts(word, i):
                        self._seen[context][part] += 1
        self._most = {context: parts.most_common(1)[0][0] for context, parts in self._seen.items()}

    def _contexts(self, word: str, i: int) -> list[str]:
        """The widest first; the letter itself between marks."""
        return [
            f"{word[max(0, i - n) : i]:_>{n}}<{word[i]}>{word[i + 1 : i + 1 + n]:_<{n}}"
            if n
            else f"<{word[i]}>"
            for n in range(self._neighbours, -1, -1)
        ]

    def write(self, word: str) -> list[str]:
        written: list[str] = []
        for i in range(len(word)):
            context = next((c for c in self._contexts(word, i) if c in self._most), None)
            written += self._most[context] if context else ()
        return written


def alignment(
    model: PairsModel, aligner: Aligner, train: Words, test: Words
) -> tuple[int, tuple[int, ...]]:
    """Measure each layer and head on words of the training, then the choice (a layer and its
    heads) on held-out ones; print both; returns the choice."""
    layers, heads = model.module.shape.num_layers, model.module.shape.num_heads
    every = tuple(range(heads))
    ways = [(layer, chosen) for layer in range(layers)
            for chosen in (every, *((head,) for head in every))]  # fmt: skip
    learnt = list(train.items())[:: len(train) // MEASURED][:MEASURED]
    shares = {way: ratio(shown(model, aligner, learnt, way), 2, 4).value for way in ways}
    for layer in range(layers):
        line = " ".join(f"{shares[layer, (head,)]:6.1%}" for head in every)
        print(f"layer {layer + 1}: all heads {shares[layer, every]:6.1%}, each {line}")
    choice = max(ways, key=lambda way: shares[way])
    fresh = list(test.items())[:: len(test) // MEASURED][:MEASURED]
    for way in dict.fromkeys([(layers - 1, every), choice]):
        rows = shown(model, aligner, fresh, way)
        print(f"layer {way[0] + 1}, heads {[head + 1 for head in way[1]]}, ", end="")
        print(f"{len(rows)} held-out words, {sum(row[4] for row in rows):,} phonemes:")
        print(f"  steps not backwards          {percent(ratio(rows, 0, 1))}")
        print(f"  phonemes on aligner's letter {percent(ratio(rows, 2, 4))}")
        print(f"  of a straight line           {percent(ratio(rows, 3, 4))}")
    return choice


def looks(model: PairsModel, word: str, target: Part, way: tuple[int, tuple[int, ...]]) -> Tensor:
    """[phonemes, letters], without the end's row."""
    return model.attention_heads(word, target)[way[0], list(way[1])].mean(0)[:-1]


def shown(
    model: PairsModel,
    aligner: Aligner,
    words: Sequence[tuple[str, list[Part]]],
    way: tuple[int, tuple[int, ...]],
) -> list[tuple[int, ...]]:
    """Of each word: steps not backwards, steps; phonemes whose most attended letter is the
    aligner's, the same for a straight line, phonemes."""
    rows = []
    for word, targets in words:
        target = targets[0]
        parts = aligner.align(word, target)
        if parts is None:
            continue
        weights_TS = looks(model, word, target, way)
        centre_T = weights_TS @ torch.arange(len(word), dtype=torch.float32)
        letters = [i for i, part in enumerate(parts) for _ in part]
        most = weights_TS.argmax(-1).tolist()
        line = [int((j + 0.5) * len(word) / len(target)) for j in range(len(target))]
        hits, straight = (
            sum(a == b for a, b in zip(one, letters, strict=True)) for one in (most, line)
        )
        forwards = int((centre_T.diff() >= 0).sum())
        rows.append((forwards, len(target) - 1, hits, straight, len(target)))
    return rows


def ratio(rows: Sequence[tuple[int, ...]], top: int, bottom: int) -> Interval:
    rows = [row for row in rows if row[bottom]]
    return bootstrap_ratio([row[top] for row in rows], [row[bottom] for row in rows], seed=0)


def percent(share: Interval) -> str:
    return f"{share.value:.2%} [{share.low:.2%} to {share.high:.2%}]"


CELL, GAP, LABEL = 22, 34, 30


def draw(path: Path, model: PairsModel, way: tuple[int, tuple[int, ...]], test: set[str]) -> None:
    """A map for each word: letters above, phonemes on the left, the darker the more attention."""
    shapes, left, bottom = [], 0, 0
    for word, phonemes in DRAWN.items():
        target = tuple(phonemes.split())
        print(f"{word}: {' '.join(model.write([word], beams=4)[0])}; held out: {word in test}")
        for i, letter in enumerate(word):
            shapes.append(_text(left + LABEL + (i + 0.5) * CELL, 16, letter))
        for j, (phoneme, row) in enumerate(
            zip(target, looks(model, word, target, way).tolist(), strict=True)
        ):
            top = LABEL - 4 + j * CELL
            shapes.append(_text(left + LABEL / 2, top + 15, phoneme))
            for i, weight in enumerate(row):
                shapes.append(
                    f'<rect x="{left + LABEL + i * CELL}" y="{top}" width="{CELL}" height="{CELL}" '
                    f'fill="#1f4e9c" fill-opacity="{weight:.3f}" stroke="#ddd"/>'
                )
            bottom = max(bottom, top + CELL)
        left += LABEL + len(word) * CELL + GAP
    size = f"{left - GAP + 8} {bottom + 8}"
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-4 -4 {size}" font-size="13" '
        'font-family="sans-serif" text-anchor="middle">\n'
        '<rect x="-4" y="-4" width="100%" height="100%" fill="#fff"/>\n'
        + "\n".join(shapes)
        + "\n</svg>\n",
        encoding="utf-8",
    )


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:g}" y="{y:g}">{text}</text>'


if __name__ == "__main__":
    main()
