"""Tokens a word and a character, of one's own texts: the table of docs/tokens.md.

    python benchmarks/token_economics.py --encoding gpt2 --encoding o200k_base \
        "English=eng.html" "code=json/decoder.py" "numbers=wine_data.csv"

Each text is a file or folder that `langwright` reads. The files of the table are in docs/tokens.md.
"""

from __future__ import annotations

import argparse

import langwright as lw
from langwright.progress import progress
from langwright.text.reader import read_documents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", nargs="+", metavar="NAME=PATH")
    parser.add_argument("--encoding", action="append", required=True, metavar="NAME")
    asked = parser.parse_args()
    print("| text | characters | words |", *(f" {name} |" for name in asked.encoding), sep="")
    print("|---|---|---|", "---|" * len(asked.encoding), sep="")
    with progress("Encoding", len(asked.texts)) as bar:
        for pair in asked.texts:
            name, _, path = pair.partition("=")
            text = "\n".join(document.text for document in read_documents(path))
            found = lw.tokens(text, asked.encoding)
            words = "–" if found["words"] is None else f"{found['words']:,}"
            cells = (_rates(one) for one in found["encodings"])
            print(f"| {name} | {found['characters']:,} | {words} |", *cells, sep="")
            bar.advance(1, name)


def _rates(one: dict[str, float | None]) -> str:
    word = "–" if one["per_word"] is None else f"{one['per_word']:.2f}"
    return f" {word} / {one['per_character']:.2f} |"


if __name__ == "__main__":
    main()
