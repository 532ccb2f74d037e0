"""What money is moved with: cards, accounts and Bitcoin addresses."""

from __future__ import annotations

import re

from langwright.text.pii.checksums import base58check, bech32, luhn, mod_97
from langwright.text.pii.recogniser import ENDS, Recogniser, begins, characters, pattern

_NETWORKS = re.compile(
    r"4(?:.{12}|.{15}|.{18})"  # Visa
    r"|(?:5[1-5]..|222[1-9]|22[3-9].|2[3-6]..|27[01].|2720).{12}"  # Mastercard
    r"|3[47].{13}"  # American Express
    r"|(?:6011|64[4-9].|65..|62..).{12,15}"  # Discover, UnionPay
    r"|35(?:2[89]|[3-8].).{12,15}"  # JCB
    r"|3(?:0[0-5]|095|6.|8.|9.).{11,16}"  # Diners Club
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3]).{8,15}"  # Maestro
    r"|220[0-4].{12,15}"  # Mir
)
"""Payment networks by their issuer identification numbers and the lengths they use."""

IBAN_COUNTRIES = {
    15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV", 29: "BR EG PS QA UA",
    30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
}  # fmt: skip
"""Length of the IBAN: its countries (SWIFT's registry, ISO 13616)."""


def _iban_form(length: int, countries: str) -> str:
    """What follows the first letter."""
    country = "|".join(f"(?<={code[0]}){code[1]}" for code in countries.split())
    groups, rest = divmod(length - 4, 4)
    last = rf"\ ? [A-Z0-9]{{{rest}}}" if rest else ""
    return rf"(?:{country}) [0-9]{{2}} (?:\ ? [A-Z0-9]{{4}}){{{groups}}} {last}"


_IBANS = "|".join(_iban_form(*item) for item in IBAN_COUNTRIES.items())


def _is_card(value: str) -> bool:
    digits = characters(value)
    return _NETWORKS.fullmatch(digits) is not None and luhn(digits)


def _is_iban(value: str) -> bool:
    compact = characters(value)
    return mod_97(compact[4:] + compact[:4])


def _card(rest: str) -> Recogniser:
    return Recogniser("CREDIT_CARD", pattern(f"{begins('[2-6]')} {rest} {ENDS}"), _is_card)


CARDS = (
    _card("[0-9]{11,18}"),
    _card(r"[0-9]{3} ([ -]) [0-9]{4} \1 [0-9]{4} \1 [0-9]{4}"),
    _card(r"[0-9]{3} ([ -]) [0-9]{4} \1 [0-9]{4} \1 [0-9]{4} \1 [0-9]{3}"),
    _card(r"[0-9]{3} ([ -]) [0-9]{6} \1 [0-9]{4,5}"),
)
IBAN = Recogniser(
    "IBAN", pattern(rf"[A-Z] (?<!\w[A-Z]) (?=[A-Z][0-9]{{2}}) (?:{_IBANS}) (?!\w)"), _is_iban
)
BITCOIN = Recogniser(
    "BITCOIN", pattern(r"[13] (?<!\w[13]) [1-9A-HJ-NP-Za-km-z]{25,34} (?!\w)"), base58check
)
BITCOIN_WITNESS = Recogniser(
    "BITCOIN",
    pattern(
        r"(?:bc1 (?<!\wbc1) [02-9ac-hj-np-z]{11,71} | BC1 (?<!\wBC1) [02-9AC-HJ-NP-Z]{11,71})"
        r"(?!\w)"
    ),
    bech32,
)
FINANCE = (*CARDS, IBAN, BITCOIN, BITCOIN_WITNESS)
