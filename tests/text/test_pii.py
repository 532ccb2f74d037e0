"""Personal data: found by the published forms and checksums, and by nothing else."""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langwright.text.document import Document
from langwright.text.pii import KINDS, Scrub, find, scrub
from langwright.text.pii.checksums import BASE58
from langwright.text.pii.finance import IBAN_COUNTRIES

# The networks' and processors' published test cards.
CARDS = (
    "4111111111111111|4012888888881881|4222222222222|4000056655665556|4242 4242 4242 4242"
    "|5555555555554444|5105-1051-0510-5100|2223003122003222|5200828282828210|378282246310005"
    "|371449635398431|3714 496353 98431|378734493671000|6011111111111117|6011 0009 9013 9424"
    "|30569309025904|38520000023237|36227206271667|3530111333300000|3566002020360505"
    "|6200000000000005|6759649826438453|2200000000000004"
)
# The registry's examples (SWIFT, ISO 13616).
IBANS = """
AD1200012030200359100100 AE070331234567890123456 AL47212110090000000235698741 AT611904300234573201
AZ21NABZ00000000137010001944 BA391290079401028494 BE68539007547034 BG80BNBG96611020345678
BH67BMAG00001299123456 BR1800360305000010009795493C1 BY13NBRB3600900000002Z00AB00
CH9300762011623852957 CR05015202001026284066 CY17002001280000001200527600 CZ6508000000192000145399
DE89370400440532013000 DK5000400440116243 DO28BAGR00000001212453611324 EE382200221020145685
ES9121000418450200051332 FI2112345600000785 FO6264600001631634 FR1420041010050500013M02606
GB29NWBK60161331926819 GE29NB0000000101904917 GI75NWBK000000007099453 GL8964710001000206
GR1601101250000000012300695 GT82TRAJ01020000001210029690 HR1210010051863000160
HU42117730161111101800000000 IE29AIBK93115212345678 IL620108000000099999999
IS140159260076545510730339 IT60X0542811101000000123456 JO94CBJO0010000000000131000302
KW81CBKU0000000000001234560101 KZ86125KZT5004100100 LB62099900000001001901229114
LC55HEMM000100010012001200023015 LI21088100002324013AA LT121000011101001000 LU280019400644750000
LV80BANK0000435195001 MC5811222000010123456789030 MD24AG000225100013104168
ME25505000012345678951 MK07250120000058984 MR1300020001010000123456753
MT84MALT011000012345MTLCAST001S MU17BOMM0101101030300200000MUR NL91ABNA0417164300 NO9386011117947
PK36SCBL0000001123456702 PL61109010140000071219812874 PS92PALS000000000400123456702
PT50000201231234567890154 QA58DOHB00001234567890ABCDEFG RO49AAAA1B31007593840000
RS35260005601001611379 SA0380000000608010167519 SE4550000000058398257466 SI56263300012039086
SK3112000000198742637541 SM86U0322509800000000270100 TN5910006035183598478831
TR330006100519786457841326 UA213223130000026007233566001 VG96VPVG0000012345678901
XK051212012345678906
"""
LABELLED = {
    "EMAIL": "someone@example.com|john.doe+tag@mail.example.co.uk|o'hara_7@mueller-x.de"
    "|user@xn--bcher-kva.example|A.B-C@EXAMPLE.ORG",
    "IP_ADDRESS": "8.8.8.8|185.199.108.153|2001:4860:4860::8888|2606:4700:4700:0:0:0:0:1111",
    "MAC_ADDRESS": "00:1A:2B:3C:4D:5E|a0-b1-c2-d3-e4-f5",
    "PHONE": "+1 212 555 0123|+12125550123|+1 (212) 555-0123|(212) 555-0123|212-555-0123"
    "|212.555.0123|1-800-555-0199|+49 (0)30 901820|+44 20 7946 0958|+86 138 0013 8000"
    "|+33 1 42 68 53 00|+353 1 677 3411|+919876543210",
    # BIP 173, BIP 350, and the first block.
    "BITCOIN": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa|3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"
    "|BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4|bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
    "|bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
    "US_SSN": "219-09-9998|859-56-0028|001-01-0001",
    "US_ITIN": "900-70-1234|999-88-9999",
    "DE_TAX_ID": "86095742719|47036892816|65 929 970 489|57549285017|25768131411",
    "UK_NHS": "943 476 5919|401 023 2137|943-476-5870",
    "ES_NIF": "12345678Z|00000000T|X1234567L|Z8078221M",
    "FR_NIR": "1 84 12 76 451 089 46|255081416802538|1 51 02 46 102 043 25"
    "|285072B12345642|1 84 12 2A 451 089 33",  # Corsica, by the rule of INSEE
    "IT_FISCAL_CODE": "RSSMRA85T10A562S|MRTMTT91D08F205J|MLLSNT82P65Z404U",
    "BR_CPF": "123.456.789-09|529.982.247-25",
    "IN_AADHAAR": "2341 2341 2346|4991 1866 5246",
    "JWT": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9l"
    "IiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
    "API_KEY": "AKIAIOSFODNN7EXAMPLE|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"
    f"|hf_{'abcdefghij' * 3}ABCD|AIza{'Sy0-_' * 7}|glpat-{'x1' * 10}"
    f"|sk-{'a1' * 10}T3BlbkFJ{'b2' * 10}|sk-proj-{'a_-' * 8}T3BlbkFJ{'b2' * 20}"
    f"|sk-ant-api03-{'aB_-9' * 19}|xoxb-{'1' * 12}-{'a1' * 12}|sk_live_{'a1' * 12}"
    f"|github_pat_{'a1' * 11}_{'b' * 59}",
    "PRIVATE_KEY": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc/+=\n"
    "-----END RSA PRIVATE KEY-----"
    "|-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00FF\n\n"
    "MIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"
    "|-----BEGIN OPENSSH PRIVATE KEY-----\\nb3BlbnNzaC1rZXktdjEAAAA\\n"
    "-----END OPENSSH PRIVATE KEY-----"
    "|-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOYBF6xJ0gBCAC=\n=aB3d\n"
    "-----END PGP PRIVATE KEY BLOCK-----",
}
ALL = {kind: values.split("|") for kind, values in LABELLED.items()}
ALL["CREDIT_CARD"] = CARDS.split("|")
ALL["IBAN"] = IBANS.split()

