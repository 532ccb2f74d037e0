from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from langwright.errors import BadInput, Unsupported
from langwright.text.reading.extracted import Extracted
from langwright.text.reading.rich import code, docx, epub, html, latex, pdf
from langwright.text.reading.rich.decoding import decode


@pytest.mark.parametrize(
    ("package", "read"),
    [
        ("trafilatura", html.read),
        ("lxml", docx.read),
        ("lxml", epub.read),
        ("pypdfium2", pdf.read),
        ("charset_normalizer", code.read),
        ("charset_normalizer", latex.read),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    read: Callable[[Path], Iterator[Extracted]],
) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"\xff\xfe\xfd")
    if package == "lxml":
        with zipfile.ZipFile(file, "w") as archive:
            for name in ("META-INF/container.xml", "word/document.xml"):
                archive.writestr(name, "<x/>")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Unsupported, match=package.replace("_", "-")) as caught:
        list(read(file))
    assert "pip install 'langwright[text]'" in caught.value.remedy


def test_utf_8_is_never_guessed_at() -> None:
    assert decode("Öl".encode(), "a") == ("Öl", None)
    assert decode("Öl".encode("utf-8-sig"), "a") == ("Öl", None)


def test_bytes_in_no_encoding_are_an_error_that_names_the_file() -> None:
    with pytest.raises(BadInput, match=r"a\.txt is not UTF-8"):
        decode(bytes(range(128, 256)) * 50, "a.txt")
