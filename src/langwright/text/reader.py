"""Documents from files: text, tables, web pages, PDF, books, code, and folders of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

from langwright.errors import BadInput, NotFound
from langwright.progress import say
from langwright.text.document import Document
from langwright.text.reading import input as bounds
from langwright.text.reading import plain
from langwright.text.reading.archives import mediawiki, warc
from langwright.text.reading.folder import files_of, unreadable
from langwright.text.reading.input import Input
from langwright.text.reading.packed import PACKED_SUFFIXES
from langwright.text.reading.rich.code import CODE_SUFFIXES
from langwright.text.reading.rows import jsonl, jsonlist, parquet, table

TEXT_SUFFIXES = (".txt", ".md", ".rst")
STREAMED_SUFFIXES = (*TEXT_SUFFIXES, ".jsonl", ".json", ".csv", ".tsv", ".warc", ".xml")
"""Of these a compressed file is read as well: `notes.txt.gz`."""
RICH = {
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".epub": "epub",
    ".docx": "docx",
    ".tex": "latex",
    **dict.fromkeys(CODE_SUFFIXES, "code"),
}
"""Suffix -> the module of `text/reading/rich` that takes the text out of such a file."""
SUFFIXES = (*STREAMED_SUFFIXES, ".parquet", *RICH)
CORPUS_FILE = "documents.jsonl"
"""The one file of documents in a corpus artifact of the store."""
FUNNEL_FILES = ("funnel.json", "funnel.html")
"""The report beside it where the corpus was cleaned, for programs and for people."""
MANIFEST_FILE = "manifest.json"
"""The store's record of the artifact's files."""

_SKIPS_SHOWN = 20


def read_documents(path: Path | str) -> Iterator[Document]:
    """The documents of a file or a folder, in an order that depends on the names alone.

    - `.txt`, `.md`, `.rst`: the file is one document; its source is the file's name. Of a book of
      Project Gutenberg the licence's text is left out and the title kept. UTF-8, UTF-16 or UTF-32
      with a byte-order mark, else an encoding that is guessed and reported.
    - `.html`, `.pdf`, `.epub`, `.docx`, `.tex`, source code: one document, with its title and
      licence where the file names them (see `text/reading/rich`).
    - `.jsonl`: each line is one document `{"text" (or "content"), "title", "source", "licence"}`,
      all but the text optional, other fields not read; the source is `name:line` where not given.
      Lines are read one at a time. Lines whose text is blank are skipped and reported.
    - `.json`: a list of such objects, or one of them; the source is `name:number` where not given.
    - `.csv`, `.tsv`, `.parquet`: the same fields as columns, the source likewise; the names of a
      `.csv`'s columns are in its first row. Cells without text are skipped and reported.
    - `.warc`: the pages that were fetched, each with its address as source; `.xml`: the articles of
      a MediaWiki's dump, such as Wikipedia's `pages-articles`.
    - text, JSON, `.csv`, `.tsv`, `.warc` and `.xml` with `.gz`, `.bz2`, `.xz` or `.zst` behind: the
      same, unpacked as it is read.
    - a folder: all such files below it, sorted by path; hidden ones are skipped, and so is a folder
      reached a second time through a symbolic link. Files of other kinds are reported, and so is
      each file or folder that cannot be read, with the reason: the rest goes on. Bad lines and rows
      are left out, and counted in one line a file. Sources are paths relative to the folder.
    - a corpus artifact, which is a folder with `documents.jsonl`: that file alone.

    JSON and tables of text are UTF-8, as they stand but for a byte-order mark.

    Raises `NotFound` for a path that is not there; `BadInput`, naming the file and the byte, line
    or row, for what is binary, damaged, not UTF-8, not such JSON, without such a column, longer
    than `MAX_DOCUMENT_BYTES`, or empty, and for a folder without a readable file; `Unsupported`
    where the package for a format is missing.
    """
    path = Path(path)
    if path.is_dir():
        yield from _read_folder(path)
    elif not path.exists():
        raise NotFound(f"There is no file or folder {path}.", remedy="Check the path.")
    elif not _is_read(path):
        raise BadInput(
            f"{path} is of a kind that is not read: there are {_kinds()} and source code.",
            remedy="Turn it into one of these; a text file may simply be renamed to .txt.",
        )
    else:
        yield from _read_file(path, path.name)


def _kind(path: Path) -> str:
    """The suffix, of a compressed file that of what is in it."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in PACKED_SUFFIXES else suffix


