"""Documents from files: text, JSON lines, web pages, PDF, books, code, and folders of them."""

from __future__ import annotations

import codecs
import importlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from langwright.errors import BadInput, NotFound
from langwright.progress import say
from langwright.text.document import Document
from langwright.text.reading.rich.code import CODE_SUFFIXES
from langwright.text.reading.rich.gutenberg import strip

TEXT_SUFFIXES = (".txt", ".md", ".rst")
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
SUFFIXES = (*TEXT_SUFFIXES, ".jsonl", *RICH)
CORPUS_FILE = "documents.jsonl"
"""The one file of documents in a corpus artifact of the store."""
FUNNEL_FILE = "funnel.html"
"""The report beside it where the corpus was cleaned."""

MAX_DOCUMENT_BYTES = 2**27
"""One document is held in memory whole; more than this is a mistake or wants cutting first."""
_SKIPS_SHOWN = 20


def read_documents(path: Path | str) -> Iterator[Document]:
    """The documents of a file or a folder, in an order that depends on the names alone.

    - `.txt`, `.md`, `.rst`: the file is one document; its source is the file's name. Of a book of
      Project Gutenberg the licence's text is left out and the title kept.
    - `.html`, `.pdf`, `.epub`, `.docx`, `.tex`, source code: one document, with its title and
      licence where the file names them (see `text/reading/rich`).
    - `.jsonl`: each line is one document `{"text" (or "content"), "title", "source", "licence"}`,
      all but the text optional, other fields not read; the source is `name:line` where not given.
      Lines are read one at a time. Lines whose text is blank are skipped and reported.
    - a folder: all such files below it, sorted by path; hidden ones are skipped, and so is a folder
      reached a second time through a symbolic link. Files of other kinds are reported, and so is
      each file that cannot be read, with the reason: the rest goes on. Sources are paths
      relative to the folder.
    - a corpus artifact, which is a folder with `documents.jsonl`: that file alone.

    Text and JSON lines are UTF-8, as they stand but for a byte-order mark.

    Raises `NotFound` for a path that is not there; `BadInput`, naming the file and the byte or
    line, for what is binary, not UTF-8, not such JSON, longer than `MAX_DOCUMENT_BYTES`, or empty,
    and for a folder without a readable file.
    """
    path = Path(path)
    if path.is_dir():
        yield from _read_folder(path)
    elif not path.exists():
        raise NotFound(f"There is no file or folder {path}.", remedy="Check the path.")
    elif path.suffix.lower() not in SUFFIXES:
        raise BadInput(
            f"{path} is of a kind that is not read: there are {_kinds()} and source code.",
            remedy="Turn it into one of these; a text file may simply be renamed to .txt.",
        )
    else:
        yield from _read_file(path, path.name)


def _kinds() -> str:
    return ", ".join(suffix for suffix in SUFFIXES if suffix not in CODE_SUFFIXES)


def _read_folder(folder: Path) -> Iterator[Document]:
    """A corpus of the store is as it must be; elsewhere a bad file does not stop the others."""
    files = _files_of(folder)
    if files == [folder / CORPUS_FILE]:
        yield from _read_file(files[0], CORPUS_FILE)
        return
    found, skipped = False, 0
    for file in files:
        try:
            for document in _read_file(file, file.relative_to(folder).as_posix()):
                found = True
                yield document
        except BadInput as error:
            skipped += 1
            if skipped <= _SKIPS_SHOWN:
                say(f"skipped: {error.message}")
    if skipped > _SKIPS_SHOWN:
        say(f"skipped {skipped - _SKIPS_SHOWN} more files that cannot be read")
    if not found:
        raise BadInput(f"The folder {folder} holds no readable text.", remedy="Give another.")


def _files_of(folder: Path) -> list[Path]:
    seen: set[tuple[int, int]] = set()
    files: list[Path] = []

    def fail(error: OSError) -> NoReturn:
        raise _unreadable(error.filename, error)

    for here, folders, names in os.walk(folder, followlinks=True, onerror=fail):
        status = os.stat(here)
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            say(f"skipped {os.path.relpath(here, folder)}: a link to a folder already met")
            folders.clear()
            continue
        seen.add(identity)
        # Sorted, so that of two ways to one folder the same one is always taken.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(here, name) for name in names if not name.startswith(".")]
    readable = sorted(file for file in files if file.suffix.lower() in SUFFIXES)
    corpus = folder / CORPUS_FILE
    if corpus in readable:
        known = (corpus, folder / FUNNEL_FILE)
        _report([file for file in readable if file not in known], folder, f"beside {CORPUS_FILE}")
        return [corpus]
    others = sorted(file for file in files if file.suffix.lower() not in SUFFIXES)
    _report(others, folder, "of kinds that are not read")
    if not readable:
        raise BadInput(
            f"The folder {folder} holds no file that is read: {_kinds()} or source code.",
            remedy="Put text there, or give another folder.",
        )
    return readable


