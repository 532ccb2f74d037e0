"""The checksums that tell a number of a kind from any other number of its length.

Each takes the digits and letters alone, in upper case where there are letters.
"""

from __future__ import annotations

import hashlib
import zlib

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32_CONSTANT, _BECH32M_CONSTANT = 1, 0x2BC830A3
# The dihedral group of ten elements, as products; and the permutation for a digit's place.
_DIHEDRAL = tuple(
    tuple(
        ((a + b) % 5 if b < 5 else (a + b) % 5 + 5)
        if a < 5
        else ((a - b) % 5 + 5 if b < 5 else (a - b) % 5)
        for b in range(10)
    )
    for a in range(10)
)
_VERHOEFF = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B: payment cards."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def mod_97(characters: str) -> bool:
    """ISO 7064, MOD 97-10, over letters as numbers from A = 10: IBAN with its head at the end."""
    return int("".join(str(int(character, 36)) for character in characters)) % 97 == 1


def mod_11_10(digits: str) -> bool:
    """ISO 7064, MOD 11,10: the German tax number."""
    product = 10
    for digit in digits[:-1]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (product + int(digits[-1])) % 10 == 1


def mod_11(digits: str) -> bool:
    """The sum of the digits, each times its place from the right, is a multiple of 11: NHS."""
    return sum(int(digit) * place for place, digit in enumerate(reversed(digits), 1)) % 11 == 0


def verhoeff(digits: str) -> bool:
    """Verhoeff 1969, over the dihedral group: Aadhaar."""
    state = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit)
        for _ in range(place % 8):
            value = _VERHOEFF[value]
        state = _DIHEDRAL[state][value]
    return state == 0


def crc32_base62(characters: str) -> bool:
    """The last six are the CRC-32 of the others in base 62: tokens of GitHub and npm."""
    crc, expected = zlib.crc32(characters[:-6].encode()), ""
    for _ in range(6):
        crc, digit = divmod(crc, 62)
        expected = _BASE62[digit] + expected
    return expected == characters[-6:]


def base58check(characters: str) -> bool:
    """Bitcoin's first form of address: 21 bytes, and 4 of their double SHA-256."""
    number = 0
    for character in characters:
        number = number * 58 + BASE58.index(character)
    zeros = len(characters) - len(characters.lstrip("1"))
    data = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    body, check = data[:-4], data[-4:]
    return len(body) == 21 and hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4] == check


def bech32(characters: str) -> bool:
    """BIP 173 and BIP 350: Bitcoin's addresses of witnesses, in one case."""
    head, _, data = characters.lower().rpartition("1")
    values = [ord(letter) >> 5 for letter in head] + [0] + [ord(letter) & 31 for letter in head]
    values += [_BECH32.index(letter) for letter in data]
    state = 1
    for value in values:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_BECH32_GENERATORS):
            state ^= generator if top >> bit & 1 else 0
    return state == (_BECH32_CONSTANT if data[0] == "q" else _BECH32M_CONSTANT)
