"""The shapes in which people have preferences, told apart by their fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from langwright.errors import BadInput
from langwright.training.comparisons import Comparison
from langwright.training.judged import Judged
from langwright.training.messages import message_of, messages_of

Row = Mapping[str, Any]
Messages = list[dict[str, Any]]

Note = Callable[[str], None]
"""Called with the reason why something of the row is left out."""

DIFFERENT_PROMPTS = "the two sides have different prompts"
NO_USER = "the prompt does not end with the user"
EQUAL = "both answers are the same"
EMPTY = "an answer is empty"
UNRANKED = "an answer has no rank, or was deleted"
ALONE = "no prompt has two ranked answers"


@dataclass(frozen=True)
class Found:
    """What a row says: answers with their ranks, or one with a label."""

    messages: Messages
    answers: list[str]
    ranks: list[int] | None = None
    label: bool | None = None
    margin: float | None = None
    models: list[str] | None = None
    part: str = ""
    """Which part of the row it is, where there are several."""

    def comparison(self, source: str) -> Comparison:
        assert self.ranks is not None
        return Comparison(
            self.messages,
            self.answers,
            self.ranks,
            margin=self.margin,
            models=self.models,
            source=source + self.part,
        )

    def judged(self, source: str) -> Judged:
        assert self.label is not None
        return Judged(self.messages, self.answers[0], self.label, source)


Reader = Callable[[Row, Note], Iterator[Found]]


@dataclass(frozen=True)
class Shape:
    """`name` is what a person is told; `needs` tells it from the others, `reads` is all that it
    understands; `found` is what a row says."""

    name: str
    needs: frozenset[str]
    reads: frozenset[str]
    found: Reader
    fits: Callable[[Row], bool] = lambda row: True


def shape_of(row: Row) -> Shape:
    """Raises `BadInput` that shows all shapes where it has none of them."""
    for shape in SHAPES:
        if shape.needs <= row.keys() and shape.fits(row):
            return shape
    known = "; ".join(f"{' + '.join(sorted(shape.needs))} ({shape.name})" for shape in SHAPES)
    raise BadInput(
        f"The fields {', '.join(map(repr, row)) or '(none)'} are of no shape that is known.",
        remedy=f"Known are {known}.",
    )


def _v1(row: Row, note: Note) -> Iterator[Found]:
    chosen, rejected = (messages_of(row[key]) for key in ("chosen_messages", "rejected_messages"))
    return _sides([], chosen, rejected, row, note)


def _sharegpt(row: Row, note: Note) -> Iterator[Found]:
    if row.get("tools"):
        raise BadInput("There are 'tools', which are not read.", remedy="Leave them out.")
    system = row.get("system")
    prompt = [{"role": "system", "content": system}] if system else []
    prompt += messages_of(row["conversations"])
    return _sides(prompt, [message_of(row["chosen"])], [message_of(row["rejected"])], row, note)


def _alpaca(row: Row, note: Note) -> Iterator[Found]:
    """LLaMA-Factory's: the instruction, and its input in the next line."""
    if row.get("history"):
        raise BadInput("There is a 'history', which is not read.", remedy="Write conversations.")
    asked = "\n".join(str(row[key]) for key in ("instruction", "input") if row.get(key))
    prompt = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    prompt += [{"role": "user", "content": asked}]
    return _sides(prompt, _side(row["chosen"]), _side(row["rejected"]), row, note)


def _explicit(row: Row, note: Note) -> Iterator[Found]:
    """A prompt beside both sides, which are texts, messages, or whole conversations that hold the
    prompt once more (UltraFeedback's)."""
    prompt, chosen, rejected = row["prompt"], _side(row["chosen"]), _side(row["rejected"])
    if isinstance(prompt, str) and "assistant" not in (chosen[0]["role"], rejected[0]["role"]):
        if not all(_holds(side, prompt) for side in (chosen, rejected)):
            raise BadInput(
                "The conversations do not hold the prompt.", remedy="Correct or remove it."
            )
        return _sides([], chosen, rejected, row, note)
    return _sides(_prompt(prompt), chosen, rejected, row, note)


def _holds(side: Messages, prompt: str) -> bool:
    return any(message.get("content") == prompt for message in side)


def _implicit(row: Row, note: Note) -> Iterator[Found]:
    return _sides([], messages_of(row["chosen"]), messages_of(row["rejected"]), row, note)


def _tree(row: Row, note: Note) -> Iterator[Found]:
    """Of each turn of the user's in a tree of oasst, the answers that have a rank."""
    found = list(_branch(row["prompt"], [], note))
    if not found:
        note(ALONE)
    return iter(found)


