"""The chat template: messages to tokens, with the loss mask. The only renderer there is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import accumulate

from langwright.errors import BadInput
from langwright.tokens.disguise import BEGIN, END, Disguise
from langwright.tokens.jinja import compiled
from langwright.tokens.messages import (
    Messages,
    Tools,
    normal,
    taught,
    without_parts,
    without_thoughts,
)
from langwright.tokens.tokenizer import Tokenizer, split_special

CHATML = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""The template of models grown here; without extensions, so that every engine runs it. A
conversation begins as every document does where the model has a token for that."""

TRAINING_DAY = datetime(2025, 1, 1)
"""The day that a template which tells the date tells in training, where what is learnt must not
depend on when."""

_Spans = dict[tuple[int, int], str]
"""Parts of a rendered text -> what to call them."""


class _Refused(BadInput):
    """The template's own code runs into an error, for a `reason`."""

    def __init__(self, reason: str, turn: int = 0) -> None:
        at = f" at turn {turn}" if turn else ""
        super().__init__(
            f"The model's chat template refuses the conversation{at}: {reason}.",
            remedy="Change the messages to what the template takes.",
        )
        self.reason = reason


class ChatTemplate:
    """A model's Jinja text with its tokenizer.

    `bos` and `eos` are the names that the template may ask for (`bos_token`, `eos_token`).
    """

    def __init__(self, source: str, tokenizer: Tokenizer, bos: str = "", eos: str = "") -> None:
        self.source, self.tokenizer, self.bos, self.eos = source, tokenizer, bos, eos
        self._names = list(tokenizer.special)
        self._disguise = Disguise(self._names)
        self._template = compiled(source)

    @property
    def may_think(self) -> bool:
        """Whether it can be told to have the model think, or not to."""
        return "enable_thinking" in self.source

    @property
    def tells_date(self) -> bool:
        """Whether it asks for the date (which in training is always `TRAINING_DAY`)."""
        return "strftime_now" in self.source

    def render(
        self,
        messages: Messages,
        *,
        tools: Tools | None = None,
        add_generation_prompt: bool = False,
    ) -> str:
        """The text that the model reads, for people to look at."""
        text, _ = self._seen(messages, tools, add_generation_prompt)
        return self._disguise.reveal(text)

    def encode(
        self,
        messages: Messages,
        *,
        tools: Tools | None = None,
        add_generation_prompt: bool = False,
        think: bool | None = None,
    ) -> list[int]:
        """The ids that the model reads. `think`: whether it is to think before it answers (None: as
        the template has it); raises `BadInput` where the template cannot be told."""
        if think is not None and not self.may_think:
            if think or "</think>" in self.source:
                raise BadInput(
                    "The chat template cannot be told whether the model is to think.",
                    remedy="Leave that out.",
                )
            think = None
        text, _ = self._seen(messages, tools, add_generation_prompt, think=think)
        return self._encode(text, {})[0]

    def encode_with_mask(
        self, messages: Messages, *, tools: Tools | None = None
    ) -> tuple[list[int], list[bool]]:
        """Ids of a whole conversation, and for each whether it is the assistant's to learn.

        Raises `BadInput` as `encode_turns`, and naming the turn when one is written otherwise in
        the whole than when it was generated.
        """
        rows = self._rows(messages, tools)
        if len(rows) > 1:
            first = next(iter(rows[0][1].values())).capitalize()
            raise BadInput(
                f"{first} cannot be told from what is around it: the template renders the "
                "conversation up to it otherwise than the whole.",
                remedy="Mark the assistant's part with {% generation %} in the template.",
            )
        return self._encode(*rows[0])

    def encode_turns(
        self, messages: Messages, *, tools: Tools | None = None
    ) -> list[tuple[list[int], list[bool]]]:
        """As `encode_with_mask`, in as many rows as it takes for each of the assistant's turns to
        be learnt exactly once, after the very prompt that it would be generated from.

        That is one row where the template writes a turn alike whatever follows it. Where it does
        not (Qwen3's drops the thoughts of earlier turns, gpt-oss's ends them with another token),
        a turn that the whole has otherwise has a row of its own, which ends with it. The row of the
        last turn is the last.

        Raises `BadInput` naming the turn that cannot be told from its prompt, and what of the
        messages the template would leave out.
        """
        return [self._encode(*row) for row in self._rows(messages, tools)]

    def _rows(self, messages: Messages, tools: Tools | None) -> list[tuple[str, _Spans]]:
        """The disguised texts, each with the spans to learn. A turn of weight 0 is in none."""
        turns = taught(messages)
        text, marked = self._seen(messages, tools, False, TRAINING_DAY)
        self._require_whole(messages, tools)
        if marked:
            rows = [(text, self._of_turns(marked, messages, turns))]
        else:
            rows = self._rows_by_prefix(messages, tools, text, turns)
        if not any(end > start for _, spans in rows for start, end in spans):
            raise BadInput(
                "The conversation has no token of the assistant's to learn from.",
                remedy="Each conversation needs an assistant turn that is not empty.",
            )
        return rows

    def _of_turns(self, marked: _Spans, messages: Messages, turns: list[int]) -> _Spans:
        """Those of the template's marks that are around these turns."""
        answers = [turn for turn, one in enumerate(messages) if one["role"] == "assistant"]
        if turns == answers:
            return marked
        if len(marked) != len(answers):
            raise BadInput(
                f"The template marks {len(marked)} parts of {len(answers)} assistant's turns, so "
                "that those of weight 0 cannot be told.",
                remedy="Take the weights out of the conversation.",
            )
        parts = zip(marked.items(), answers, strict=True)
        return {span: name for (span, name), turn in parts if turn in turns}

    def _rows_by_prefix(
        self, messages: Messages, tools: Tools | None, text: str, turns: list[int]
    ) -> list[tuple[str, _Spans]]:
        """Each turn lies between the prompt before it and its end, both as they are when it is
        the last; those that a text begins with are learnt in it."""
        untils, spans = {}, {}
        for turn in turns:
            before, untils[turn] = self._turn(messages, tools, turn)
            spans[turn] = (len(before), self._end_of_turn(untils[turn]))
        rows: list[tuple[str, _Spans]] = []
        waiting = list(turns)
        while waiting:
            whole = (
                text if not rows and text.startswith(untils[waiting[-1]]) else untils[waiting[-1]]
            )
            inside = [turn for turn in waiting if whole.startswith(untils[turn])]
            rows.append((whole, {spans[turn]: f"turn {turn + 1}" for turn in inside}))
            waiting = [turn for turn in waiting if turn not in inside]
        return rows[::-1] or [(text, {})]

    def _turn(self, messages: Messages, tools: Tools | None, turn: int) -> tuple[str, str]:
        """The prompt that the turn is generated from, and that with the turn behind it."""

        def prompt(earlier: Messages) -> str:
            return self._render(earlier, tools, True, TRAINING_DAY)[0]

        if turn:
            before = prompt(messages[:turn])
            until = self._render(messages[: turn + 1], tools, False, TRAINING_DAY)[0]
            if until.startswith(before):
                return before, until
            # gpt-oss's takes thoughts out of what is before an answer, once the answer is there.
            bare = prompt(without_thoughts(messages[:turn]))
            if until.startswith(bare):
                return before, before + until.removeprefix(bare)
        raise BadInput(
            f"Turn {turn + 1} cannot be told from what is around it: the template does not render "
            "it behind the prompt that it would be generated from.",
            remedy="Mark the assistant's part with {% generation %} in the template, and begin "
            "with a user turn.",
        )

    def _require_whole(self, messages: Messages, tools: Tools | None) -> None:
        """Raise `BadInput` for a part of the messages without which the text is the same."""
        given = normal(messages)
        for turn, message in enumerate(given):
            # An answer's as it is when it is the last: what is left out later was learnt then.
            rest = [] if message["role"] == "assistant" else given[turn + 1 :]
            for part, without in without_parts(message):
                whole = self._render([*given[: turn + 1], *rest], tools, False, TRAINING_DAY)
                try:
                    left = self._render([*given[:turn], without, *rest], tools, False, TRAINING_DAY)
                except BadInput:  # the template cannot do without it
                    continue
                if left == whole:
                    raise BadInput(
                        f"The chat template leaves out of turn {turn + 1} the {part}.",
                        remedy="Take it out of the data, or start from a model whose template "
                        "writes it.",
                    )

    def _end_of_turn(self, until: str) -> int:
        """The end of the last special token when only blanks follow it: those are the template's
        and never generated."""
        bare = until.rstrip()
        return len(bare) if any(bare.endswith(name) for name in self._names) else len(until)

    def _seen(
        self,
        messages: Messages,
        tools: Tools | None,
        add_generation_prompt: bool,
        now: datetime | None = None,
        think: bool | None = None,
    ) -> tuple[str, _Spans]:
        """As `_render`; raises `BadInput` that names the turn from which on the template refuses
        the conversation, and where it has no place for tools."""
        try:
            found = self._render(messages, tools, add_generation_prompt, now, think)
        except _Refused as refusal:
            turn = self._refused(messages, tools, add_generation_prompt)
            raise _Refused(refusal.reason, turn) from None
        if tools and found == self._render(messages, None, add_generation_prompt, now, think):
            raise BadInput(
                "The chat template has no place for tools.",
                remedy="Leave them out, or take a model whose template writes them.",
            )
        return found

    def _refused(self, messages: Messages, tools: Tools | None, prompt: bool) -> int:
        """The turn (from 1) with which, and with whatever follows, the conversation is refused."""
        turn = len(messages)
        while turn > 1:
            try:
                self._render(messages[: turn - 1], tools, prompt)
                break
            except _Refused:
                turn -= 1
        return turn

    def _render(
        self,
        messages: Messages,
        tools: Tools | None,
        add_generation_prompt: bool,
        now: datetime | None = None,
        think: bool | None = None,
    ) -> tuple[str, _Spans]:
        """The disguised text and the spans of its generation marks."""
        given = normal(messages)
        try:
            marked = self._template.render(
                messages=[
                    {
                        key: value if key == "role" else self._disguise.hide(value)
                        for key, value in message.items()
                    }
                    for message in given
                ],
                add_generation_prompt=add_generation_prompt,
                # Templates ask whether these are none.
                tools=self._disguise.hide(tools) if tools else None,
                documents=None,
                bos_token=self.bos,
                eos_token=self.eos,
                strftime_now=lambda form: (now or datetime.now()).strftime(form),
                **({} if think is None else {"enable_thinking": think}),
            )
        except Exception as error:  # whatever the template's own code runs into
            raise _Refused(str(error) or type(error).__name__) from None
        text, spans = "", {}
        for index, part in enumerate(marked.split(BEGIN)):
            inside, found, after = part.partition(END)
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
                tokens = self.tokenizer.encode(self._disguise.reveal(piece))
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
            edges = [len(self._disguise.reveal(piece[:edge]).encode()) for edge in (low, high)]
            if any(edge not in first_at for edge in edges):
                raise BadInput(
                    f"The text of {part} melts into one token with the template's: such an answer "
                    "could never be generated.",
                    remedy="Strip blanks from the beginning and end of the answers.",
                )
            first, last = (first_at[edge] for edge in edges)
            mask[first:last] = [True] * (last - first)
        return mask
