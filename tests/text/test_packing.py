from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langwright.errors import BadInput, BadSettings
from langwright.text import PackedRow, Packing
from langwright.text.packing import best_fit

END = 0


def stream(sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Documents of so many tokens, the end included; all other tokens are their own places."""
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    tokens = np.arange(1, offsets[-1] + 1)
    tokens[offsets[1:] - 1] = END
    return tokens, offsets


@st.composite
def packings(draw: st.DrawFn) -> Packing:
    length = draw(st.integers(1, 12))
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=60))
    sizes[0] = max(sizes[0], length)
    return Packing(*stream(sizes), length, draw(st.integers(0, 2**40)), draw(st.integers(0, 3)))


def epoch(packing: Packing, number: int = 0) -> list[PackedRow]:
    first = number * packing.num_rows
    return [packing.row(first + place) for place in range(packing.num_rows)]


@given(packings(), st.integers(0, 3))
def test_an_epoch_trains_every_token_once_behind_the_one_before_it(
    packing: Packing, number: int
) -> None:
    pairs: Counter[tuple[int, int]] = Counter()
    for row in epoch(packing, number):
        assert 1 <= sum(row.lengths) == len(row.inputs) == len(row.targets)
        assert len(row.inputs) <= packing.context_length
        pairs.update(zip(row.inputs.tolist(), row.targets.tolist(), strict=True))
    tokens = packing.tokens.tolist()
    # The first document follows an end as well, that of the last.
    assert pairs == Counter(pairwise([END, *tokens]))
    assert packing.efficiency == len(tokens) / (packing.num_rows * packing.context_length)


@given(packings())
def test_no_piece_holds_tokens_of_two_documents(packing: Packing) -> None:
    for row in epoch(packing):
        for inputs, targets in (
            (row.inputs[end - size : end], row.targets[end - size : end])
            for size, end in zip(row.lengths, np.cumsum(row.lengths), strict=True)
        ):
            # An end is read only first, and foretold only last: nothing comes from behind it.
            assert END not in inputs[1:]
            assert END not in targets[:-1]
            assert np.array_equal(inputs[1:], targets[:-1])


@given(packings())
def test_only_documents_longer_than_a_row_are_cut(packing: Packing) -> None:
    length = packing.context_length
    pieces = Counter[int]()
    for size in np.diff(np.flatnonzero(packing.tokens == END), prepend=-1).tolist():
        pieces[length] += size // length
        pieces[size % length] += 1
    found = Counter(size for row in epoch(packing) for size in row.lengths)
    assert found == Counter({size: count for size, count in pieces.items() if size and count})


def rooms_one_by_one(sizes: list[int], length: int) -> list[int]:
    """Best-fit decreasing as the textbooks have it: the room that each row is left with."""
    rooms: list[int] = []
    for size in sorted(sizes, reverse=True):
        fitting = [row for row, room in enumerate(rooms) if room >= size]
        if fitting:
            rooms[min(fitting, key=lambda row: rooms[row])] -= size
        else:
            rooms.append(length - size)
    return sorted(rooms)


@given(st.lists(st.integers(1, 30), max_size=300), st.integers(30, 50))
def test_rows_are_those_of_best_fit_decreasing_one_piece_at_a_time(
    sizes: list[int], length: int
) -> None:
    counts = np.bincount(sizes, minlength=length + 1).tolist()
    rooms, placed = [], Counter[int]()
    for rows, pattern in best_fit(counts, length):
        rooms += [length - sum(size * many for size, many in pattern)] * rows
        placed.update({size: 0 for size, _ in pattern})
        for size, many in pattern:
            placed[size] += many * rows
    assert sorted(rooms) == rooms_one_by_one(sizes, length)
    assert placed == Counter(sizes)


def test_best_fit_decreasing_by_hand() -> None:
    """7 3 | 6 4 | 5 5 | 5: the 3 goes to the fullest row with room, and none is cut."""
    assert sorted(best_fit([0, 0, 0, 1, 1, 3, 1, 1, 0, 0, 0], 10)) == [
        (1, ((5, 1),)),
        (1, ((5, 2),)),
        (1, ((6, 1), (4, 1))),
        (1, ((7, 1), (3, 1))),
    ]


def test_rows_of_pieces_without_number_are_planned_at_once() -> None:
    """The work depends on the lengths alone; a pass over the pieces would take hours."""
    counts = [0, *range(10**9, 10**9 + 2048)]
    started = time.process_time()
    groups = best_fit(counts, 2048)
    assert time.process_time() - started < 5
    tokens = sum(length * count for length, count in enumerate(counts))
    paid = sum(rows for rows, _ in groups) * 2048
    assert tokens <= paid < tokens * 1.001


@given(packings(), st.data())
def test_a_row_does_not_depend_on_history(packing: Packing, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, 1000))
    expected = packing.row(index)
    for other in data.draw(st.lists(st.integers(0, 1000), max_size=4)):
        packing.row(other)
    again = packing.row(index)
    assert np.array_equal(again.targets, expected.targets)
    assert again.lengths == expected.lengths


@given(packings(), st.integers(0, 100))
def test_tokens_before_a_row_are_counted_without_reading_them(packing: Packing, index: int) -> None:
    read = sum(len(packing.row(place).targets) for place in range(index))
    assert packing.tokens_before(index) == read


@given(packings(), st.integers(0, 40), st.data())
def test_what_is_left_out_is_in_no_row_and_all_else_stays_where_it_was(
    packing: Packing, index: int, data: st.DataObject
) -> None:
    documents = len(packing._offsets) - 1
    gone = set(data.draw(st.lists(st.integers(0, documents - 1), max_size=documents)))
    length = packing.context_length
    seed, stream_ = packing._key
    without = Packing(packing.tokens, packing._offsets, length, seed, stream_, gone)
    assert without.num_rows == packing.num_rows
    row, less = packing.row(index), without.row(index)
    kept = [number not in gone for number in packing.documents(index)]
    assert without.documents(index) == [n for n in packing.documents(index) if n not in gone]
    assert less.lengths == tuple(
        size for size, stays in zip(row.lengths, kept, strict=True) if stays
    )
    places = np.repeat(kept, row.lengths)
    assert less.inputs.tolist() == row.inputs[places].tolist()
    assert less.targets.tolist() == row.targets[places].tolist()
    before = [len(without.row(place).targets) for place in range(index)]
    assert without.tokens_before(index) == sum(before)
    trained = sum(len(row.targets) for row in epoch(without))
    assert without.efficiency == trained / (without.num_rows * length)


def test_documents_of_a_row_are_those_of_its_tokens() -> None:
    tokens, offsets = stream([5, 30, 1, 12, 7])
    packing = Packing(tokens, offsets, 12, seed=3)
    for index in range(2 * packing.num_rows):
        row = packing.row(index)
        numbers = np.repeat(packing.documents(index), row.lengths)
        real = row.targets != END
        # A token is one more than its place.
        found = np.searchsorted(offsets, row.targets[real] - 1, side="right") - 1
        assert numbers[real].tolist() == found.tolist()


def test_rows_and_their_order_change_with_epoch_seed_and_stream() -> None:
    sizes = [size for size in range(2, 60) for _ in range(5)]
    orders, contents = set(), set()
    for seed, part in ((1, 0), (2, 0), (1, 1)):
        packing = Packing(*stream(sizes), 64, seed, part)
        for number in range(4):
            rows = [row.targets.tobytes() for row in epoch(packing, number)]
            orders.add(tuple(rows))
            contents.add(frozenset(rows))
    assert len(orders) == len(contents) == 12


def test_every_place_in_the_order_is_as_likely() -> None:
    packing = Packing(*stream([8, 8, 8, 8]), 8, seed=5)
    firsts = np.array(
        [[row.targets[0] // 8 for row in epoch(packing, number)] for number in range(2000)]
    )
    counts = np.stack([(firsts == document).sum(0) for document in range(4)])
    assert np.abs(counts - 500).max() < 5 * (2000 * 0.25 * 0.75) ** 0.5


PROGRAM = """
import numpy as np
from langwright.text import Packing
offsets = np.arange(0, 1001, 20) + np.arange(51) % 7
offsets[0] = 0
packing = Packing(np.arange(offsets[-1]), offsets, 32, 42)
print([packing.row(index).targets.tolist() for index in (90, 3, 28)])
"""


def test_another_process_gets_the_same_rows() -> None:
    offsets = np.arange(0, 1001, 20) + np.arange(51) % 7
    offsets[0] = 0
    packing = Packing(np.arange(offsets[-1]), offsets, 32, 42)
    here = {index: packing.row(index).targets.tolist() for index in (3, 28, 90)}
    there = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    assert there.stdout.decode().strip() == str([here[90], here[3], here[28]])


def test_the_order_is_the_same_for_ever() -> None:
    """A run begun with an older version must go on with the order that it began with."""
    packing = Packing(np.arange(24), np.arange(0, 25, 4), 8, seed=7)
    starts = [packing.row(index).targets[::4].tolist() for index in range(6)]
    assert starts == [[8, 0], [16, 12], [20, 4], [8, 4], [0, 16], [12, 20]]


@pytest.mark.parametrize("num_tokens", [1, 9])
def test_too_short_a_stream_is_an_error(num_tokens: int) -> None:
    with pytest.raises(BadInput, match=f"{num_tokens} tokens.* context window of 10") as error:
        Packing(*stream([num_tokens]), 10, 0)
    assert "smaller context_length" in error.value.remedy
    assert Packing(*stream([10]), 10, 0).num_rows == 1


@pytest.mark.parametrize("settings", [(0, 0), (1, -1)])
def test_settings_that_make_no_packing_are_errors(settings: tuple[int, int]) -> None:
    with pytest.raises(BadSettings, match="No packing"):
        Packing(*stream([10]), *settings)


def test_there_is_no_row_before_the_first() -> None:
    with pytest.raises(ValueError, match="row -1"):
        Packing(*stream([10]), 2, 0).row(-1)