def _branch(node: Any, before: Messages, note: Note) -> Iterator[Found]:
    try:
        here = [*before, message_of({"role": node["role"], "content": node["text"]})]
        replies = list(node.get("replies") or ())
        answers = [one for one in replies if one["role"] == "assistant"]
        kept = [one for one in answers if one.get("rank") is not None and not one.get("deleted")]
        if len(answers) > 1:
            for _ in range(len(answers) - len(kept)):
                note(UNRANKED)
        if len(kept) > 1:
            names = [one.get("model_name") for one in kept]
            yield Found(
                here,
                [one["text"] for one in kept],
                [one["rank"] for one in kept],
                models=names if all(names) else None,
                part=f"/{node['message_id']}",
            )
    except (KeyError, TypeError, AttributeError):
        raise BadInput(
            "This is no message of a tree.", remedy='It has "message_id", "role" and "text".'
        ) from None
    for reply in replies:
        yield from _branch(reply, here, note)


def _kto(row: Row, note: Note) -> Iterator[Found]:
    turns = _prompt(row["prompt"]) + _side(row["completion"])
    return _one_side(turns, row, note)


def _kto_messages(row: Row, note: Note) -> Iterator[Found]:
    return _one_side(messages_of(row["messages"]), row, note)


def _prompt(given: object) -> Messages:
    messages = messages_of(given)
    # "…\n\nAssistant:" asks for the answer and says nothing.
    return messages[:-1] if messages[-1] == {"role": "assistant", "content": ""} else messages


def _side(given: object) -> Messages:
    if isinstance(given, str):
        return [{"role": "assistant", "content": given}]
    return [message_of(given)] if isinstance(given, Mapping) else messages_of(given)


def _sides(
    prompt: Messages, chosen: Messages, rejected: Messages, row: Row, note: Note
) -> Iterator[Found]:
    better, worse = prompt + chosen, prompt + rejected
    answers = [_answer(better[-1]), _answer(worse[-1])]
    if better[:-1] != worse[:-1]:
        note(DIFFERENT_PROMPTS)
    elif _asks(better[:-1], note):
        yield Found(better[:-1], answers, [0, 1], margin=row.get("margin"))


def _one_side(turns: Messages, row: Row, note: Note) -> Iterator[Found]:
    answer = _answer(turns[-1])
    if not isinstance(row["label"], bool):
        raise BadInput(f"The label is {row['label']!r}.", remedy="Write true or false.")
    if _asks(turns[:-1], note):
        yield Found(turns[:-1], [answer], label=row["label"])


def _asks(prompt: Messages, note: Note) -> bool:
    fits = bool(prompt) and prompt[-1]["role"] in ("user", "tool")
    if not fits:
        note(NO_USER)
    return fits


def _answer(message: Mapping[str, Any]) -> str:
    if message["role"] != "assistant" or message.keys() != {"role", "content"}:
        raise BadInput(
            "An answer is no text of the assistant's alone: it is a message with "
            + ", ".join(f"{key} {value!r:.40}" for key, value in message.items())
            + ".",
            remedy="Only what an assistant says can be compared, not what tools it calls.",
        )
    return str(message["content"])


def _shape(name: str, needs: str, found: Reader, also: str = "", **more: Any) -> Shape:
    fields = frozenset(needs.split())
    return Shape(name, fields, fields | frozenset(also.split()), found, **more)


def _texts(row: Row) -> bool:
    """As hh-rlhf has them. Of other texts nobody can tell where the prompt ends."""
    return all(
        isinstance(row[key], str) and row[key].startswith("\n\nHuman:")
        for key in ("chosen", "rejected")
    )


SHAPES = (
    _shape("LLaMA-Factory v1", "chosen_messages rejected_messages", _v1, "margin"),
    _shape("sharegpt", "conversations chosen rejected", _sharegpt, "system tools margin"),
    _shape("alpaca", "instruction chosen rejected", _alpaca, "input system history margin"),
    _shape(
        "oasst trees",
        "prompt",
        _tree,
        "message_tree_id tree_state",
        fits=lambda row: isinstance(row["prompt"], Mapping) and "replies" in row["prompt"],
    ),
    _shape("TRL, explicit prompt", "prompt chosen rejected", _explicit, "margin"),
    _shape("hh-rlhf", "chosen rejected", _implicit, "margin", fits=_texts),
    _shape(
        "TRL, implicit prompt",
        "chosen rejected",
        _implicit,
        "margin",
        fits=lambda row: isinstance(row["chosen"], list) and isinstance(row["rejected"], list),
    ),
    _shape("TRL, KTO", "prompt completion label", _kto),
    _shape("LLaMA-Factory, KTO", "messages label", _kto_messages),
)
"""In the order in which they are tried."""
