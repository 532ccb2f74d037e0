"""Lists and tables of documents, written by the libraries of their formats."""

from __future__ import annotations

import csv
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from langwright.errors import BadInput
from langwright.text import Document, read_documents
from langwright.text.reading import input as bounds

ROWS: list[dict[str, Any]] = [
    {"text": "One,\n\"quoted\"; 'and' more\r\nlines\t.", "title": "First", "licence": "MIT"},
    {"text": "Grüße 🙂 \u2028 x", "source": "web", "score": 3},
    {"text": "", "title": "Empty"},
    {"text": "Last."},
]


def expected(name: str) -> list[Document]:
    return [
        Document(ROWS[0]["text"], f"{name}:1", "First", "MIT"),
        Document(ROWS[1]["text"], "web"),
        Document("Last.", f"{name}:4"),
    ]


def write_table(path: Path, delimiter: str, encoding: str = "utf-8") -> None:
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(
            file, ["score", "title", "text", "source", "licence"], delimiter=delimiter
        )
        writer.writeheader()
        writer.writerows(ROWS)


def write_parquet(path: Path, **columns: Any) -> None:
    parquet.write_table(pyarrow.table(columns), path)


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.tsv", "a.CSV", "marked.csv", "a.parquet"])
def test_each_row_with_text_is_a_document(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    if name == "a.json":
        file.write_text(json.dumps(ROWS, indent=1), encoding="utf-8")
    elif name == "a.parquet":
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), file)  # its first row names columns
    else:
        mark = "utf-8-sig" if name == "marked.csv" else "utf-8"
        write_table(file, "\t" if name == "a.tsv" else ",", mark)
    found = list(read_documents(file))
    if name == "a.parquet":
        assert [one.text for one in found] == [ROWS[index]["text"] for index in (0, 1, 3)]
    else:
        assert found == expected(name)
    unit = "object" if name == "a.json" else "row"
    assert f"skipped 1 {unit} without text" in capsys.readouterr().err


def test_one_object_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('\ufeff {"text": "Alone."} \n', encoding="utf-8")
    assert list(read_documents(tmp_path / "a.json")) == [Document("Alone.", "a.json:1")]


def test_content_serves_where_there_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("title,content\nT,C\n")
    write_parquet(tmp_path / "b.parquet", content=["C"], title=["T"])
    assert [(one.text, one.title) for one in read_documents(tmp_path)] == [("C", "T")] * 2


@pytest.mark.parametrize(
    "kind",
    ["string", "large_string", "string_view", "dictionary"],
)
def test_parquet_texts_of_every_type(tmp_path: Path, kind: str) -> None:
    values = pyarrow.array(["One.", None, "Two."])
    types = {"large_string": pyarrow.large_string(), "string_view": pyarrow.string_view()}
    values = values.dictionary_encode() if kind == "dictionary" else values
    values = values.cast(types[kind]) if kind in types else values
    write_parquet(tmp_path / "a.parquet", text=values, other=[{"deep": [1]}] * 3)
    assert [one.text for one in read_documents(tmp_path / "a.parquet")] == ["One.", "Two."]


BAD = {
    "a.json": [
        ("[{]", "not JSON"),
        ('[{"text": "x"} {"text": "y"}]', "neither a comma nor the list's end"),
        ('[{"text": "x"}', "neither a comma nor the list's end"),
        ('[{"text": "x"}] more', "something follows"),
        ('["x"]', "not a JSON object"),
        ('{"text": 5}', "not a string"),
        ('[{"text": "\\ud800"}]', "surrogate"),
        ("[" * 100_000, "not a JSON object"),
        ('{"text": ' + "[" * 100_000, "not JSON"),
        ("\x00", "binary"),
    ],
    "a.csv": [
        ("title,body\nT,B\n", "no column 'text' or 'content', only 'title', 'body'"),
        ("text,title\nx\n", "row 1 has 1 fields, the header 2"),
        ("text,text\nx,y\n", "two columns 'text'"),
        ('text\n"never closed', "line 2"),
        ("text\n\x00\n", "binary"),
    ],
    "a.parquet": [("PAR1 and no more", "cannot be read as Parquet")],
}


