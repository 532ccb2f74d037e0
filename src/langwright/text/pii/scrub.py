"""Personal data in a text: finding it, and putting its kind in its place."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from langwright.text.document import Document
from langwright.text.pii.contact import CONTACT
from langwright.text.pii.finance import FINANCE
from langwright.text.pii.national import NATIONAL
from langwright.text.pii.recogniser import Finding
from langwright.text.pii.secrets import SECRETS

# Those with a checksum first: of two that find the same, the first gives the name.
_RECOGNISERS = (*SECRETS, *FINANCE, *NATIONAL, *CONTACT)
KINDS = tuple(dict.fromkeys(recogniser.kind for recogniser in _RECOGNISERS))
"""All kinds that can be found."""


def find(text: str) -> list[Finding]:
    """The personal data in `text`, in its order; takes time linear in its length.

    What overlaps is one finding, of the kind of the longest, so that nothing of it is left behind.
    """
    found = [finding for recogniser in _RECOGNISERS for finding in recogniser.find(text)]
    found.sort(key=lambda finding: finding.start)  # stable: the order of the recognisers stays
    result: list[Finding] = []
    longest = 0
    for finding in found:
        length = finding.end - finding.start
        if not result or finding.start >= result[-1].end:
            result.append(finding)
            longest = length
            continue
        last = result[-1]
        end = max(last.end, finding.end)
        kind = finding.kind if length > longest else last.kind
        result[-1] = Finding(kind, last.start, end, text[last.start : end])
        longest = max(length, longest)
    return result


def scrub(text: str) -> tuple[str, Counter[str]]:
    """`text` with `<KIND>` in the place of each finding, and how many of each kind there were.

    What is scrubbed has nothing more to find: `scrub` of it changes nothing.
    """
    findings = find(text)
    parts, place = [], 0
    for finding in findings:
        parts += [text[place : finding.start], f"<{finding.kind}>"]
        place = finding.end
    return "".join([*parts, text[place:]]), Counter(finding.kind for finding in findings)


@dataclass(frozen=True)
class Scrub:
    """`scrub` as a step of cleaning, for the text and the title."""

    name: str = "pii"
    source: str = "Published forms and checksums; FineWeb (Penedo et al. 2024) replaces mail and IP"

    def __call__(self, document: Document) -> Document:
        text, _ = scrub(document.text)
        title = document.title and scrub(document.title)[0]
        return replace(document, text=text, title=title)
