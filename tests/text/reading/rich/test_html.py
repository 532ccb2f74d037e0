from __future__ import annotations

import contextlib
import time
import tracemalloc
from pathlib import Path

import pytest

from langwright.errors import BadInput
from langwright.text.reading.extracted import Extracted
from langwright.text.reading.rich import html
from langwright.text.reading.rich.html import extract

STORY = [
    "The mill on the river had turned for two hundred years before anyone counted its sacks.",
    "Its wheel was of oak, and its owner, a patient man, mended one paddle every winter.",
    "When the railway came, the sacks went to the city, and the mill stood still on Sundays.",
    "Nobody can say today who carved the date above the door, nor why it lies in the future.",
]
BODY = "".join(f"<p>{line}</p>\n" for line in STORY)


def page(body: str = BODY, head: str = "<title>The Mill</title>") -> str:
    return f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>"


def found(raw: str | bytes, **said: str) -> Extracted:
    result = extract(raw, **said)
    assert result is not None
    return result


def test_navigation_goes_and_the_story_stays() -> None:
    links = "".join(f'<li><a href="/{i}">Section {i}</a></li>' for i in range(20))
    body = (
        f"<nav><ul>{links}</ul></nav><main><article>{BODY}</article></main>"
        "<footer>Copyright, imprint, cookies</footer><script>alert(1)</script>"
    )
    assert found(page(body)) == Extracted("\n".join(STORY), "The Mill")


def test_headings_lists_tables_and_code_stay() -> None:
    body = (
        f"<article><h1>The Mill</h1>{BODY}<h2>Parts</h2><ul><li>the wheel</li><li>the stone</li>"
        "</ul><table><tr><th>Year</th><th>Sacks</th></tr><tr><td>1801</td><td>40</td></tr></table>"
        "<pre><code>def turn(mill):\n    mill.wheel += 1\n</code></pre></article>"
    )
    text = found(page(body)).text
    for kept in ("Parts\n", "- the wheel\n- the stone", "1801 | 40", "):\n    mill.wheel += 1"):
        assert kept in text
    # The title is not there twice.
    assert text.startswith(STORY[0])


def test_code_in_a_figure_or_beside_an_empty_link_stays() -> None:
    """As mdBook and rustdoc write it; trafilatura alone drops both."""
    listing = (
        "<figure><pre><code>let a = 1;</code></pre><figcaption>Listing 1</figcaption></figure>"
    )
    example = (
        '<div><pre><code>let b = 2;</code></pre><a href="/run?code=let+b+=+2;+and+more"></a></div>'
    )
    text = found(page(f"<main>{BODY}{listing}{BODY.replace('The', 'A')}{example}</main>")).text
    assert "let a = 1;" in text
    assert "Listing 1" in text
    assert "let b = 2;" in text


@pytest.mark.parametrize("container", ["article", "main", "div", "div id='content'", "section"])
def test_headings_stay_wherever_the_content_is(container: str) -> None:
    """In a page that marks no content, as DocBook's, trafilatura alone keeps none."""
    heads = "".join(
        f"<h2 class='title'><a name='{i}'></a>Part {i}<a href='#{i}'>¶</a></h2>{BODY}"
        for i in range(3)
    )
    text = found(page(f"<{container}>{heads}</{container.split()[0]}>")).text
    assert [line for line in text.split("\n") if line.startswith("Part")] == [
        "Part 0",
        "Part 1",
        "Part 2",
    ]


def test_only_the_marked_content_is_taken() -> None:
    aside = "<div>A word from the site's owner about entirely other things of his own.</div>"
    assert found(page(f"{aside}<div id='content'>{BODY}</div>")).text == "\n".join(STORY)


def test_line_ends_of_the_source_are_spaces() -> None:
    wrapped = BODY.replace(" <", "<").replace(" and ", "\n  and <code>also</code>\n")
    text = found(page(f"<article>{wrapped}</article>")).text
    assert text.split("\n") == [line.replace(" and ", " and also ") for line in STORY]


@pytest.mark.parametrize(
    ("head", "title"),
    [
        ('<meta property="og:title" content="The Mill"><title>The Mill | Site</title>', "The Mill"),
        ("<title>\n The  Mill\n</title>", "The Mill"),
        ("<title></title>", "Heading"),
        ("", "Heading"),
    ],
)
def test_the_title(head: str, title: str) -> None:
    assert found(page(f"<h1>Heading</h1>{BODY}", head)).title == title


CC = "https://creativecommons.org/licenses/by-sa/4.0/"


@pytest.mark.parametrize(
    ("where", "licence"),
    [
        (f'<a rel="license" href="{CC}">here</a>', CC),
        (f'<link rel="license" href="{CC}">', CC),
        ('<a rel="nofollow LICENSE" href="/terms.html">CC BY 4.0</a>', "CC BY 4.0"),
        ('<meta name="DC.rights" content="CC0">', "CC0"),
        ('<meta name="dcterms.license" content="MIT">', "MIT"),
        ('<meta name="copyright" content="Somebody">', None),
        ('<a href="/licence.html">Licence</a>', None),
    ],
)
def test_the_licence(where: str, licence: str | None) -> None:
    assert found(page(BODY + f"<p>{where}</p>")).licence == licence
    assert found(page(BODY, f"<title>The Mill</title>{where}")).licence == licence


