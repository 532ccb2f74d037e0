"""What an export is tried with: texts and conversations in which programs are known to differ."""

from __future__ import annotations

from dataclasses import dataclass

from langwright.errors import BadInput
from langwright.lifecycle.export.page_text import chat_frame
from langwright.model import ModelBundle
from langwright.tokens import Messages

TEXTS = (
    "The quick brown fox jumps over the lazy dog, doesn't it? I'LL say: DON'T! It's O'Neil's.",
    "Digits: 0 7 42 365 1234 12345 1234567890, 3.14159 -1e-9 1,000,000; ١٢٣ ４５６ x86 2nd",
    "Über den Wolken … «naïve café» 你好，世界！ 日本語のテキスト 한국어 العربية हिन्दी ไทย",
    "🙂🙃 robots 🤖🤖 and families 👨‍👩‍👧, flags 🇺🇳, ∑ ≠ ∞, ﬁ ™",
    "  indented\n\n\tlines\r\n and   blanks  \n\n\n  end \n",
    "def f(x):\n    return {'a': [x**2 for x in range(10)], \"b\": x!=0}  # code//x\n\tpass",
)
CHATS: tuple[Messages, ...] = (
    [{"role": "user", "content": "What is 12 + 345? Say it in 日本語 🙂"}],
    [
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": "Hi there, what's up?"},
        {"role": "user", "content": "Name 3 primes > 100.\n\nThanks"},
    ],
    [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "1234?"},
    ],
)
_SWEPT = 400
"""Tokens of the sweep through the vocabulary."""


@dataclass(frozen=True)
class Probe:
    """A text or a conversation, and the ids that our model reads for it. In the text of a
    `special` one, special tokens are meant as such. What follows is compared behind `read`, at
    `places`."""

    ids: list[int]
    window: int
    text: str | None = None
    messages: Messages | None = None
    special: bool = False

    @property
    def read(self) -> list[int]:
        """As many of the ids as the model's window holds, with room for the next."""
        return self.ids[: self.window - 1]

    @property
    def places(self) -> list[int]:
        last = len(self.read) - 1
        return sorted({last // 3, 2 * last // 3, last})

    def to_json(self) -> dict[str, object]:
        messages = None if self.messages is None else [dict(one) for one in self.messages]
        return {
            "text": self.text,
            "messages": messages,
            "special": self.special,
            "read": self.read,
            "places": self.places,
        }

    def __str__(self) -> str:
        shown = self.text if self.text is not None else str((self.messages or [{}])[-1]["content"])
        return repr(shown if len(shown) <= 40 else shown[:39] + "…")


def probes_of(model: ModelBundle) -> list[Probe]:
    """The probes that this model can read: each as its engine would."""
    tokenizer, template = model.tokenizer, model.template
    window = model.module.shape.context_length
    start = [] if model.start_id is None else [model.start_id]
    names = " and ".join(list(tokenizer.special)[:8])
    asked = [(text, False) for text in (*TEXTS, *_sweep(model))]
    asked += [(f"{names} 12", True)] if names else []
    found = []
    for text, special in asked:
        ids = start + tokenizer.encode(text, allow_special=special)
        found.append(Probe(ids, window, text=text, special=special))
    for messages in CHATS if template is not None else ():
        assert template is not None
        try:
            ids = template.encode(messages, add_generation_prompt=True)
        except BadInput:  # a template without a system turn
            continue
        found.append(Probe(ids, window, messages=messages))
    return found


def page_probes(model: ModelBundle) -> list[Probe]:
    """Those of what a page offers: raw texts, in which the names of special tokens are ordinary
    text, and the conversations that it can write, of a user who speaks first and last."""
    start = [] if model.start_id is None else [model.start_id]
    window = model.module.shape.context_length
    told = " and ".join([*model.tokenizer.special][:8])
    chats = chat_frame(model) is not None
    found = [
        probe
        for probe in probes_of(model)
        if (probe.text is not None and not probe.special)
        or (probe.messages is not None and chats and probe.messages[0]["role"] == "user")
    ]
    if told:
        found.append(Probe([*start, *model.tokenizer.encode(told)], window, text=told))
    return found


def _sweep(model: ModelBundle) -> list[str]:
    """Pieces from all over the vocabulary, one behind the other: a tokenizer that joins what it
    should not, or cuts elsewhere, shows in some of them."""
    tokenizer = model.tokenizer
    step = max(1, tokenizer.vocab_size // _SWEPT)
    marks = frozenset(tokenizer.special.values())
    pieces = [
        tokenizer.token_bytes(token).decode("utf-8", errors="ignore")
        for token in range(0, tokenizer.vocab_size, step)
        if token not in marks
    ]
    # NUL ends a text in some programs, and a leading blank may be one that the tokenizer adds.
    text = "".join(pieces).replace("\0", "")
    return [text[at : at + 400] for at in range(0, len(text), 400)]