@pytest.mark.parametrize(("name", "content", "reason"), [(n, *row) for n in BAD for row in BAD[n]])
def test_what_is_wrong_is_said(tmp_path: Path, name: str, content: str, reason: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    with pytest.raises(BadInput, match=reason):
        list(read_documents(tmp_path / name))


def test_a_parquet_table_without_texts_or_cut_short(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    write_parquet(file, number=[1, 2])
    with pytest.raises(BadInput, match="no column 'text' or 'content', only 'number'"):
        list(read_documents(file))
    write_parquet(file, text=[1, 2])
    with pytest.raises(BadInput, match="the column 'text' holds int64, not strings"):
        list(read_documents(file))
    write_parquet(file, text=["x" * 100_000])
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        list(read_documents(file))


def test_a_text_that_is_said_again_in_each_row_is_held_once(tmp_path: Path) -> None:
    """A bomb: kilobytes of file that would be gigabytes of text."""
    once = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * 500, pyarrow.int32()), pyarrow.array(["x" * 5_000_000])
    )
    write_parquet(tmp_path / "a.parquet", text=once)
    assert (tmp_path / "a.parquet").stat().st_size < 300_000
    before = pyarrow.total_allocated_bytes()
    most = 0
    for document in read_documents(tmp_path / "a.parquet"):
        assert len(document.text) == 5_000_000
        most = max(most, pyarrow.total_allocated_bytes() - before)
    assert most < 100_000_000


def test_a_row_of_parquet_that_is_not_utf_8_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = pyarrow.array([b"One.", b"caf\xe9", b"Two."]).view(pyarrow.string())
    write_parquet(tmp_path / "a.parquet", text=raw)
    assert [one.text for one in read_documents(tmp_path)] == ["One.", "Two."]
    assert "row 2: it is not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "a.jsonl",
            '{"text": "One."}\n{"text": 5}\nno\n{"text": "Two."}\n',
            "skipped 2 bad lines of {}, the first: line 2: 'text' is not a string.",
        ),
        (
            "a.csv",
            "text,title\nOne.,T\nalone\nTwo.,T\n",
            "skipped 1 bad row of {}, the first: row 2 has 1 fields, the header 2.",
        ),
    ],
)
def test_in_a_folder_bad_rows_are_counted_and_the_rest_goes_on(
    tmp_path: Path, name: str, content: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(content)
    assert [one.text for one in read_documents(tmp_path)] == ["One.", "Two."]
    assert capsys.readouterr().err.splitlines() == [told.format(tmp_path / name)]


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.parquet", "a.jsonl"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, name: str) -> None:
    def peak(count: int) -> int:
        file, text = tmp_path / name, "Words, words. " * 50
        rows = [{"text": f"{number} {text}"} for number in range(count)]
        if name == "a.parquet":
            parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=500)
        elif name == "a.csv":
            with file.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, ["text"])
                writer.writeheader()
                writer.writerows(rows)
        else:
            lines = [json.dumps(row) for row in rows]
            whole = f"[{','.join(lines)}]" if name == "a.json" else "\n".join(lines)
            file.write_text(whole)
        del rows
        tracemalloc.start()
        assert sum(1 for _ in read_documents(file)) == count
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(500)
    assert peak(10_000) < peak(1_000) + 300_000


@pytest.mark.parametrize("name", ["a.json", "a.csv"])
def test_a_row_longer_than_a_document_may_be_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_DOCUMENT_BYTES", 100_000)
    text = "x\n" * 200_000
    whole = json.dumps([{"text": text}]) if name == "a.json" else f'text\n"{text}"\n'
    (tmp_path / name).write_text(whole)
    with pytest.raises(BadInput, match="longer than 100,000 bytes"):
        list(read_documents(tmp_path / name))