GERMAN = BODY.replace("river", "Fluß „Gänse“ €")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (page(GERMAN).encode(), None),
        (page(GERMAN).encode("utf-8-sig"), None),
        (page(GERMAN).encode("utf-16"), None),
        (page(GERMAN).encode("utf-16"), "utf-8"),
        (page(GERMAN).encode("cp1252"), "windows-1252"),
        (page(GERMAN, '<meta charset="windows-1252">').encode("cp1252"), None),
        # Browsers take Latin-1 for Windows's larger set, and so does what is written for them.
        (page(GERMAN, "<meta charset=iso-8859-1>").encode("cp1252"), None),
        (
            page(
                GERMAN, '<meta http-equiv="Content-Type" content="text/html; charset=latin1">'
            ).encode("cp1252"),
            None,
        ),
        (('<?xml version="1.0" encoding="cp1252"?>' + page(GERMAN)).encode("cp1252"), None),
        (page(GERMAN, '<meta charset="utf-16">').encode(), None),
        (page(GERMAN, '<meta charset="nonsense">').encode(), None),
        (page(GERMAN, '<meta charset="base64">').encode(), None),
        (page(GERMAN).encode(), "klingon"),
    ],
)
def test_bytes_are_decoded_as_browsers_do(raw: bytes, said: str | None) -> None:
    result = extract(raw, encoding=said)
    assert result is not None
    assert "Fluß „Gänse“ €" in result.text
    assert result.encoding is None


def test_a_guessed_encoding_is_reported() -> None:
    lines = "Die Mühle am Fluß drehte sich früh, und der Müller zählte die Säcke für die Bäcker. "
    result = found(page(f"<p>{lines * 5}</p><p>{lines[::-1] * 5}</p>").encode("latin-1"))
    assert "Mühle am Fluß" in result.text
    assert result.encoding is not None


@pytest.mark.parametrize("charset", ["shift_jis", "gb2312", "euc-kr"])
def test_the_encodings_of_east_asia(charset: str) -> None:
    line = {"shift_jis": "水車は①番川", "gb2312": "水车在河边转动", "euc-kr": "물레방아가 강가에서"}
    body = f"<p>{(line[charset] + '。') * 30}</p>" + BODY
    raw = page(body, f"<meta charset={charset}>")
    python = {"shift_jis": "cp932", "gb2312": "gb18030", "euc-kr": "cp949"}[charset]
    assert line[charset] in found(raw.encode(python)).text


def test_bytes_that_do_not_decode_stay_visible() -> None:
    raw = page(BODY, "<meta charset=utf-8>").encode().replace(b"oak", b"\xffoak")
    assert "of \ufffdoak" in found(raw).text


@pytest.mark.parametrize("raw", ["", "   ", b"", "<html></html>", "<!-- a -->", page("")])
def test_a_page_without_content_is_none_and_in_a_file_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, raw: str | bytes
) -> None:
    assert extract(raw) is None
    assert not caplog.records
    file = tmp_path / "a.html"
    file.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    with pytest.raises(BadInput, match="no main content"):
        list(html.read(file))


def test_a_page_without_a_body_element_is_read() -> None:
    assert STORY[0] in found(f"<html>{BODY}").text
    assert STORY[0] in found(f"<div>{BODY}</div>").text


def test_control_characters_are_dropped() -> None:
    plain = page().encode()
    assert found(plain.replace(b"oak", b"o\0ak")).text == "\n".join(STORY)
    named = plain.replace(b"oak", b"o&#1;&#0;&#xD800;&#xFFFE;\nak").replace(b"Mill", b"Mi&#1;ll")
    assert "wheel was of o" in found(named).text
    for text in (found(named).text, found(named).title or ""):
        assert all(sign.isprintable() or sign in "\n\ufffd" for sign in text)
        text.encode()


def test_a_billion_laughs_do_not_expand() -> None:
    laughs = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    raw = f'<?xml version="1.0"?><!DOCTYPE html [<!ENTITY e0 "ha">{laughs}]>' + page(
        BODY + "<p>&e9; and on and on, said the miller, and turned the wheel once more.</p>"
    ).removeprefix("<!DOCTYPE html>")
    assert len(found(raw).text) < 1000


@pytest.mark.parametrize(
    "body",
    [
        "<div>" * 100_000 + BODY + "</div>" * 100_000,
        "<span>x " * 30_000 + BODY,
        "<table><tr><td>" * 5_000 + BODY,
        BODY + "<b>" * 50_000,
        BODY + "<" * 200_000,
        BODY + "<!--" * 50_000,
        BODY + "<p " + "a='1' " * 50_000 + ">",
        BODY + "&amp" * 100_000,
    ],
)
def test_hostile_pages_take_bounded_time(body: str) -> None:
    started = time.process_time()
    with contextlib.suppress(BadInput):  # too many elements
        extract(page(body))
    assert time.process_time() - started < 15


def test_a_page_over_the_bounds_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    with file.open("wb") as stream:
        stream.truncate(50 * 2**20)
    tracemalloc.start()
    with pytest.raises(BadInput, match=r"52,428,800 bytes; at most 16,777,216"):
        list(html.read(file))
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    with pytest.raises(BadInput, match=r"16,777,217 bytes"):
        extract("x" * (html.MAX_BYTES + 1))
    with pytest.raises(BadInput, match="200,004 elements; at most 100,000"):
        extract(page("<br>" * 200_000))