# What has the form and not the rest.
NOT_FOUND = """
4111111111111112|1234567890123456|9999999999999995|4111 1111 1111 111|X4111111111111111
DE89370400440532013001|XX89370400440532013000|DE893704004405320130|GB29 NWBK
1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb|bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5
bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj1
000-12-3456|666-12-3456|900-12-3456|123-00-4567|123-45-0000|078-05-1120|219-09-9999|900-93-1234
86095742718|01234567891|11111111111|401 023 2138|12345678A|X1234567A|2 55 08 14 168 025 39
1 84 12 3A 451 089 46|184123B45108946|11110234560|RSSMRA85T10A562T|123.456.789-00|111.111.111-11
2341 2341 2347
ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18|ghp_short|sk-learn-is-a-library|AKIA|eyJhbGci.eyJ.x
eyJ0eXAiOiJKV1QifQ.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6y
192.168.0.1|10.1.2.3|127.0.0.1|256.1.1.1|v1.2.3.4|1.2.3.4.5|192.0.2.7|2001:db8::1|fe80::1|::1
12:30:45|ace::bad|std::vector|00:00:00:00:00:00|icon@2x.png|@handle|a@b|x@y.1|foo..bar@
123-456-7890|+1 123 456 7890|911-234-5678|(211) 234-5678|000 000 0000
212-911-0123|192-555-0123|290-555-0123|+0123456789|2+12345678901|+2100000000|1999-2000|555-0123
-----BEGIN PUBLIC KEY-----|2024-01-01|3.14159265358979|1,234,567,890|978-3-16-148410-0
"""


def cases() -> list[tuple[str, str]]:
    return [(kind, value) for kind, values in ALL.items() for value in values]


@pytest.mark.parametrize(("kind", "value"), cases())
def test_every_published_example_is_found_whole(kind: str, value: str) -> None:
    for before, after in (("", ""), ("It is ", "."), ("电话", "号"), ("(", "), 7"), ('"', '"\n')):
        text = before + value + after
        assert [(found.kind, found.value) for found in find(text)] == [(kind, value)], text
        assert scrub(text) == (f"{before}<{kind}>{after}", Counter([kind]))


def test_every_kind_is_labelled() -> None:
    assert set(ALL) == set(KINDS)


