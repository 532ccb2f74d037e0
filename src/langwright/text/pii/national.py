"""Numbers that states give to people, where a checksum or a rule of their making tells them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from langwright.text.pii.checksums import mod_11, mod_11_10, verhoeff
from langwright.text.pii.recogniser import ENDS, Recogniser, begins, characters, pattern

_NIF_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_ADVERTISED_SSN = frozenset(("078051120", "219099999"))
# The value of a letter or digit of the codice fiscale in an odd place, in the order 0-9A-Z;
# A to J are as 0 to 9.
_ODD_DIGITS = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21)
_ODD_LETTERS = (2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
_ODD = (*_ODD_DIGITS, *_ODD_DIGITS, *_ODD_LETTERS)


def _is_us_ssn(value: str) -> bool:
    """No area 000, 666 or 9xx, no group 00, no serial 0000 (SSA); none that was advertised."""
    digits = characters(value)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    given = area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"
    return given and digits not in _ADVERTISED_SSN


def _is_us_itin(value: str) -> bool:
    """9xx with a group of 50-65, 70-88, 90-92 or 94-99 (IRS)."""
    group = int(characters(value)[3:5])
    return group in range(50, 66) or (group in range(70, 100) and group not in (89, 93))


def _is_german_tax_id(value: str) -> bool:
    """Of the first ten digits one is there twice or thrice, and all others once at the most."""
    digits = characters(value)
    repeated = [count for count in Counter(digits[:10]).values() if count > 1]
    return len(repeated) == 1 and repeated[0] < 4 and mod_11_10(digits)


def _is_nhs(value: str) -> bool:
    digits = characters(value)
    return len(set(digits)) > 1 and mod_11(digits)


def _is_nif(value: str) -> bool:
    """DNI and NIE: the letter is the number modulo 23; X, Y and Z stand for 0, 1 and 2."""
    compact = characters(value)
    number = int(compact[:-1].translate(str.maketrans("XYZ", "012")))
    return _NIF_LETTERS[number % 23] == compact[-1]


def _is_nir(value: str) -> bool:
    """The key is 97 less the number modulo 97; Corsica's 2A and 2B count as 19 and 18."""
    compact = characters(value)
    number = int(compact[:-2].replace("2A", "19").replace("2B", "18"))
    return 97 - number % 97 == int(compact[-2:])


def _is_codice_fiscale(value: str) -> bool:
    compact = characters(value)
    total = sum(
        _ODD[int(character, 36)] if place % 2 == 0 else _even(character)
        for place, character in enumerate(compact[:15])
    )
    return chr(ord("A") + total % 26) == compact[15]


def _even(character: str) -> int:
    return int(character) if character.isdigit() else ord(character) - ord("A")


def _is_cpf(value: str) -> bool:
    digits = [int(digit) for digit in characters(value)]
    if len(set(digits)) == 1:
        return False
    for length in (9, 10):
        total = sum(digit * (length + 1 - place) for place, digit in enumerate(digits[:length]))
        if total * 10 % 11 % 10 != digits[length]:
            return False
    return True


def _is_aadhaar(value: str) -> bool:
    return verhoeff(characters(value))


def _number(kind: str, first: str, rest: str, check: Callable[[str], bool]) -> Recogniser:
    return Recogniser(kind, pattern(f"{begins(first)} {rest} {ENDS}"), check)


_SPACED_NIR = r"(\ ?)[0-9]{2}\1[0-9]{2}\1(?:[0-9]{2}|2[AB])\1[0-9]{3}\1[0-9]{3}\1[0-9]{2}"
NATIONAL = (
    _number("US_SSN", "[0-8]", "[0-9]{2}-[0-9]{2}-[0-9]{4}", _is_us_ssn),
    _number("US_ITIN", "9", "[0-9]{2}-[0-9]{2}-[0-9]{4}", _is_us_itin),
    _number("DE_TAX_ID", "[1-9]", r"[0-9](\ ?)[0-9]{3}\1[0-9]{3}\1[0-9]{3}", _is_german_tax_id),
    _number("UK_NHS", "[0-9]", r"[0-9]{2}([ -])[0-9]{3}\1[0-9]{4}", _is_nhs),
    _number("ES_NIF", "[0-9XYZ]", "[0-9]{7}-?[A-HJ-NP-TV-Z]", _is_nif),
    _number("FR_NIR", "[12]", _SPACED_NIR, _is_nir),
    _number(
        "IT_FISCAL_CODE",
        "[A-Z]",
        "[A-Z]{5}[0-9]{2}[A-EHLMPR-T][0-9]{2}[A-Z][0-9]{3}[A-Z]",
        _is_codice_fiscale,
    ),
    _number("BR_CPF", "[0-9]", r"[0-9]{2}(?:\.[0-9]{3}){2}-[0-9]{2}", _is_cpf),
    _number("IN_AADHAAR", "[2-9]", r"[0-9]{3}([ -])[0-9]{4}\1[0-9]{4}", _is_aadhaar),
)
