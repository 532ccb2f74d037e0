"""A folder of hostile files: each is one line of report, memory is bounded, the rest goes on."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pypdf
import pytest

FIVE_GB = 5 * 2**30
READ = """
import resource, sys
from pathlib import Path
from langwright.text import read_documents
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print([document.source for document in read_documents(Path(sys.argv[1]))])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(FIVE_GB)


def bomb(path: Path, member: str) -> None:
    """A gigabyte of one letter in a megabyte of zip."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(member, "w", force_zip64=True) as file,
    ):
        for _ in range(1024):
            file.write(b"a" * 2**20)


def locked(path: Path) -> None:
    writer = pypdf.PdfWriter()
    writer.add_blank_page(72, 72)
    writer.encrypt("secret")
    file = io.BytesIO()
    writer.write(file)
    path.write_bytes(file.getvalue())


def test_a_folder_of_hostile_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Good.")
    (tmp_path / "z.jsonl").write_text('{"text": "Good."}\n')
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "binary.md").write_bytes(b"a\x00b")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "page.html").touch()
    sparse(tmp_path / "long.jsonl")
    sparse(tmp_path / "long.txt")
    sparse(tmp_path / "long.html")
    bomb(tmp_path / "bomb.docx", "word/document.xml")
    locked(tmp_path / "locked.pdf")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.txt").symlink_to(tmp_path / "none.txt")
    os.mkfifo(tmp_path / "pipe.txt")

    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    sources, grown_kib = done.stdout.splitlines()
    assert sources == "['a.txt', 'latin.txt', 'z.jsonl:1']"
    assert int(grown_kib) < 400 * 1024
    told = done.stderr.splitlines()
    for name, reason in [
        ("latin.txt", "(guessed)"),
        ("binary.md", "binary"),
        ("empty.txt", "empty"),
        ("page.html", ""),
        ("long.jsonl", "longer than"),
        ("long.txt", "longer than"),
        ("long.html", "longer than"),
        ("bomb.docx", "unpacked, "),
        ("locked.pdf", "password"),
        ("loop", "already met"),
        ("gone.txt", "broken link"),
        ("pipe.txt", "not a file"),
    ]:
        lines = [line for line in told if name in line]
        assert len(lines) == 1, (name, told)
        assert reason in lines[0]
    assert len(told) == 12


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from langwright.text import read_documents

    (tmp_path / "a.txt").write_text("Good.")
    (tmp_path / "b.txt").write_text("Shut.")
    (tmp_path / "b.txt").chmod(0)
    assert [document.source for document in read_documents(tmp_path)] == ["a.txt"]
    assert "b.txt cannot be read" in capsys.readouterr().err
