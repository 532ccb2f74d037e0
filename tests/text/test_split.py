from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langwright.errors import BadInput, BadSettings
from langwright.text import Document, read_documents, split
from langwright.text.split import LONGEST_BYTES, SECTION_BYTES, cut

NUMBERED = [Document(f"document {i}", f"{i}") for i in range(2000)]
WORDS = st.sampled_from(
    ["a", "word", " ", ". ", "! ", "\n", "\n\n", "\n\n\n\n", "。", "é", "한", "🙂", "x" * 3000]
)


@given(st.lists(st.tuples(WORDS, st.integers(1, 4000)), max_size=8))
def test_sections_joined_are_the_text(parts: list[tuple[str, int]]) -> None:
    text = "".join(word * times for word, times in parts)[:60_000]
    document = Document(text, "s", title="T", licence="L")
    sections = list(cut(document))
    assert "".join(section.text for section in sections) == text
    assert {section.licence for section in sections} == {"L"}
    if len(text.encode()) <= LONGEST_BYTES:
        assert sections == [document]
    else:
        assert len(sections) > 1
        assert [s.title for s in sections] == ["T"] + [None] * (len(sections) - 1)
        assert [s.source for s in sections] == [f"s#{i + 1}" for i in range(len(sections))]
        sizes = [len(section.text.encode()) for section in sections]
        assert all(SECTION_BYTES / 2 <= size <= SECTION_BYTES * 1.5 for size in sizes)


@pytest.mark.parametrize("end", ["\n\n", "\n", "? ", "。", " "])
def test_a_section_ends_where_it_hurts_least(end: str) -> None:
    worse = {"\n\n": "a\nb. c ", "\n": "a. b ", "? ": "a b ", "。": "a b ", " ": "ab"}[end]
    text = (worse * 30 + "," + end) * 300
    sections = list(cut(Document(text, "s")))
    assert len(sections) > 1
    assert all(section.text.endswith("," + end) for section in sections)


@pytest.mark.parametrize("name", ["sherlock.txt", "ulysses.md"])
def test_a_single_book_can_be_split(data: Path, name: str) -> None:
    (book,) = read_documents(data / "books" / name)
    training, validation = split([book], 0.1)
    total = len(training) + len(validation)
    assert 0.05 < len(validation) / total < 0.15
    joined = sorted([*training, *validation], key=lambda s: int(s.source.partition("#")[2]))
    assert "".join(section.text for section in joined) == book.text


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5])
def test_the_fraction_is_kept(fraction: float) -> None:
    training, validation = split(NUMBERED, fraction)
    spread = 4 * (fraction * (1 - fraction) / 2000) ** 0.5
    assert abs(len(validation) / 2000 - fraction) < spread
    assert set(training) | set(validation) == set(NUMBERED)
    assert not set(training) & set(validation)


def test_adding_or_reordering_documents_moves_none() -> None:
    training, validation = split(NUMBERED[:1000], 0.1)
    more_training, more_validation = split(NUMBERED[::-1], 0.1)
    assert set(training) < set(more_training)
    assert set(validation) < set(more_validation)


def test_equal_texts_are_on_one_side_under_any_title() -> None:
    copies = [Document(d.text, "copy", title="another") for d in NUMBERED]
    training, validation = split(NUMBERED + copies, 0.2)
    assert not {d.text for d in training} & {d.text for d in validation}


def test_duplicates_are_dropped_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    again = [Document(d.text, "copy") for d in NUMBERED[:3]]
    training, validation = split(NUMBERED + again, 0.1)
    assert set(training) | set(validation) == set(NUMBERED)
    assert "dropped 3 exact duplicates of 2003" in capsys.readouterr().err


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_neither_side_is_empty(fraction: float) -> None:
    few = [Document("one", "1"), Document("two", "2"), Document("one", "3", title="again")]
    training, validation = split(few, fraction)
    assert training
    assert validation
    assert len(training) + len(validation) == 3
    assert not {d.text for d in training} & {d.text for d in validation}
    # The lowest hash: sha256("one") begins 7692c3…, sha256("two") begins 3fc4cc….
    assert [d.text for d in validation] == ["two"]


@pytest.mark.parametrize(
    "corpus",
    [
        [],
        [Document("one", "1")],
        [Document("one", "1"), Document("one", "2")],
        [Document("one", "1"), Document("one", "2", title="t")],
    ],
)
def test_a_corpus_of_one_section_is_an_error(corpus: list[Document]) -> None:
    with pytest.raises(BadInput, match="section of text") as error:
        split(corpus, 0.1)
    assert "Add another document" in error.value.remedy


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_outside_0_to_1_is_an_error(fraction: float) -> None:
    with pytest.raises(BadSettings, match="validation_fraction"):
        split(NUMBERED, fraction)
