"""Byte-pair encoding as one can read it (Sennrich et al. 2016, algorithm 1).

The fast trainer is `tokenizers`; this one states what it must give: the merge lists are equal.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

Pair = tuple[int, int]


def learn_merges(
    pieces: Mapping[bytes, int], num_merges: int, alphabet: Sequence[int] = range(256)
) -> list[Pair]:
    """The first `num_merges` merges of the `pieces` (each with how often it occurs), as pairs of
    ids: ids below 256 are the bytes in the order of `alphabet`, and merge m makes 256 + m.

    The most frequent pair is merged next; of equally frequent ones that with the smallest
    (left id, right id). Fewer merges come back where no pair is left.
    """
    id_of = {byte: index for index, byte in enumerate(alphabet)}
    words = [[id_of[byte] for byte in piece] for piece in pieces]
    times = list(pieces.values())
    counts: dict[Pair, int] = defaultdict(int)
    places: dict[Pair, set[int]] = defaultdict(set)
    for place, word in enumerate(words):
        for pair in pairwise(word):
            counts[pair] += times[place]
            places[pair].add(place)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)

    merges: list[Pair] = []
    while heap and len(merges) < num_merges:
        count, best = heapq.heappop(heap)
        if -count != counts[best]:  # it has changed since, and stands elsewhere in the heap
            continue
        touched: set[Pair] = set()
        for place in places.pop(best):
            before, after = words[place], merge(words[place], best, 256 + len(merges))
            for pair in pairwise(before):
                counts[pair] -= times[place]
                touched.add(pair)
            for pair in pairwise(after):
                counts[pair] += times[place]
                places[pair].add(place)
                touched.add(pair)
            words[place] = after
        merges.append(best)
        for pair in touched - {best}:
            if counts[pair] > 0:
                heapq.heappush(heap, (-counts[pair], pair))
    return merges


def encode(piece: bytes, merges: Iterable[Pair], alphabet: Sequence[int] = range(256)) -> list[int]:
    """The ids of one piece: every merge in turn, in the order in which they were learnt."""
    id_of = {byte: index for index, byte in enumerate(alphabet)}
    ids = [id_of[byte] for byte in piece]
    for number, pair in enumerate(merges):
        ids = merge(ids, pair, 256 + number)
    return ids


def merge(ids: Sequence[int], pair: Pair, made: int) -> list[int]:
    """`ids` with each `pair`, from the left, replaced by `made`."""
    merged: list[int] = []
    place = 0
    while place < len(ids):
        if tuple(ids[place : place + 2]) == pair:
            merged.append(made)
            place += 2
        else:
            merged.append(ids[place])
            place += 1
    return merged
