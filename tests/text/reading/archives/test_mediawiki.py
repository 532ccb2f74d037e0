"""Dumps of MediaWiki: the export format 0.11, with markup as Wikipedia's articles have it."""

from __future__ import annotations

import bz2
import time
import tracemalloc
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from langwright.errors import BadInput
from langwright.text import Document, read_documents
from langwright.text.reading.archives.wikitext import MAX_OPEN, plain_text

BERLIN = """{{Infobox city | name = Berlin | image = [[Datei:b.jpg]] }}
'''Berlin''' ({{IPA|bɛʁˈliːn}}) ist die [[Hauptstadt]] von [[Deutschland|Deutschlands]].<ref>b</ref>
Es hat 3,7&nbsp;Millionen Einwohner.<!-- 2021 -->

[[Datei:Tor.jpg|mini|Das [[Brandenburger Tor]]]]
== Geschichte ==
Mehr [https://example.org dort] und bei [[:Kategorie:Stadt|den Städten]].
=== Leer ===
== Orte ==
* [[Mitte]]
* ''Pankow''
{| class="wikitable"
! Jahr !! Zahl
|-
| 1900 || 1,9
|}
== Weblinks ==
[[Kategorie:Stadt]]
"""
PLAIN = """Berlin ist die Hauptstadt von Deutschlands.

Es hat 3,7 Millionen Einwohner.

Geschichte

Mehr dort und bei den Städten.

Orte

- Mitte
- Pankow"""


def page(title: str, text: str, *, ns: int = 0, more: str = "", model: str = "wikitext") -> str:
    return (
        f"<page><title>{escape(title)}</title><ns>{ns}</ns><id>1</id>{more}<revision><id>2</id>"
        f"<model>{model}</model><format>text/x-wiki</format>"
        f'<text bytes="9" xml:space="preserve">{escape(text)}</text></revision></page>'
    )


def dump(*pages: str, base: str = "https://de.wikipedia.org/wiki/Hauptseite") -> str:
    return (
        '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="de">'
        f"<siteinfo><sitename>Wikipedia</sitename><dbname>dewiki</dbname><base>{base}</base>"
        '<namespaces><namespace key="0"/><namespace key="6">Datei</namespace>'
        '<namespace key="14">Kategorie</namespace></namespaces></siteinfo>'
        f"{''.join(pages)}</mediawiki>"
    )


def test_articles_are_documents_with_their_address_and_licence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "dewiki-latest-pages-articles.xml.bz2"
    pages = (
        page("Berlin (Stadt)", BERLIN),
        page("Diskussion:Berlin", "Reden", ns=1),
        page("Bärlin", "#WEITERLEITUNG [[Berlin]]", more='<redirect title="Berlin"/>'),
        page("Code", "return 1", model="Scribunto"),
        page("Leer", "{{nur}}"),
        page("Köln", "'''Köln''' liegt am [[Rhein]]."),
    )
    file.write_bytes(bz2.compress(dump(*pages).encode()))
    assert list(read_documents(file)) == [
        Document(
            PLAIN,
            "https://de.wikipedia.org/wiki/Berlin_%28Stadt%29",
            "Berlin (Stadt)",
            "CC BY-SA 4.0",
        ),
        Document(
            "Köln liegt am Rhein.",
            "https://de.wikipedia.org/wiki/K%C3%B6ln",
            "Köln",
            "CC BY-SA 4.0",
        ),
    ]
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"skipped 4 of 6 pages of {file}: ")
    for reason in ("other namespaces", "only lead on", "other forms", "without text"):
        assert f"1 {reason}" in said or f"1 of {reason}" in said or f"1 that {reason}" in said


@pytest.mark.parametrize("base", ["https://wiki.example.org/w/Main", "https://notwikipedia.org/a"])
def test_another_wiki_has_no_licence_by_guess(tmp_path: Path, base: str) -> None:
    (tmp_path / "a.xml").write_text(dump(page("A", "Text."), base=base), encoding="utf-8")
    (document,) = read_documents(tmp_path / "a.xml")
    assert (document.text, document.licence) == ("Text.", None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<html><body>Text</body></html>", "no dump"),
        ("Text", "damaged, or no XML"),
        ("", "empty|damaged"),
        (dump(page("A", "Text."))[:-40], "damaged"),
        (
            '<!DOCTYPE m [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
            "<mediawiki><page><title>A</title><revision><text>&b;</text></revision></page></mediawiki>",
            "empty",
        ),
        (
            '<!DOCTYPE m [<!ENTITY a SYSTEM "file:///etc/passwd">]><mediawiki><page><title>A</title>'
            "<revision><text>&a;</text></revision></page></mediawiki>",
            "empty",
        ),
        ("<mediawiki>" + "<a>" * 5_000, "damaged"),
    ],
)
def test_other_xml_is_an_error_that_says_why(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(BadInput, match=reason):
        list(read_documents(tmp_path / "a.xml"))


def test_memory_does_not_grow_with_the_dump(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        text = dump(*(page(f"Page {number}", "Words. " * 500) for number in range(count)))
        (tmp_path / "a.xml").write_text(text)
        del text
        tracemalloc.start()
        read = sum(1 for _ in read_documents(tmp_path / "a.xml"))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert read == count
        return most

    peak(10)
    assert peak(1_000) < peak(100) + 500_000


@pytest.mark.parametrize("mark", ["{{a|", "[[a|", "<ref>", "<b>", "{|\n", "[http://a ", "<a b='"])
def test_a_page_that_opens_and_never_closes_costs_no_hours(mark: str) -> None:
    started = time.monotonic()
    with pytest.raises(BadInput, match="open"):
        plain_text("}}" * 10 * MAX_OPEN + mark * 100_000)
    plain_text(mark * MAX_OPEN)
    assert time.monotonic() - started < 20  # at 20,000 the parser takes minutes


def test_marks_of_the_language_become_text() -> None:
    assert plain_text("a<br>b<br/>c") == "a\n\nb\n\nc"
    assert plain_text("<nowiki>[[x]]</nowiki> {{y}} E=<math>mc</math> &amp; '''''z'''''") == (
        "[[x]] E= & z"
    )
    assert plain_text("Pipe [[a|b ''c'']] and https://x.org.") == "Pipe b c and https://x.org."
