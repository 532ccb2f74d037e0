"""What ails a run, as its batches show it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from langwright.evaluation import WittenBell
from langwright.text import TokenShards
from langwright.training.rebuilt import Rebuilt
from langwright.training.stages.pretrain import Pretrain
from langwright.training.stages.sft import SFT
from langwright.training.views.case import Case, Finding
from langwright.training.views.show_batch import xray_of
from langwright.training.views.xray import Problem, XrayRow, problems

MOST_TOKENS = 200_000
"""Looked at in the batches, of one epoch at most."""
NGRAM_BYTES = 2**20
WINDOW = 32
"""Tokens of a stretch of text: so long ones do not come twice but in what was copied."""
MOST_REPEATED = 0.2
MOST_EPOCHS = 4.0
"""Text read again up to so often teaches nearly as much as new (Muennighoff et al. 2023)."""


def single_token_loss(rows: Sequence[XrayRow]) -> float:
    """Nats a token by the frequencies of single tokens, of those that are trained."""
    tokens = [token.id for row in rows for token in row.tokens if token.trained]
    counts = np.bincount(tokens or [0])
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def batch_findings(rebuilt: Rebuilt, rows: list[XrayRow], case: Case) -> Iterator[Finding]:
    """Masks, ends and starts that are wrong, text that repeats, a loss that no text has. `rows`
    are `first_rows`."""
    yield from _problems(rebuilt, rows)
    yield from _mask(rebuilt, rows)
    yield from _repeats(rebuilt, rows)
    yield from _epochs(rebuilt)
    yield from _floor(rebuilt, case)


def first_rows(rebuilt: Rebuilt) -> list[XrayRow]:
    """The rows of the first steps, within the first epoch of whatever is read most often."""
    rows: list[XrayRow] = []
    size = 0
    for window in range(min(rebuilt.settings.steps, rebuilt.stage.epoch_steps)):
        rows += xray_of(rebuilt, window)
        size += rebuilt.settings.tokens_per_step
        if size >= MOST_TOKENS:
            break
    return rows


def _problems(rebuilt: Rebuilt, rows: list[XrayRow]) -> Iterator[Finding]:
    """One finding for each kind of problem."""
    kinds: dict[str, list[Problem]] = {}
    for one in problems(rows, rebuilt.text, isinstance(rebuilt.stage, SFT)):
        kinds.setdefault(one.kind, []).append(one)
    for kind, found in kinds.items():
        evidence = {"rows": len(found), "rows_looked_at": len(rows), "first": found[0].problem}
        yield {
            "cause": kind,
            "severity": "error",
            "evidence": evidence,
            "remedy": found[0].remedy,
        }


def _mask(rebuilt: Rebuilt, rows: list[XrayRow]) -> Iterator[Finding]:
    trained = sum(row.trained for row in rows)
    read = sum(len(row.tokens) - row.padded for row in rows)
    if trained < 0.05 * read:
        yield {
            "cause": "mask_empty",
            "severity": "warning",
            "evidence": {"trained_tokens": trained, "tokens_read": read},
            "remedy": "Nearly all that is paid for is only read: `show-batch` shows the mask. "
            "Shorten the prompts, put several turns into a conversation, or raise tokens_per_step.",
        }


def _repeats(rebuilt: Rebuilt, rows: list[XrayRow]) -> Iterator[Finding]:
    """Of conversations the whole ones that come again: many share a system prompt."""
    whole = isinstance(rebuilt.stage, SFT)
    documents = [np.array([token.id for token in one]) for row in rows for one in row.documents]
    keys = np.concatenate([_windows(one, whole) for one in documents])
    _, counts = np.unique(keys, return_counts=True)
    again = 1 - len(counts) / len(keys)
    if again > MOST_REPEATED:
        what = "conversations" if whole else f"stretches of {WINDOW} tokens"
        yield {
            "cause": "data_dead",
            "severity": "error",
            "evidence": {
                "looked_at": len(keys),
                "of": what,
                "share_seen_before": round(again, 3),
                "most_often": int(counts.max()),
            },
            "remedy": "The same text comes again and again within an epoch: "
            "`langwright clean` takes repetitions out.",
        }


def _windows(ids: npt.NDArray[np.int64], whole: bool) -> npt.NDArray[np.uint64]:
    """A number for each stretch of a document, or for the whole: equal ones have equal numbers,
    different ones hardly ever."""
    size = len(ids) if whole or len(ids) < WINDOW else WINDOW
    factors = np.random.default_rng(size).integers(1, 2**63, size, dtype=np.uint64)
    stretches = np.lib.stride_tricks.sliding_window_view(ids.astype(np.uint64) + 1, size)
    return (stretches * factors).sum(axis=1, dtype=np.uint64)


def _epochs(rebuilt: Rebuilt) -> Iterator[Finding]:
    if not isinstance(rebuilt.stage, Pretrain):
        return
    many = {name: round(e, 2) for name, e in rebuilt.stage.epochs.items() if e > MOST_EPOCHS}
    if many:
        yield {
            "cause": "data_dead",
            "severity": "warning",
            "evidence": {"epochs": many},
            "remedy": "Text that is read more than about four times teaches little more: give "
            "more text, or fewer steps.",
        }


def _floor(rebuilt: Rebuilt, case: Case) -> Iterator[Finding]:
    """A loss far below what counting gets on text that was not counted."""
    bits = case.course.values("bits_per_byte")[-20:]
    if not bits or sum(bits) / len(bits) > 1.0:  # the floor of any text is below 4
        return
    floor = _ngram_bits(rebuilt)
    got = sum(bits) / len(bits)
    if got < floor / 4:
        yield {
            "cause": "data_dead",
            "severity": "error",
            "evidence": {
                "train_bits_per_byte": round(got, 4),
                "ngram_bits_per_byte": round(floor, 4),
            },
            "remedy": "No text is so easy to foresee: it repeats, it is learnt by heart, or what "
            "is to be predicted shows in what is read. Look at it with `show-batch`.",
        }


def _ngram_bits(rebuilt: Rebuilt) -> float:
    """Bits a byte that a byte n-gram of the run's first text gets on what was held out."""
    train, held_out = (texts(rebuilt, side) for side in ("train", "validation"))
    return WittenBell.fit(train).bits_per_byte(held_out)


def texts(rebuilt: Rebuilt, side: str) -> list[bytes]:
    """The first documents of what the run reads on that side, NGRAM_BYTES of them."""
    tokenizer = rebuilt.text.tokenizer
    found: list[bytes] = []
    for folder in rebuilt.data:
        shards, size = TokenShards(folder, side), 0
        for index in range(shards.num_documents):
            ids = shards.document(index).tolist()
            found.append(b"".join(map(tokenizer.token_bytes, ids)))
            size += len(found[-1])
            if size > NGRAM_BYTES / len(rebuilt.data):
                break
    return found
