"""The grader of a short encyclopaedic answer: does it have the form that was taught?"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

Rule = Literal["empty", "term", "sentences", "unfinished", "too long"]
"""What an answer can break: it says nothing; it does not start with the asked term; it is not one
or two sentences; it was cut off instead of ending its own turn; it took too many tokens."""

_ARTICLE = r"(?:(?:the|an|a)\s+)?"

# A stop followed by white space or the end; closing quotes and brackets belong to the sentence.
# The full-width stops need no space after them. A line break ends what stands before it.
_STOP = re.compile(r"(?P<mark>[.!?…]+)[\"'”’»)\]]*(?=\s|$)|[。！？]+[”」』）]*|\n+")

# Abbreviations after which a sentence goes on; the single letters are "born", "circa" and such.
_NEVER_LAST = re.compile(
    r"[bcdpr]|(?i:adm|approx|ca|capt|cf|circa|col|dr|e\.g|ed|eds|est|fig|fl|gen|gov|hon|i\.e|lit|lt|"
    r"maj|mr|mrs|ms|mt|no|nos|op|pl|pp|pres|prof|rev|sen|sgt|st|ste|viz|vol|vs)"
)

# Those that also stand at the end of one, and initials (which "U.S." looks like).
_SOMETIMES_LAST = re.compile(
    r"(?i:a\.d|a\.m|al|b\.c|bros|co|corp|dept|etc|inc|jr|ltd|p\.m|ph\.d|sr)|"
    r"[^\W\d_](?:\.[^\W\d_])*"
)

# Words that open a sentence far more often than they follow an abbreviation as a name.
_OPENER = re.compile(
    r"\s+[\"'“«(\[]*(?:A|After|Also|An|As|At|Because|But|By|During|For|From|He|Her|His|However|If|"
    r"In|It|Its|Many|Most|On|One|She|Since|Some|Such|That|The|Their|There|These|They|This|Those|"
    r"Today|Unlike|We|When|While|With|You)\b(?!\.)"
)


@dataclass(frozen=True)
class FormatVerdict:
    """`ok` when `reasons`, the broken rules in the order of `Rule`, is empty."""

    ok: bool
    reasons: tuple[Rule, ...]


def follows_format(
    term: str | None, answer: str, ended_by_itself: bool, tokens: int, max_tokens: int = 64
) -> FormatVerdict:
    """Whether `answer` starts with `term`, has one or two sentences and ends by itself in time.

    Where nothing was asked for by name, `term` is None and that rule falls away. The term counts
    in upper or lower case, after an optional "The", "A" or "An", and must end where a word ends.
    `tokens` is the length of the answer, its end-of-turn token left out.
    """
    text = _normal(answer).strip()
    if not text:
        return FormatVerdict(False, ("empty",))
    start = 0 if term is None else _start_of(_normal(term).strip(), text)
    broken: dict[Rule, bool] = {
        "term": start is None,
        # A term such as "Who's Afraid?" holds stops of its own, so counting begins after it.
        "sentences": not 1 <= num_sentences(text[start or 0 :]) <= 2,
        "unfinished": not ended_by_itself,
        "too long": tokens > max_tokens,
    }
    reasons = tuple(rule for rule, is_broken in broken.items() if is_broken)
    return FormatVerdict(not reasons, reasons)


def starts_with_term(text: str, term: str) -> bool:
    """Whether `text` begins with `term` as `follows_format` asks it to."""
    return _start_of(_normal(term).strip(), _normal(text).strip()) is not None


def num_sentences(text: str) -> int:
    """How many sentences `sentences` finds."""
    return len(sentences(text))


def sentences(text: str) -> list[str]:
    """The sentences of a text of encyclopaedic prose; one without a stop counts too.

    Abbreviations ("c.", "St."), initials ("J. R. R. Tolkien"), "U.S." and decimal numbers end none,
    unless a word that opens sentences follows where both can be ("in the U.S. It was").
    """
    pieces, start = [], 0
    for stop in _STOP.finditer(text):
        if stop["mark"] and _goes_on(text, start, stop):
            continue
        pieces.append(text[start : stop.end()])
        start = stop.end()
    pieces.append(text[start:])
    return [piece.strip() for piece in pieces if _has_word(piece)]


def _goes_on(text: str, start: int, stop: re.Match[str]) -> bool:
    rest = text[stop.end() :]
    if not rest.strip():
        return False
    if rest.lstrip().lstrip("\"'“«([")[:1].islower():
        return True  # "Yahoo! is", "approx. five"
    if stop["mark"] != ".":
        return False
    word = re.split(r"[\s(\[“\"—–-]", text[start : stop.start()])[-1]
    if _NEVER_LAST.fullmatch(word):
        return True
    return _SOMETIMES_LAST.fullmatch(word) is not None and not _OPENER.match(rest)


def _start_of(term: str, text: str) -> int | None:
    """Where `text` goes on after an article and `term`; None where it starts otherwise."""
    words = r"\s+".join(map(re.escape, term.split()))
    found = re.match(_ARTICLE + words, text, re.IGNORECASE) if words else None
    if found is None or _continues_word(text[found.end() : found.end() + 1]):
        return None
    return found.end()


def _continues_word(character: str) -> bool:
    """Letters, digits and marks do (\\b alone would split Devanagari), and "C" is not "C++"."""
    return character.isalnum() or (
        character != "" and (unicodedata.category(character)[0] == "M" or character in "_+#")
    )


def _normal(text: str) -> str:
    """One spelling for composed letters and for the two apostrophes."""
    return unicodedata.normalize("NFC", text).replace("’", "'")


def _has_word(text: str) -> bool:
    return any(character.isalnum() for character in text)
