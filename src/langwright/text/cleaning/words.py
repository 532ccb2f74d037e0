"""Words and sentences of English text, as the published quality rules count them.

The thresholds of those rules were set with spaCy's blank English tokenizer (in datatrove). This is
a small tokenizer of the same behaviour: text is cut at white space, then each piece is taken apart
by its affixes (quotes, brackets, end marks), its infixes (hyphens, slashes) and the known
contractions and abbreviations. Pieces repeat, so that a piece is taken apart only once.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import chain
from typing import NamedTuple

from langwright.text.cleaning.known_words import KNOWN, LONGEST_KNOWN

# Some 40 MB at the most; a longer piece seldom comes twice.
_CACHED_PIECES = 1 << 17
_CACHED_LENGTH = 64

SENTENCE_MARKS = frozenset(
    "!.?։؟۔܀܁܂߹।॥၊။።፧፨᙮᜵᜶᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᰻᰼᱾᱿‼‽⁇⁈⁉⸮⸼꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗！．？𐩖𐩗𑁇𑁈𑂾𑂿𑃀𑃁𑅁𑅂𑅃𑇅𑇆"
    "𑇍𑇞𑇟𑈸𑈹𑈻𑈼𑊩𑑋𑑌𑗂𑗃𑗉𑗊𑗋𑗌𑗍𑗎𑗏𑗐𑗑𑗒𑗓𑗔𑗕𑗖𑗗𑙁𑙂𑜼𑜽𑜾𑩂𑩃𑪛𑪜𑱁𑱂𖩮𖩯𖫵𖬷𖬸𖭄𛲟𝪈｡。"
)
"""The marks that end a sentence in any script (the property Sentence_Terminal, Unicode 12)."""
LATER_MARKS = frozenset("؝؞࠷࠹࠽࠾។៕៖៙៚᭽᭾⹓⹔𐽕𐽖𐽗𐽘𐽙𐾆𐾇𐾈𐾉𑥄𑥆𑻷𑻸\U00011f43\U00011f44𖺘")
"""Those that Unicode 13 to 15 added, which the rules for lines know and the sentences do not."""
SYMBOLS = (
    SENTENCE_MARKS
    | LATER_MARKS
    | frozenset("\"#$%&'()*+,-/:;<=>@[\\]^_`{|}~«´»–—’“”„…∶━►、〈〉《》「」【】％（），１：；～")
    | frozenset(map(chr, (*range(9), 11, 12, *range(13, 32), *range(127, 160))))
)
"""A word of these characters alone is none (datatrove's `PUNCTUATION_SET`)."""

_QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉⟦⟧"
_MARKS = ",:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
_CURRENCY = "£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿$"
_DOLLARS = ("C$", "A$")
_LONGEST_SUFFIX = 8
_BEFORE_DOT = frozenset(_QUOTES + _MARKS + "…|%²-+")
_EDGE = frozenset(_QUOTES + _MARKS + "…—–")
_UNITS = (
    "km|km²|km³|m|m²|m³|dm|dm²|dm³|cm|cm²|cm³|mm|mm²|mm³|ha|µm|nm|yd|in|ft|kg|g|mg|µg|t|lb|oz|m/s"
    "|km/h|kmh|mph|hPa|Pa|mbar|mb|MB|kb|KB|gb|GB|tb|TB|T|G|M|K|%|км|км²|км³|м|м²|м³|дм|см|мм|нм"
    "|кг|г|мг|м/с|км/ч|Мб|МБ|мб|Гб|ГБ|гб"
)
_LETTER = r"[^\W\d_]"
_SUFFIX = re.compile(
    rf"(?:['’][sS]|\.\.+|(?<=[0-9])(?:\+|{_UNITS}|US\$|[CA]\$|[{re.escape(_CURRENCY)}]))$"
)
_INFIX = re.compile(
    r"\.\.+|…|(?<=[0-9])[+\-*^](?=[0-9-])|(?P<dot>\.)"
    rf"|(?<={_LETTER}),(?={_LETTER})"
    rf"|(?<=[^\W_])(?:-|–|—|--|---|——|~)(?={_LETTER})"
    rf"|(?<=[^\W_])[:<>=/](?={_LETTER})|(?P<icon>[^\w\s\x00-\x7f])"
)
_ADDRESS = re.compile(
    r"(?:(?:(?:[A-Za-z0-9\u00a1-\uffff][A-Za-z0-9\u00a1-\uffff_-]{0,62})?[A-Za-z0-9\u00a1-\uffff]\.)+"
    rf"(?P<domain>{_LETTER}{{2,63}})|(?P<octets>[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}}))(?::\d{{2,5}})?(?:[/?#]\S*)?$"
)
_SCHEME = re.compile(r"[\w+.\-]{2,}://")


def _prefix(piece: str, start: int, end: int) -> int:
    """How many characters at the start of `piece[start:end]` are a word of their own."""
    first = piece[start]
    if first.isalnum():
        if piece.startswith("US$", start):
            return 3
        return 2 if piece.startswith(_DOLLARS, start) else 0
    if first in _EDGE or first in _CURRENCY or first in "§%=":
        return 1
    if first == "+":
        second = piece[start + 1 : end][:1]
        return int(not (second.isdecimal() and second.isascii()))
    if first == ".":
        dots = 1
        while start + dots < end and piece[start + dots] == ".":
            dots += 1
        return dots if dots > 1 else 0
    return int(unicodedata.category(first) == "So")


def _suffix(piece: str, start: int, end: int) -> int:
    """How many characters at the end of `piece[start:end]` are a word of their own."""
    if start >= end:
        return 0
    last = piece[end - 1]
    if last == ".":
        dots = 1
        while end - dots > start and piece[end - dots - 1] == ".":
            dots += 1
        if dots > 1:
            return dots
        two = piece[max(start, end - 3) : end - 1]
        before = two[-1:]
        if not before:
            return 0
        lower = before.isalpha() and not before.isupper()
        if lower or before.isdecimal() or before in _BEFORE_DOT:
            return 1
        return int(len(two) == 2 and two.isalpha() and two.isupper())
    if found := _SUFFIX.search(piece[max(start, end - _LONGEST_SUFFIX) : end]):
        return len(found[0])
    return int(last in _EDGE or unicodedata.category(last) == "So")


def _is_address(piece: str) -> bool:
    """Whether it is a URL or an e-mail address, which stays whole."""
    if "." not in piece:
        return False
    scheme = _SCHEME.match(piece)
    starts = [0, *([scheme.end()] if scheme else [])]
    starts += [place + 1 for place, letter in enumerate(piece) if letter == "@" and place]
    for start in starts:
        found = _ADDRESS.match(piece, start)
        if found and (
            _is_public(found["octets"])
            if found["octets"]
            else not any(map(str.isupper, found["domain"]))
        ):
            return True
    return False


def _is_public(octets: str) -> bool:
    """Whether an IPv4 address may be a host's on the Internet, after the rules of spaCy."""
    first, second, third, last = octets.split(".")
    numbers = tuple(map(int, (first, second)))
    private = numbers[0] in (10, 127) or numbers in ((169, 254), (192, 168))
    private |= numbers[0] == 172 and 16 <= numbers[1] <= 31
    written = first[0] != "0" and last[0] != "0"
    written &= all(len(part) < 3 or (part < "256" and part[0] != "0") for part in (second, third))
    return written and not private and int(first) < 224 and int(last) < 255


def _middle(piece: str) -> list[str]:
    """Cut at the infixes."""
    words = []
    start = 0
    for found in _INFIX.finditer(piece):
        begin, end = found.span()
        if begin == 0:
            continue
        if found["dot"]:
            before, after = piece[begin - 1], piece[end : end + 1]
            lower = before in _QUOTES or (before.isalpha() and not before.isupper())
            upper = after and (after in _QUOTES or (after.isalpha() and not after.islower()))
            if not (lower and upper):
                continue
        elif found["icon"] and unicodedata.category(found[0]) != "So":
            continue
        if begin != start:
            words.append(piece[start:begin])
        words.append(found[0])
        start = end
    if start < len(piece):
        words.append(piece[start:])
    return words


def _split(piece: str) -> tuple[str, ...]:
    """The words of one piece without white space, in time linear in its length."""
    if piece in KNOWN:
        return KNOWN[piece]
    if piece.isalpha():
        return (piece,)

    def known(start: int, end: int) -> bool:
        return end - start <= LONGEST_KNOWN and piece[start:end] in KNOWN

    before: list[str] = []
    after: list[str] = []
    start, end = 0, len(piece)
    while start < end and not known(start, end):
        first = _prefix(piece, start, end)
        if first and known(start + first, end):
            before.append(piece[start : start + first])
            start += first
            break
        last = _suffix(piece, start + first, end)
        if last and known(start, end - last):
            after.append(piece[end - last : end])
            end -= last
            break
        if not first and not last:
            break
        if first:
            before.append(piece[start : start + first])
        if last:
            after.append(piece[end - last : end])
        start, end = start + first, end - last
    piece = piece[start:end]
    if piece in KNOWN:
        before.extend(KNOWN[piece])
    elif piece:
        before.extend([piece] if _is_address(piece) else _middle(piece))
    return tuple(_joined([*before, *reversed(after)]))


_JOINED = {
    word: parts
    for word, parts in KNOWN.items()
    if _prefix(word, 0, len(word)) or _suffix(word, 0, len(word)) or len(_middle(word)) > 1
}
"""Those that affixes and infixes would take apart."""
_JOINED_BEGIN = frozenset(word[:2] for word in _JOINED)


def _joined(words: list[str]) -> list[str]:
    """Words in a row that make a known one (a smiley after a word) are that one."""
    result: list[str] = []
    start = 0
    while start < len(words):
        if "".join(words[start : start + 2])[:2] in _JOINED_BEGIN:
            for end in range(min(len(words), start + LONGEST_KNOWN), start + 1, -1):
                if parts := _JOINED.get("".join(words[start:end])):
                    result.extend(parts)
                    start = end
                    break
            else:
                result.append(words[start])
                start += 1
        else:
            result.append(words[start])
            start += 1
    return result


class _Pieces(dict[str, tuple[str, ...]]):
    """What each piece was cut into; emptied when full, so that memory stays bounded."""

    def __missing__(self, piece: str) -> tuple[str, ...]:
        words = _split(piece)
        if len(piece) <= _CACHED_LENGTH:
            if len(self) >= _CACHED_PIECES:
                self.clear()
            self[piece] = words
        return words


_PIECES = _Pieces()


def split_words(text: str) -> list[str]:
    """The words of `text` in order; end marks, quotes and brackets are words too."""
    return list(chain.from_iterable(map(_PIECES.__getitem__, text.split())))


def _is_punctuation(word: str) -> bool:
    return all(unicodedata.category(letter)[0] == "P" for letter in word)


def count_sentences(text: str) -> int:
    """A sentence begins at the first word after an end mark that is no punctuation; at least 1."""
    words: Sequence[str] = split_words(text)
    if SENTENCE_MARKS.isdisjoint(words):
        return 1
    if " ".join(text.split()) != text:
        # Other white space than single spaces counts as a word here, which begins a sentence.
        parts = re.split(r"(\s+)", text)
        words = [
            word
            for part in parts
            if part and part != " "
            for word in ((part,) if part.isspace() else _PIECES[part])
        ]
    count, ended = 1, False
    for word in words:
        if word in SENTENCE_MARKS:
            ended = True
        elif ended and not _is_punctuation(word):
            count += 1
            ended = False
    return count


class Words:
    """The words of one text, and what several rules count of them."""

    def __init__(self, text: str) -> None:
        self.words = split_words(text)

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each word is there."""
        return Counter(self.words)

    @cached_property
    def totals(self) -> Totals:
        num_words = num_characters = num_alphabetic = 0
        for word, count in self.counts.items():
            if word.isalpha():
                alphabetic = True
            elif SYMBOLS.issuperset(word):
                continue
            else:
                alphabetic = any(map(str.isalpha, word))
            num_words += count
            num_characters += count * len(word)
            num_alphabetic += count * alphabetic
        return Totals(num_words, num_characters, num_alphabetic)


class Totals(NamedTuple):
    """Of the words that are not symbols alone."""

    num_words: int
    num_characters: int
    num_alphabetic: int


@lru_cache(maxsize=2)
def words_of(text: str) -> Words:
    """The words of `text`, which the rules that see the same text after each other share."""
    return Words(text)
