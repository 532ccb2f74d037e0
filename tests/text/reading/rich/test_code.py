from __future__ import annotations

from pathlib import Path

import pytest

from langwright.errors import BadInput
from langwright.text.reading.extracted import Extracted
from langwright.text.reading.rich import code


def read(tmp_path: Path, raw: bytes) -> Extracted:
    file = tmp_path / "a.py"
    file.write_bytes(raw)
    (found,) = code.read(file)
    return found


def test_code_is_read_to_the_character(data: Path) -> None:
    files = sorted((data / "quixbugs").rglob("*.py"))[:20]
    assert files
    for file in files:
        (found,) = code.read(file)
        assert found.text.encode() == file.read_bytes()


@pytest.mark.parametrize(
    ("line", "licence"),
    [
        ("# SPDX-License-Identifier: MIT", "MIT"),
        ("/* SPDX-License-Identifier: GPL-2.0-only */", "GPL-2.0-only"),
        ("// SPDX-License-Identifier: (MIT OR Apache-2.0)", "(MIT OR Apache-2.0)"),
        ("<!-- SPDX-License-Identifier: BSD-3-Clause -->", "BSD-3-Clause"),
        ("-- SPDX-License-Identifier: GPL-2.0+ WITH GCC-exception-2.0", None),
        ("# Licensed under MIT", None),
    ],
)
def test_the_licence_is_the_spdx_line(tmp_path: Path, line: str, licence: str | None) -> None:
    if "WITH" in line:
        licence = "GPL-2.0+ WITH GCC-exception-2.0"
    assert read(tmp_path, f"#!/x\r\n{line}\r\ncode\n".encode()).licence == licence


def test_an_spdx_line_far_down_is_not_the_files(tmp_path: Path) -> None:
    assert read(tmp_path, b"x\n" * 60 + b"# SPDX-License-Identifier: MIT\n").licence is None


@pytest.mark.parametrize(("raw", "says"), [(b"a\0b", "binary"), (b" \n", "empty"), (b"", "empty")])
def test_what_is_no_code_is_an_error(tmp_path: Path, raw: bytes, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read(tmp_path, raw)


def test_code_over_the_bound_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at most 16,777,216"):
        read(tmp_path, b"x" * (code.MAX_BYTES + 1))
