"""Keys and tokens that open doors, told by the forms that their makers gave them to be found by."""

from __future__ import annotations

import base64
import binascii
import json

from langwright.text.pii.checksums import crc32_base62
from langwright.text.pii.recogniser import Recogniser, pattern


def _is_checked_token(value: str) -> bool:
    return crc32_base62(value.partition("_")[2])


def _is_jwt(value: str) -> bool:
    """Its first part is JSON that names an algorithm (RFC 7515)."""
    head = value.partition(".")[0]
    try:
        found = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "alg" in found


def _key(form: str, hint: str) -> Recogniser:
    return Recogniser("API_KEY", pattern(rf"(?<!\w) {form} (?!\w)"), hint=hint)


CHECKED = Recogniser(  # GitHub's and npm's: 30 characters and their checksum
    "API_KEY",
    pattern(r"(?<!\w) (?:gh[opsru]|npm)_[0-9A-Za-z]{36} (?!\w)"),
    _is_checked_token,
    hint="_",
)
KEYS = (
    _key(r"AKIA[A-Z2-7]{16}", "AKIA"),  # Amazon
    _key(r"ASIA[A-Z2-7]{16}", "ASIA"),
    _key(r"AIza[\w-]{35}", "AIza"),  # Google
    _key(r"github_pat_[0-9A-Za-z]{22}_[0-9A-Za-z]{59}", "github_pat_"),
    _key(r"glpat-[\w-]{20,64}", "glpat-"),  # GitLab
    _key(r"hf_[A-Za-z]{34}", "hf_"),  # Hugging Face
    # OpenAI's hold "OpenAI" in base 64.
    _key(r"sk-(?:[a-z]{4,10}-)?[\w-]{20,90}T3BlbkFJ[\w-]{20,90}", "T3BlbkFJ"),
    _key(r"sk-ant-[a-z]{3,10}[0-9]{2}-[\w-]{80,120}", "sk-ant-"),  # Anthropic
    _key(r"xox[abeoprs]-[0-9A-Za-z-]{10,250}", "xox"),  # Slack
    _key(r"[rs]k_live_[0-9A-Za-z]{16,247}", "k_live_"),  # Stripe
)
JWT = Recogniser(
    "JWT",
    pattern(
        r"(?:(?<![\w-])|(?<=-----)) eyJ[\w-]{8,1000} \. eyJ[\w-]{8,16000} \. [\w-]{16,4000} (?!\w)"
    ),
    _is_jwt,
    hint="eyJ",
)
PRIVATE_KEY = Recogniser(
    "PRIVATE_KEY",
    pattern(
        r"-----BEGIN\ [A-Z ]{0,20}PRIVATE\ KEY(?:\ BLOCK)?-----"
        r"(?:\s{1,4}Proc-Type:[^\n<]{0,40}\s{1,4}DEK-Info:[^\n<]{0,80})?"
        r"[^-<]{16,65536} -----END\ [A-Z ]{0,20}PRIVATE\ KEY(?:\ BLOCK)?-----"
    ),
    hint="PRIVATE KEY",
)
SECRETS = (PRIVATE_KEY, JWT, CHECKED, *KEYS)
