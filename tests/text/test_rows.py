from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from langwright.errors import BadInput, NotFound
from langwright.text.rows import read_rows

ROWS = [{"a": "ö", "b": [{"c": 1}]}, {"a": "x", "b": [{"c": 2}, {"c": 3}]}]


def test_one_table_is_read_the_same_from_every_kind_of_file(tmp_path: Path) -> None:
    from pyarrow import Table, parquet

    text = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "t.jsonl").write_text(text)
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "t.json").write_text(json.dumps(ROWS, indent=1))
    parquet.write_table(Table.from_pylist(ROWS), tmp_path / "t.parquet")
    for name in ("t.jsonl", "t.jsonl.gz", "t.json", "t.parquet"):
        assert list(read_rows(tmp_path / name, "{}")) == [(1, ROWS[0]), (2, ROWS[1])], name


def test_numbers_are_those_of_the_lines_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('\n{"a": 1}\n\n{"a": 2}\n')
    assert [number for number, _ in read_rows(path, "{}")] == [2, 4]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.jsonl", b'{"a": 1}\n{"a"\n', "line 2: this is not JSON"),
        ("t.jsonl", b'{"a": 1}\n[1]\n', "line 2: this is no JSON object"),
        ("t.jsonl", b'{"a": "\xff"}\n', "not UTF-8"),
        ("t.json", b'[{"a": 1}, 2]', "object 2 is not a JSON object"),
        ("t.jsonl", b"\n", "has no rows"),
        ("t.json", b"[]", "has no rows"),
        ("t.parquet", b"PAR1", "cannot be read as Parquet"),
        ("t.csv", b"a\n1\n", "no file of rows"),
    ],
)
def test_what_is_no_row_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=said):
        list(read_rows(tmp_path / name, '{"a": 1}'))
    with pytest.raises(NotFound):
        list(read_rows(tmp_path / "elsewhere.jsonl", "{}"))


def test_the_remedy_shows_what_a_row_should_look_like(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("nonsense\n")
    with pytest.raises(BadInput) as caught:
        list(read_rows(tmp_path / "t.jsonl", '{"question": "…"}'))
    assert '{"question": "…"}' in caught.value.remedy