def _report(skipped: list[Path], folder: Path, why: str) -> None:
    if skipped:
        names = ", ".join(file.relative_to(folder).as_posix() for file in skipped[:3])
        files = "file" if len(skipped) == 1 else "files"
        say(f"skipped {len(skipped)} {files} {why}: {names}{', …' if len(skipped) > 3 else ''}")


def _read_file(file: Path, name: str) -> Iterator[Document]:
    if not file.is_file():  # a named pipe would hang the reader
        raise BadInput(f"{file} is not a file, or a broken link.", remedy="Remove it.")
    # A name that is not UTF-8 must not make the document impossible to write down.
    source = name.encode("utf-8", "backslashreplace").decode()
    found = False
    try:
        suffix = file.suffix.lower()
        if suffix in TEXT_SUFFIXES:
            documents = _read_text(file, source)
        elif suffix in RICH:
            documents = _read_rich(file, RICH[suffix], source)
        else:
            documents = _read_lines(file, source)
        for document in documents:
            found = True
            yield document
    except OSError as error:
        raise _unreadable(file, error) from None
    if not found:
        raise BadInput(f"{file} is empty: it holds no text.", remedy="Remove it or fill it.")


def _read_text(file: Path, source: str) -> Iterator[Document]:
    if file.stat().st_size > MAX_DOCUMENT_BYTES:
        raise _too_long(file, 0)
    text, title, licence = strip(_decode(file.read_bytes(), file, 0))
    if text.strip():
        yield Document(text, source, title, licence)


def _read_rich(file: Path, kind: str, source: str) -> Iterator[Document]:
    if file.stat().st_size > MAX_DOCUMENT_BYTES:
        raise _too_long(file, 0)
    reader = importlib.import_module(f"langwright.text.reading.rich.{kind}")
    for found in reader.read(file):
        if found.encoding:
            say(f"read {source} as {found.encoding} (guessed)")
        where = f"{source}#{found.part}" if found.part else source
        if found.text.strip():
            yield Document(found.text, where, found.title, found.licence)


def _read_lines(file: Path, source: str) -> Iterator[Document]:
    blank, offset, number = 0, 0, 0
    with file.open("rb") as stream:
        while raw := stream.readline(MAX_DOCUMENT_BYTES + 1):
            number += 1
            if len(raw) > MAX_DOCUMENT_BYTES:
                raise _too_long(file, offset)
            line = _decode(raw, file, offset)
            offset += len(raw)
            if not line.strip():
                continue
            document = _parse(line, file, number, source)
            if document.text.strip():
                yield document
            else:
                blank += 1
    if blank:
        say(f"skipped {blank} {'line' if blank == 1 else 'lines'} without text in {file}")


def _parse(line: str, file: Path, number: int, source: str) -> Document:
    def wrong(what: str, remedy: str = 'Write each line as {"text": "…"}.') -> BadInput:
        return BadInput(f"{file}, line {number}: {what}.", remedy=remedy)

    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise wrong(f"this is not JSON ({error})") from None
    if not isinstance(row, dict):
        raise wrong("this is not a JSON object")
    if "messages" in row:
        raise wrong(
            "this is a conversation ('messages'), not a text",
            "Conversations are data for fine-tuning (`langwright sft`); a corpus needs 'text'.",
        )

    def field(key: str) -> str | None:
        value = row.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise wrong(f"'{key}' is not a string")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise wrong(
                f"'{key}' holds half of a surrogate pair (an escape from \\ud800 to \\udfff)",
                "Write the whole character, or remove the escape.",
            ) from None
        return value

    text = field("text" if "text" in row else "content")
    if text is None:
        raise wrong("there is no 'text'")
    given = field("source")
    return Document(
        text, f"{source}:{number}" if given is None else given, field("title"), field("licence")
    )


def _decode(raw: bytes, file: Path, offset: int) -> str:
    """`raw`, which begins at byte `offset` of the file, as text."""
    mark = len(codecs.BOM_UTF8) if offset == 0 and raw.startswith(codecs.BOM_UTF8) else 0
    if (nul := raw.find(0)) >= 0:
        raise BadInput(
            f"{file} is binary, not text: there is a NUL at byte {offset + nul}.",
            remedy="Remove it; or if it is text in UTF-16, convert it:"
            f" `iconv -f UTF-16 -t UTF-8 '{file}'`.",
        )
    try:
        return raw[mark:].decode()
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{file} is not UTF-8: {error.reason} at byte {offset + mark + error.start}.",
            remedy="Convert it from the encoding it is in, for example:"
            f" `iconv -f WINDOWS-1252 -t UTF-8 '{file}'`.",
        ) from None


def _too_long(file: Path, offset: int) -> BadInput:
    return BadInput(
        f"{file}: the document at byte {offset} is longer than {MAX_DOCUMENT_BYTES:,} bytes.",
        remedy="Cut it into several documents, for example with `split --line-bytes=512M`.",
    )


def _unreadable(file: Path, error: OSError) -> BadInput:
    return BadInput(
        f"{file} cannot be read: {error.strerror}.", remedy="Correct its permissions or remove it."
    )
