"""Text in an encoding that nothing names."""

from __future__ import annotations

import codecs

from langwright.errors import BadInput, Unsupported

SAMPLE_BYTES = 2**16
"""A guess is made from this much; its time grows with the length."""


def decode(raw: bytes, name: object) -> tuple[str, str | None]:
    """`raw` as text, and the name of its encoding where that had to be guessed.

    UTF-8 (with or without a byte-order mark) where it decodes, else what charset-normalizer holds
    for most likely, with U+FFFD for what does not decode in it. Raises `BadInput` naming `name`
    where nothing fits.
    """
    try:
        return raw.removeprefix(codecs.BOM_UTF8).decode(), None
    except UnicodeDecodeError:
        pass
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        raise Unsupported(
            f"{name} is not UTF-8; to guess what it is in needs charset-normalizer, which is not"
            " installed.",
            remedy="Install it: `pip install 'langwright[text]'`; or convert the file to UTF-8.",
        ) from None
    best = from_bytes(raw[:SAMPLE_BYTES]).best()
    if best is None:
        raise BadInput(
            f"{name} is not UTF-8, nor in another encoding that could be recognised.",
            remedy="Convert it to UTF-8, for example with `iconv`.",
        )
    return raw.decode(best.encoding, "replace").removeprefix("\ufeff"), best.encoding
