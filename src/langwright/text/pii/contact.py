"""Where a person is reached: mail, network and telephone."""

from __future__ import annotations

import re
from ipaddress import ip_address

from langwright.text.pii.recogniser import ENDS, Recogniser, begins, characters, pattern

_FILE_ENDINGS = frozenset(
    ("bmp", "css", "gif", "html", "ico", "jpeg", "jpg", "js", "json", "pdf", "png", "svg", "txt")
)
"""None is a top-level domain: `icon@2x.png` is a file."""

_COUNTRY_CODE = re.compile(
    "7|2(?:[07]|1[12368]|[2346][0-9]|5[0-8]|9[01789])|3(?:[0-469]|[578][0-9])|4(?:[01345-9]|2[013])"
    "|5(?:[1-8]|[09][0-9])|6(?:[0-6]|[78][0-9]|9[012])"
    "|8(?:[1246]|00|08|5[02356]|7[08]|8[0-368])|9(?:[0-58]|6[0-8]|7[0-79]|9[2-68])"
)
"""Of the E.164 numbers that ITU has assigned, without North America's 1."""


def _is_mail(value: str) -> bool:
    return value.rpartition(".")[2].lower() not in _FILE_ENDINGS


def _is_public(value: str) -> bool:
    try:
        return ip_address(value).is_global
    except ValueError:
        return False


def _is_device(value: str) -> bool:
    return len(set(characters(value))) > 1


def _is_north_american(value: str) -> bool:
    """An area code begins with 2 to 9 and has no 9 in the middle; neither it nor the exchange is
    a service such as 911."""
    area, exchange = (digits := characters(value)[-10:])[:3], digits[3:6]
    return area[0] > "1" and area[1] != "9" and "11" not in (area[1:], exchange[1:])


def _is_international(value: str) -> bool:
    digits = characters(value)
    return _is_north_american(digits) if digits[0] == "1" else bool(_COUNTRY_CODE.match(digits))


EMAIL = Recogniser(
    "EMAIL",
    pattern(
        r"(?<!\w) \w [\w.%+'-]{0,63} @ (?:[A-Za-z0-9] [A-Za-z0-9-]{0,62} \.){1,8}"
        r"(?:[A-Za-z]{2,24} | xn--[A-Za-z0-9-]{2,59}) (?![\w])"
    ),
    _is_mail,
    hint="@",
)
IPV4 = Recogniser(
    "IP_ADDRESS",
    pattern(rf"{begins('[0-9]')} [0-9]{{0,2}} (?:\.[0-9]{{1,3}}){{3}} {ENDS}"),
    _is_public,
)
IPV6 = Recogniser(  # 2000::/3, the global addresses of single machines
    "IP_ADDRESS",
    pattern(r"[23] (?<![\w:.][23]) [0-9A-Fa-f]{3} : [0-9A-Fa-f:]{2,34} (?![\w:]|\.[0-9<]|(?<=:)<)"),
    _is_public,
    hint=":",
)
MAC = Recogniser(
    "MAC_ADDRESS",
    pattern(
        r"[0-9A-Fa-f] (?<![\w:>-][0-9A-Fa-f]) [0-9A-Fa-f]"
        r"([:-]) (?:[0-9A-Fa-f]{2} \1){4} [0-9A-Fa-f]{2} (?![\w:<-])"
    ),
    _is_device,
)
PHONE_INTERNATIONAL = Recogniser(
    "PHONE",
    pattern(
        r"\+ (?<!\w\+) (?<![A-Z>]>\+) (?:1 (?:[ .()-]{0,2} [0-9]){10}"
        r"| [2-9] (?:[ .()-]{0,2} [0-9]){7,14}) (?!\w)"
    ),
    _is_international,
    hint="+",
)
PHONE_NORTH_AMERICA = Recogniser(
    "PHONE",
    pattern(
        rf"(?: {begins('[12-9]')} (?:(?<=1)[ .-][2-9])? [0-9]{{2}} ([ .-]) [2-9][0-9]{{2}} \1"
        rf"| \([2-9][0-9]{{2}}\)\ ? [2-9][0-9]{{2}} [ .-]) [0-9]{{4}} {ENDS}"
    ),
    _is_north_american,
)
CONTACT = (EMAIL, IPV4, IPV6, MAC, PHONE_INTERNATIONAL, PHONE_NORTH_AMERICA)
