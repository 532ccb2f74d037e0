"""The X-ray of a micro-batch: what becomes of every token in it, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from langwright.model import IGNORED
from langwright.model.text_parts import TextParts
from langwright.tokens import Tokenizer
from langwright.training.batch import MicroBatch

State = Literal["trained", "masked", "padded", "cut"]


@dataclass(frozen=True)
class XrayToken:
    """A token of a row. `trained`: it is a target; `masked`: it is only read; `padded`: it fills
    the row; `cut`: here the edge of the window cuts a document, whose other part is in another row
    (the first of two such tokens is trained, the second read). `document` counts within the row."""

    id: int
    text: str
    state: State
    trained: bool
    document: int | None


@dataclass(frozen=True)
class XrayRow:
    """Row `row` of the step (from 1), in its micro-batch `micro_batch` (from 1). `label` is what
    somebody said of the answer in it, if anybody did."""

    row: int
    micro_batch: int
    tokens: list[XrayToken]
    label: str = ""

    @property
    def trained(self) -> int:
        """How many of its tokens are targets."""
        return sum(token.trained for token in self.tokens)

    @property
    def padded(self) -> int:
        return sum(token.state == "padded" for token in self.tokens)

    @property
    def documents(self) -> list[list[XrayToken]]:
        """The tokens of each document."""
        inside = (token for token in self.tokens if token.document is not None)
        return [list(tokens) for _, tokens in groupby(inside, key=lambda token: token.document)]


@dataclass(frozen=True)
class Problem:
    """What is wrong with a row, and what to do about it."""

    kind: Literal["nothing_trained", "end_not_trained", "start_doubled"]
    row: int
    micro_batch: int
    problem: str
    remedy: str


def xray(
    batches: Sequence[MicroBatch],
    tokenizer: Tokenizer,
    end_of_document: int | None,
    cut_at: int | None = None,
) -> list[XrayRow]:
    """All rows of a step. `end_of_document` is what stands around whole documents in packed rows;
    None: they are conversations, whole unless they have as many inputs as `cut_at`."""
    rows: list[XrayRow] = []
    for number, batch in enumerate(batches, start=1):
        for ids, targets, size, lengths in _rows(batch):
            tokens: list[XrayToken] = []
            start = 0
            for document, length in enumerate(lengths):
                end = start + length
                tokens += _document(
                    ids[start:end], targets[start:end], document, tokenizer, end_of_document, cut_at
                )
                start = end
            padding = (XrayToken(one, "", "padded", False, None) for one in ids[size:])
            rows.append(XrayRow(len(rows) + 1, number, [*tokens, *padding]))
    return rows


def _rows(batch: MicroBatch) -> Iterator[tuple[list[int], list[int], int, list[int]]]:
    """Of each row: ids, targets, how many places are no padding, the lengths of its documents."""
    sizes = batch.sizes or [batch.ids_BT.shape[1]] * len(batch.ids_BT)
    left = list(batch.lengths or ())
    rows = zip(batch.ids_BT.tolist(), batch.targets_BT.tolist(), sizes, strict=True)
    for ids, targets, size in rows:
        lengths = [] if left else [size]
        while left and sum(lengths) < size:
            lengths.append(left.pop(0))
        if batch.lengths and size < len(ids):
            left.pop(0)  # the padding's
        yield ids, targets, size, lengths


def _document(
    ids: list[int],
    targets: list[int],
    document: int,
    tokenizer: Tokenizer,
    end_of_document: int | None,
    cut_at: int | None,
) -> list[XrayToken]:
    """The token that it is entered with, then its own. Of what is not learnt the last one is not
    in the batch: nothing would follow it."""
    seen = [(ids[0], False)]
    for place, target in enumerate(targets):
        if target != IGNORED:
            seen.append((target, True))
        elif place + 1 < len(ids):
            seen.append((ids[place + 1], False))
    last = len(seen) - 1
    special = frozenset(tokenizer.special.values())
    found = []
    for place, (token, trained) in enumerate(seen):
        edge = place in (0, last) and end_of_document not in (None, token)
        edge = edge or (place == last and len(ids) == cut_at and token not in special)
        state: State = "cut" if edge else "trained" if trained else "masked"
        found.append(XrayToken(token, _text(tokenizer, token), state, trained, document))
    return found


def _text(tokenizer: Tokenizer, token: int) -> str:
    if token >= tokenizer.vocab_size:
        return f"<no token {token}>"
    return tokenizer.token_bytes(token).decode("utf-8", errors="backslashreplace")


def problems(rows: Sequence[XrayRow], text: TextParts, conversations: bool) -> Iterator[Problem]:
    """What is wrong with each row: a start token twice; of conversations also a row in which
    nothing is trained, and an answer whose end is not."""
    special = set(text.tokenizer.special.values())
    for row in rows:
        for document in row.documents:
            first, *rest = (token.id for token in document[:2])
            if rest == [first] and first in special:
                yield Problem(
                    "start_doubled",
                    row.row,
                    row.micro_batch,
                    f"{document[0].text} stands twice at the beginning",
                    "Write the start token once: either the chat template or the text has it."
                    if conversations
                    else "Take empty documents out of the corpus.",
                )
            if conversations:
                yield from _unlearnt(row, document, text)


def _unlearnt(row: XrayRow, document: list[XrayToken], text: TextParts) -> Iterator[Problem]:
    answers = [list(tokens) for trained, tokens in groupby(document, _trained) if trained]
    if not answers:
        yield Problem(
            "nothing_trained",
            row.row,
            row.micro_batch,
            "no token is trained",
            "Give the conversation an assistant turn that is not empty, and mark it in the chat "
            "template with {% generation %}.",
        )
    ends = text.end_ids or set(text.tokenizer.special.values())
    for answer in answers:
        if answer[-1].state == "cut":
            continue
        if not any(token.id in ends for token in answer):
            begins = "".join(token.text for token in answer[:8])
            names = " or ".join(sorted(_text(text.tokenizer, end) for end in ends))
            yield Problem(
                "end_not_trained",
                row.row,
                row.micro_batch,
                f"the end of the turn {begins!r} ({names}) is not trained, so that the model "
                "would not learn to stop",
                "Move the end-of-turn token into {% generation %} of the chat template; if the "
                "template ends turns with another token, add that to eos_token_id.",
            )


def _trained(token: XrayToken) -> bool:
    return token.trained