def _is_read(path: Path) -> bool:
    packed = path.suffix.lower() in PACKED_SUFFIXES
    return _kind(path) in (STREAMED_SUFFIXES if packed else SUFFIXES)


def _kinds() -> str:
    return ", ".join(suffix for suffix in SUFFIXES if suffix not in CODE_SUFFIXES)


def _read_folder(folder: Path) -> Iterator[Document]:
    """A corpus of the store is as it must be; elsewhere a bad file does not stop the others."""
    known = tuple(folder / name for name in (CORPUS_FILE, *FUNNEL_FILES, MANIFEST_FILE))
    files = files_of(folder, known, _is_read)
    if files == [known[0]]:
        yield from _read_file(files[0], CORPUS_FILE)
        return
    if not files:
        raise BadInput(
            f"The folder {folder} holds no file that is read: {_kinds()} or source code.",
            remedy="Put text there, or give another folder.",
        )
    found, skipped = False, 0
    for file in files:
        begun = False
        try:
            name = file.relative_to(folder).as_posix()
            for document in _read_file(file, name, lenient=True):
                found = begun = True
                yield document
        except BadInput as error:
            skipped += 1
            if skipped <= _SKIPS_SHOWN:
                say(f"{'read in part' if begun else 'skipped'}: {error.message}")
    if skipped > _SKIPS_SHOWN:
        say(f"skipped {skipped - _SKIPS_SHOWN} more files that cannot be read, whole or in part")
    if not found:
        raise BadInput(f"The folder {folder} holds no readable text.", remedy="Give another.")


def _read_file(path: Path, name: str, *, lenient: bool = False) -> Iterator[Document]:
    # A name that is not UTF-8 must not make the document impossible to write down.
    file = Input(path, name.encode("utf-8", "backslashreplace").decode(), lenient)
    found = False
    try:
        if not path.is_file():  # a named pipe would hang the reader
            raise BadInput(f"{path} is not a file, or a broken link.", remedy="Remove it.")
        for document in _documents(file):
            found = True
            yield document
    except OSError as error:
        raise unreadable(path, error) from None
    if not found:
        raise BadInput(f"{path} is empty: it holds no text.", remedy="Remove it or fill it.")


def _documents(file: Input) -> Iterator[Document]:
    kind = _kind(file.path)
    if kind in TEXT_SUFFIXES:
        return plain.read(file)
    if kind in RICH:
        return _read_rich(file, RICH[kind])
    if kind == ".jsonl":
        return jsonl.read(file)
    if kind == ".json":
        return jsonlist.read(file)
    if kind == ".parquet":
        return parquet.read(file)
    if kind == ".warc":
        return warc.read(file)
    if kind == ".xml":
        return mediawiki.read(file)
    return table.read(file, "\t" if kind == ".tsv" else ",")


def _read_rich(file: Input, kind: str) -> Iterator[Document]:
    if file.path.stat().st_size > bounds.MAX_DOCUMENT_BYTES:
        raise file.too_long(0)
    reader = importlib.import_module(f"langwright.text.reading.rich.{kind}")
    for found in reader.read(file.path):
        if found.encoding:
            say(f"read {file.name} as {found.encoding} (guessed)")
        where = f"{file.name}#{found.part}" if found.part else file.name
        if found.text.strip():
            yield Document(found.text, where, found.title, found.licence)