@pytest.mark.parametrize("value", [v for v in NOT_FOUND.replace("\n", "|").split("|") if v])
def test_a_wrong_checksum_or_a_number_of_no_use_is_left_alone(value: str) -> None:
    assert find(value) == []
    assert find(f"It is {value}, so.") == []


@pytest.mark.parametrize(
    "kind", ["CREDIT_CARD", "IBAN", "BITCOIN", "DE_TAX_ID", "UK_NHS", "FR_NIR", "IN_AADHAAR"]
)
def test_one_wrong_digit_is_enough_to_leave_a_number_alone(kind: str) -> None:
    """All these checksums find each single wrong digit (ISO 7064; Luhn; Verhoeff)."""
    for value in ALL[kind]:
        place = max(index for index, letter in enumerate(value) if letter in "12345678")
        wrong = f"{value[:place]}{int(value[place]) + 1}{value[place + 1 :]}"
        assert kind not in {found.kind for found in find(wrong)}, wrong


def test_an_iban_may_stand_in_groups_of_four() -> None:
    for value in ALL["IBAN"]:
        groups = " ".join(value[start : start + 4] for start in range(0, len(value), 4))
        assert scrub(f"to {groups} BIC") == ("to <IBAN> BIC", Counter(["IBAN"]))


def test_every_example_of_the_registry_has_its_countrys_length() -> None:
    lengths = {code: n for n, codes in IBAN_COUNTRIES.items() for code in codes.split()}
    assert len(lengths) == sum(len(codes.split()) for codes in IBAN_COUNTRIES.values())
    for value in ALL["IBAN"]:
        assert lengths[value[:2]] == len(value)


def test_what_overlaps_is_one_finding_of_the_longest() -> None:
    text = "write to 212-555-0123@example.com or 2001:4860:4860::8888"
    assert [found.kind for found in find(text)] == ["EMAIL", "IP_ADDRESS"]
    assert scrub(text)[0] == "write to <EMAIL> or <IP_ADDRESS>"
    assert scrub("943-476-5919@example.com")[0] == "<EMAIL>"
    key = f"-----BEGIN PRIVATE KEY-----\n{'A' * 20}\n4111111111111111\n-----END PRIVATE KEY-----"
    assert scrub(key) == ("<PRIVATE_KEY>", Counter(["PRIVATE_KEY"]))


PIECES = [value for _, value in cases()]
JOINTS = ["", " ", ".", "-", "+", "(", ")", ":", ",", "\n", "@", "/", "<", ">", "1", "a", "é", "é "]


def test_nothing_of_a_right_form_is_a_fault() -> None:
    """Every example of up to 40 characters, with each character changed."""
    for _, value in cases():
        for place in range(len(value) if len(value) <= 40 else 0):
            for letter in "03ABXaz":
                find(value[:place] + letter + value[place + 1 :])


def test_a_number_that_follows_hides_none() -> None:
    text = "4111 1111 1111 1111 12/29 123, 6011 0009 9013 9424 2341 2341 2346"
    assert scrub(text)[0] == "<CREDIT_CARD> 12/29 123, <CREDIT_CARD> <IN_AADHAAR>"


def test_a_checksum_over_another_number_of_bytes_is_no_address() -> None:
    for size, good in ((20, False), (21, True), (22, False)):
        body = bytes([0, *range(1, size)])
        check = hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4]
        number, letters = int.from_bytes(body + check, "big"), ""
        while number:
            number, digit = divmod(number, 58)
            letters = BASE58[digit] + letters
        assert bool(find("1" + letters)) == good


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111111+49 30 901820",
        "12345678Z>+49 30 901820",
        "2001:4860:4860::8888.0123john.doe@mail.example.co.uk",
        "-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END PRIVATE KEY-----"
        "AKIAIOSFODNN7EXAMPLE",
    ],
)
def test_what_stands_beside_a_finding_is_found_at_once_or_never(text: str) -> None:
    once, _ = scrub(text)
    assert once != text
    assert scrub(once) == (once, Counter())


@given(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(JOINTS)), max_size=8))
@settings(max_examples=600, deadline=None, derandomize=True)
def test_what_is_scrubbed_has_nothing_more_to_find(parts: list[tuple[str, str]]) -> None:
    text = "".join(piece + joint for piece, joint in parts)
    once, counts = scrub(text)
    assert scrub(once) == (once, Counter())
    findings = find(text)
    assert Counter(found.kind for found in findings) == counts
    for found, after in pairwise(findings):
        assert found.end <= after.start
    assert all(text[found.start : found.end] == found.value for found in findings)


