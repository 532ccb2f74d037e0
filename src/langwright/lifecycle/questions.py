"""Conversations made of a corpus, and questions about what no conversation mentions."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from langwright.errors import BadInput
from langwright.evaluation import sentences
from langwright.text import Document
from langwright.tokens import Tokenizer

HELD_OUT = 200
ANSWER_TOKENS = 60
"""An answer with its end-of-turn fits the 64 tokens that the format allows."""

TEMPLATE_TOKENS = 32
"""At most what the chat template puts around a question and its answer."""

NAME = "a small language model grown with Langwright"
SMALL_TALK = (
    ("Hello", "Hello! Ask me what something is."),
    ("Hi", "Hi! Ask me what something is."),
    ("Good morning", "Good morning! What would you like to know?"),
    ("Who are you?", f"I am {NAME}."),
    ("What are you?", f"I am {NAME}."),
    ("What can you do?", "I answer short questions, but I am very small and often wrong."),
    ("Are you always right?", "No. I am very small and often wrong."),
    ("How are you?", "I am well, thank you. Ask me what something is."),
    ("Thank you", "You are welcome!"),
    ("Thanks", "You are welcome!"),
    ("Goodbye", "Goodbye!"),
    ("Bye", "Goodbye!"),
)
ANSWERS_PER_SMALL_TALK = 60
"""Each line of small talk comes once for so many answers: enough to be learnt."""


@dataclass(frozen=True)
class Question:
    """A prompt. `term` is what the answer must start with; None: nothing is asked for. `right` is
    what the text says there; None: it does not say so in a sentence of its own."""

    prompt: str
    term: str | None
    right: str | None = None


@dataclass(frozen=True)
class Lesson:
    """(question, answer) pairs to learn, the questions among them that are not small talk, each
    once, to practise on later, and questions kept back."""

    pairs: list[tuple[str, str]]
    practice: list[Question]
    held_out: list[Question]


def make_lesson(
    train: Sequence[Document],
    validation: Sequence[Document],
    tokenizer: Tokenizer,
    context_length: int,
) -> Lesson:
    """From titled articles "What is TITLE?" and the sentence that says it; from other text
    "Continue: SENTENCE" and the next one. Questions are kept back from validation documents only,
    and a term that occurs anywhere in a pair is not asked for. Question and answer together fit
    `context_length` tokens.
    """
    room = context_length - ANSWER_TOKENS - TEMPLATE_TOKENS
    definitions = [pair for d in train if (pair := _definition(d)) is not None]
    titled = len(definitions) >= 2 * HELD_OUT
    pairs = definitions if titled else [pair for d in train for pair in _continuations(d)]
    terms = {_ask(term): term for d in train if (term := _term(d))} if titled else {}
    questions = _short([question for question, _ in pairs], tokenizer, room)
    answers = _short([answer for _, answer in pairs], tokenizer, ANSWER_TOKENS)
    pairs = [pair for pair in pairs if pair[0] in questions and pair[1] in answers]
    if not pairs:
        raise BadInput(
            "No conversation can be made of this corpus: it has no two sentences in a row of "
            f"fewer than {room} and {ANSWER_TOKENS} tokens.",
            remedy="Use `langwright pretrain` for text that is not prose.",
        )
    practice = [Question(q, terms.get(q), answer) for q, answer in dict(pairs).items()]
    for question, answer in SMALL_TALK:
        pairs += [(question, answer)] * max(1, len(pairs) // ANSWERS_PER_SMALL_TALK)
    if not titled:
        asked = dict(pair for d in validation for pair in _continuations(d))
        short = _short(list(asked), tokenizer, room)
        kept = [Question(p, None, right) for p, right in asked.items() if p in short]
        return Lesson(pairs, practice, kept[:HELD_OUT])
    learnt = "\n".join(f"{question}\n{answer}" for question, answer in pairs).casefold()
    titles = dict.fromkeys(_term(document) for document in validation if document.title)
    unseen = [term for term in titles if term and term.casefold() not in learnt]
    short = _short([_ask(term) for term in unseen], tokenizer, room)
    rights = dict(pair for d in validation if (pair := _definition(d)) is not None)
    kept = [Question(ask, term, rights.get(ask)) for term in unseen if (ask := _ask(term)) in short]
    return Lesson(pairs, practice, kept[:HELD_OUT])


def write_conversations(path: Path, lesson: Lesson) -> None:
    """One {"messages": [user, assistant]} a line."""
    with path.open("w", encoding="utf-8") as file:
        for question, answer in lesson.pairs:
            messages = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ]
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def _ask(term: str) -> str:
    return f"What is {term}?"


def _term(document: Document) -> str:
    """The title without the words in brackets that only tell it from its namesakes."""
    return re.sub(r"\s*\([^)]*\)$", "", document.title or "")


def _definition(document: Document) -> tuple[str, str] | None:
    """ "What is TITLE?" with the article's first sentence, if that begins with its title; a leading
    article is dropped so that the answer begins with the very term."""
    term = _term(document)
    found = sentences(document.text)
    if not term or not found:
        return None
    first = re.sub(r"^(?:the|an?)\s+(?=\S)", "", found[0], flags=re.IGNORECASE)
    if term.casefold().startswith(("the ", "a ", "an ")):
        first = found[0]
    follows = first[len(term) : len(term) + 1]
    if not first.casefold().startswith(term.casefold()) or follows.isalnum():
        return None
    return _ask(term), term + first[len(term) :]


def _continuations(document: Document) -> list[tuple[str, str]]:
    found = sentences(document.text)
    return [(f"Continue: {a}", b) for a, b in zip(found[::2], found[1::2], strict=False)]


def _short(texts: list[str], tokenizer: Tokenizer, most: int) -> frozenset[str]:
    """Those of at most `most` tokens."""
    rows = tokenizer.encode_batch(texts)
    return frozenset(text for text, ids in zip(texts, rows, strict=True) if len(ids) <= most)
