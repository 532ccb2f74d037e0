"""What cleaning is worth: models trained on a raw pile, the same pile read, and the same cleaned.

    .venv/bin/python benchmarks/clean_against_raw.py PILE… --held-out TEXT… [--steps 1000]

PILE are folders and files of web pages and of JSON lines. Three corpora are made of them:

- raw: each file's characters as they stand, markup included; of JSON lines, the texts;
- read: what `langwright` reads out of them (of a web page its main content);
- clean: the same after `langwright clean` with all of its steps.

One tokenizer serves all; it is trained on raw and clean in equal parts. Models of one shape
are trained on each for the same number of tokens, with three seeds, and scored in bits per byte on
the texts held out, which are read and cleaned in the same way, or taken as they are (.txt).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import langwright as lw
from langwright.store import Artifact, Store
from langwright.text import build_tokenizer, open_corpus
from langwright.text.reader import CORPUS_FILE, read_documents

SCORED_BYTES = 250_000
VOCABULARY = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pile", nargs="+", type=Path)
    parser.add_argument("--held-out", nargs="+", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--home", type=Path, help="where the models are kept (else dropped)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(given.home or Path(scratch) / "home")
        compare(given, store, Path(scratch))


def compare(given: argparse.Namespace, store: Store, scratch: Path) -> None:
    corpora = make_corpora(given.pile, store, scratch)
    for name, corpus in corpora.items():
        folder = store.path(corpus)
        size = sum(len(document.text.encode()) for document in read_documents(folder))
        print(f"{name:6} {size / 1e6:7.1f} MB of text in {count(folder):,} documents", flush=True)
    both = [corpora["raw"], corpora["clean"]]
    tokenizer = build_tokenizer("words", both, VOCABULARY, 0.05, store)
    texts = held_out(given.held_out, store)
    scores: dict[tuple[str, str], list[float]] = {}
    for seed in range(given.seeds):
        for name, corpus in corpora.items():
            trained = lw.pretrain(
                "tiny",
                name=f"{name}-{seed}",
                store=store,
                corpus=corpus.name,
                tokenizer=tokenizer.name,
                steps=given.steps,
                tokens_per_step=2048,
                seed=seed,
            )
            model = lw.load(trained["model"], store=store)
            for title, text in texts.items():
                scores.setdefault((name, title), []).append(model.score(text).bits_per_byte)
                print(f"{name}-{seed}: {scores[name, title][-1]:.4f} on {title}", flush=True)
    print(f"\n{given.steps * 2048 / 1e6:.1f} M tokens each; bits per byte, {given.seeds} seeds")
    for (name, title), values in scores.items():
        low, high = min(values), max(values)
        print(f"{title:24} {name:6} {statistics.mean(values):.4f} ({low:.4f} to {high:.4f})")


def make_corpora(pile: list[Path], store: Store, scratch: Path) -> dict[str, Artifact]:
    raw = scratch / "raw.jsonl"
    with raw.open("w", encoding="utf-8") as file:
        for text, source in verbatim(pile):
            file.write(json.dumps({"text": text, "source": source}) + "\n")
    read = [open_corpus(str(path), store) for path in pile]
    merged = scratch / "read.jsonl"
    with merged.open("wb") as target:
        for corpus in read:
            target.write((store.path(corpus) / CORPUS_FILE).read_bytes())
    told = lw.clean([corpus.name for corpus in read], "clean", store=store)
    for step in told["funnel"]:
        left = f"{step['documents_out']:,} documents, {step['bytes_out'] / 1e6:.1f} MB"
        print(f"  {step['name']:20} leaves {left}")
    return {
        "raw": open_corpus(str(raw), store),
        "read": open_corpus(str(merged), store),
        "clean": store.get("clean"),
    }


def verbatim(pile: list[Path]) -> Iterator[tuple[str, str]]:
    """Each file as it stands; each line's text of JSON lines."""
    for top in pile:
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.suffix == ".jsonl":
                for document in read_documents(path):
                    yield document.text, document.source
            elif path.suffix in (".html", ".htm") and path.is_file():
                yield path.read_text(encoding="utf-8", errors="replace"), path.name


def held_out(paths: list[Path], store: Store) -> dict[str, str]:
    texts = {}
    for path in paths:
        if path.suffix == ".txt":
            whole = path.read_text(encoding="utf-8")
        else:
            cleaned = f"held-out-{path.stem}"
            lw.clean([str(path)], cleaned, store=store)
            documents = read_documents(store.path(store.get(cleaned)))
            whole = "\n\n".join(document.full_text for document in documents)
        cut = whole.encode()[:SCORED_BYTES].decode(errors="ignore")
        texts[path.stem] = cut
        print(f"held out: {path.stem}, {len(cut.encode()):,} bytes", flush=True)
    return texts


def count(folder: Path) -> int:
    with (folder / CORPUS_FILE).open("rb") as file:
        return sum(1 for _ in file)


if __name__ == "__main__":
    main()