HOSTILE = {
    "digits": "1",
    "cards": "4111111111111111-",
    "wrong cards": "4111 ",
    "groups of four": "1234-",
    "plus": "+49 ",
    "brackets": "+4 (",
    "mail, local": "a.",
    "mail, at": "a@",
    "mail, domain": "a@" + "a." * 8,
    "mail, long": "a" * 63 + "@" + "b" * 63 + ".",
    "ip": "1.2.3.",
    "ip6": "2001:",
    "colons": "2001::",
    "mac": "aa:bb-",
    "iban": "DE89 3704 ",
    "upper": "DE89",
    "base58": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb ",
    "base58 run": "3",
    "bech32": "bc1q",
    "key begins": "-----BEGIN PRIVATE KEY-----",
    "key, open": "-----BEGIN PRIVATE KEY-----" + "A" * 1000,
    "key, long head": "-----BEGIN A PRIVATE KEY-----\nProc-Type: \n",
    "jwt": "eyJhbGciOiJI.",
    "jwt, hyphens": "-----eyJ",
    "jwt, pairs": "eyJhbGciOiJI.eyJhbGciOiJI",
    "openai": "sk-" + "a" * 80 + "T3BlbkFJ ",
    "openai run": "sk-a-T3BlbkFJ",
    "slack": "xoxb-",
    "github": "ghp_" + "a" * 36 + " ",
    "underscores": "_gh",
    "spaces": " ",
    "nir": "1 84 12 ",
    "quotes": "'a",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_takes_more_than_linear_time(name: str) -> None:
    """Eight times the text, at the most some twelve times as long (quadratic would be 64)."""
    times = []
    for size in (60_000, 480_000):
        text = (HOSTILE[name] * (size // len(HOSTILE[name]) + 1))[:size]
        best = float("inf")
        for _ in range(2):
            start = time.process_time()
            find(text)
            best = min(best, time.process_time() - start)
        times.append(best)
    assert times[1] < 20 * times[0] + 0.05
    assert times[1] < 4, "a megabyte in seconds"


def test_real_text_loses_almost_nothing_that_is_not_personal(data: Path) -> None:
    """Prose, sums and an encyclopedia: 11.5 MB in which there is one telephone number."""
    for file in ("wikitext2/valid.txt", "books/war-and-peace.txt", "books/ulysses.md",
                 "tinyshakespeare/input.txt", "gsm8k/train.jsonl"):  # fmt: skip
        assert find((data / file).read_text("utf-8")) == []
    sherlock = find((data / "books" / "sherlock.txt").read_text("utf-8"))
    assert [(found.kind, found.value) for found in sherlock] == [("PHONE", "(801) 596-1887")]


def test_web_text_has_what_people_left_in_it(data: Path) -> None:
    """300 pages of C4: each of the 30 is a number or an address of somebody, and no other whole one
    is there (two without their area code, by eye). One in eleven American numbers also has the
    form and the checksum of the NHS's."""
    rows = (data / "llamafactory_demo" / "c4_demo.jsonl").read_text("utf-8").splitlines()
    found = Counter(f.kind for row in rows for f in find(json.loads(row)["text"]))
    assert found == Counter(PHONE=22, UK_NHS=1, EMAIL=7)


def test_random_numbers_are_seldom_taken_for_personal_ones() -> None:
    """Of 10,000 random numbers of each length. One of 16 digits in 30 looks like a card, one of 11
    in 200 like a German tax number, none of another length like anything."""
    drawn = random.Random(0)
    for length, most in ((6, 0), (8, 0), (10, 0), (11, 0.005), (13, 0.02), (16, 0.035), (20, 0)):
        found = sum(
            bool(find(str(drawn.randrange(10 ** (length - 1), 10**length)))) for _ in range(10_000)
        )
        assert found <= most * 10_000, (length, found)


def test_the_step_scrubs_text_and_title() -> None:
    step = pickle.loads(pickle.dumps(Scrub()))
    document = Document("Write to a@example.org.", "s", title="By b@example.org")
    assert step(document) == Document("Write to <EMAIL>.", "s", title="By <EMAIL>")
    clean = Document("Nothing here.", "s")
    assert step(clean) == clean
