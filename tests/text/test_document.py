from __future__ import annotations

import hashlib

from langwright.text import Document


def test_full_text_is_title_empty_line_text() -> None:
    assert Document("Once.", "a").full_text == "Once."
    assert Document("Once.", "a", title="Tale").full_text == "Tale\n\nOnce."
    assert Document("Once.", "a", title="").full_text == "Once."


def test_digest_is_of_what_is_trained_on_and_of_nothing_else() -> None:
    document = Document("Öl.", "a", title="Tale", licence="MIT")
    assert document.digest == hashlib.sha256("Tale\n\nÖl.".encode()).hexdigest()
    assert document.digest == Document("Öl.", "b", title="Tale").digest
    assert document.digest != Document("Öl.", "a").digest
