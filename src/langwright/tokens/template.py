"""The chat template: messages to tokens, with the loss mask. The only renderer there is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from langwright.errors import BadInput, Damaged
from langwright.tokens.tokenizer import Tokenizer, split_special

Messages = Sequence[Mapping[str, Any]]

CHATML = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""The template of models grown here; without extensions, so that every engine runs it. A
conversation begins as every document does where the model has a token for that."""

ROLES = ("system", "user", "assistant", "tool")

# Text of the messages that would read as a special token travels through the template in this
# disguise, so that only the template itself can emit one: a number between two marks (a special
# token's, or -1, -2 for the marks themselves, or -3 for nothing). The opening mark never stands
# for itself, so no text can forge a disguise or the borders of what the assistant says.
_OPEN, _CLOSE = "\U0010fffd", "\U0010fffc"
_DISGUISED = re.compile(f"{_OPEN}(-?[0-9]+){_CLOSE}")
_MARKS = {-1: _OPEN, -2: _CLOSE, -3: ""}
_NOTHING = f"{_OPEN}-3{_CLOSE}"
_BEGIN, _END = f"{_OPEN}begin{_CLOSE}", f"{_OPEN}end{_CLOSE}"


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}`: what the assistant says (transformers' tag)."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_wrap"), [], [], body).set_lineno(line)

    def _wrap(self, caller: Callable[[], str]) -> str:
        return _BEGIN + caller() + _END


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's own sandbox renders an unsafe attribute as nothing; this one refuses it."""

    def unsafe_undefined(self, obj: Any, attribute: str) -> NoReturn:
        raise SecurityError(
            f"it asks for the attribute '{attribute}' of a {type(obj).__name__}, which is unsafe"
        )


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateRuntimeError(message)


class ChatTemplate:
    """A model's Jinja text with its tokenizer.

    `bos` and `eos` are the names that the template may ask for (`bos_token`, `eos_token`).
    """

    def __init__(self, source: str, tokenizer: Tokenizer, bos: str = "", eos: str = "") -> None:
        self.source, self.tokenizer, self.bos, self.eos = source, tokenizer, bos, eos
        self._names = list(tokenizer.special)
        environment = _Sandbox(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", _Generation],
        )
        environment.globals["raise_exception"] = _raise_exception
        environment.filters["tojson"] = lambda value, **options: json.dumps(
            value, ensure_ascii=False, **options
        )
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise Damaged(
                f"The chat template is not valid Jinja (line {error.lineno}: {error.message}).",
                remedy="Correct the model's chat template.",
            ) from None
        except Exception as error:  # nesting too deep, a number too large …
            raise Damaged(
                f"The chat template cannot be read: {error or type(error).__name__}.",
                remedy="Correct the model's chat template.",
            ) from None

    def render(self, messages: Messages, *, add_generation_prompt: bool = False) -> str:
        """The text that the model reads, for people to look at."""
        return self._reveal(self._render(messages, add_generation_prompt)[0])

    def encode(self, messages: Messages, *, add_generation_prompt: bool = False) -> list[int]:
        """The ids that the model reads."""
        return self._encode(self._render(messages, add_generation_prompt)[0], {})[0]

    def encode_with_mask(self, messages: Messages) -> tuple[list[int], list[bool]]:
        """Ids of a whole conversation, and for each whether it is the assistant's to learn.

        Raises `BadInput` naming the turn when the template does not let that be told.
        """
        text, spans = self._render(messages, False)
        if not spans:
            spans = self._spans_by_prefix(messages, text)
        ids, mask = self._encode(text, spans)
        if not any(mask):
            raise BadInput(
                "The conversation has no token of the assistant's to learn from.",
                remedy="Each conversation needs an assistant turn that is not empty.",
            )
        return ids, mask

    def _spans_by_prefix(self, messages: Messages, text: str) -> dict[tuple[int, int], str]:
        """Where each assistant turn lies: between the prompt before it and the turn's end."""
        spans = {}
        for turn, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._render(messages[:turn], True)[0] if turn else ""
            until = self._render(messages[: turn + 1], False)[0]
            if not (turn and until.startswith(before) and text.startswith(until)):
                raise BadInput(
                    f"Turn {turn + 1} cannot be told from what is around it: the template renders "
                    "the conversation up to it otherwise than the whole.",
                    remedy="Mark the assistant's part with {% generation %} in the template, "
                    "and begin with a user turn.",
                )
            spans[len(before), self._end_of_turn(until)] = f"turn {turn + 1}"
        return spans

    def _end_of_turn(self, until: str) -> int:
        """The end of the last special token when only blanks follow it: those are the template's
        and never generated."""
        bare = until.rstrip()
        return len(bare) if any(bare.endswith(name) for name in self._names) else len(until)

    def _render(
        self, messages: Messages, add_generation_prompt: bool
    ) -> tuple[str, dict[tuple[int, int], str]]:
        """The disguised text and the spans of its generation marks (-> what to call them)."""
        for turn, message in enumerate(messages):
            if message.get("role") not in ROLES:
                raise BadInput(
                    f"Turn {turn + 1} has the role {message.get('role')!r}.",
                    remedy=f"Use one of {', '.join(ROLES)}.",
                )
            if message.get("content") is None and "tool_calls" not in message:
                raise BadInput(f"Turn {turn + 1} has no content.", remedy="Give it some text.")
        try:
            marked = self._template.render(
                messages=[
                    {
                        key: value if key == "role" else self._disguise(value)
                        for key, value in message.items()
                    }
                    for message in messages
                ],
                add_generation_prompt=add_generation_prompt,
                tools=None,  # templates ask whether they are none
                documents=None,
                bos_token=self.bos,
                eos_token=self.eos,
            )
        except Exception as error:  # whatever the template's own code runs into
            raise BadInput(
                "The model's chat template refuses the conversation: "
                f"{error or type(error).__name__}.",
                remedy="Change the messages to what the template takes.",
            ) from None
        text, spans = "", {}
        for index, part in enumerate(marked.split(_BEGIN)):
            inside, found, after = part.partition(_END)
            if found:
                spans[len(text), len(text) + len(inside)] = f"generation part {index}"
            text += inside + after
        return text, spans

    def _encode(
        self, text: str, spans: Mapping[tuple[int, int], str]
    ) -> tuple[list[int], list[bool]]:
        ids: list[int] = []
        mask: list[bool] = []
        place = 0  # in characters of the disguised text
        for piece, special in split_special(text, self.tokenizer.special):
            if special:
                ids.append(self.tokenizer.special[piece])
                mask.append(any(start <= place < end for start, end in spans))
            else:
                tokens = self.tokenizer.encode(self._reveal(piece))
                ids += tokens
                mask += self._mask_of(tokens, piece, place, spans)
            place += len(piece)
        return ids, mask

    def _mask_of(
        self, tokens: list[int], piece: str, place: int, spans: Mapping[tuple[int, int], str]
    ) -> list[bool]:
        mask = [False] * len(tokens)
        lengths = [len(self.tokenizer.token_bytes(token)) for token in tokens]
        # byte offset -> index of the token that begins there
        first_at = {at: index for index, at in enumerate(accumulate(lengths, initial=0))}
        for (start, end), part in spans.items():
            low, high = max(start - place, 0), min(end - place, len(piece))
            if low >= high:
                continue
            edges = [len(self._reveal(piece[:edge]).encode()) for edge in (low, high)]
            if any(edge not in first_at for edge in edges):
                raise BadInput(
                    f"The text of {part} melts into one token with the template's: such an answer "
                    "could never be generated.",
                    remedy="Strip blanks from the beginning and end of the answers.",
                )
            first, last = (first_at[edge] for edge in edges)
            mask[first:last] = [True] * (last - first)
        return mask

    def _disguise(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {self._disguise(name): self._disguise(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return [self._disguise(part) for part in value]
        if not isinstance(value, str):
            return value
        pieces = split_special(value, self.tokenizer.special)
        return "".join(
            f"{_OPEN}{self._names.index(piece)}{_CLOSE}" if special else self._disguise_rest(piece)
            for piece, special in pieces
        )

    def _disguise_rest(self, text: str) -> str:
        """The marks themselves, and the beginning of a name at the end of the text: a template
        that joins two texts without a gap must not complete it."""
        bare = text.rstrip()
        cuts = {
            len(bare) - length + 1
            for name in self._names
            for length in range(1, len(name))
            if bare.endswith(name[:length])
        }
        edges = [0, *sorted(cuts), len(text)]
        parts = (text[start:end] for start, end in pairwise(edges))
        return _NOTHING.join(
            re.sub(f"[{_OPEN}{_CLOSE}]", lambda mark: _disguised_mark(mark[0]), part)
            for part in parts
        )

    def _reveal(self, text: str) -> str:
        def original(match: re.Match[str]) -> str:
            number = int(match[1])
            return _MARKS[number] if number < 0 else self._names[number]

        return _DISGUISED.sub(original, text)


def _disguised_mark(mark: str) -> str:
    return f"{_OPEN}{-1 if mark == _OPEN else -2}{_CLOSE}"
