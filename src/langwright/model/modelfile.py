"""Ollama's Modelfile for a GGUF file: the chat template as Ollama reads it, and what ends."""

from __future__ import annotations

from itertools import pairwise

from langwright.errors import BadInput
from langwright.model.bundle import ModelBundle
from langwright.tokens import ChatTemplate, Messages

_CONTENTS = "\U0010fff0", "\U0010fff1", "\U0010fff2", "\U0010fff3", "\U0010fff4"


def modelfile(gguf: str, model: ModelBundle) -> str:
    """`FROM` the file named `gguf` beside it, `TEMPLATE` and the `stop` parameters.

    Ollama's templates are Go's, not Jinja's. Where the model's puts each message between a
    beginning and an end that only its role decides, that is said in Go, tried on several
    conversations against the model's own; where it does more, no TEMPLATE is written and Ollama
    takes the one in the GGUF.
    """
    lines = [f"FROM ./{gguf}"]
    names = {token: name for name, token in model.tokenizer.special.items()}
    if model.template is not None:
        go = go_template(model.template, "" if model.start_id is None else names[model.start_id])
        if go is None:
            lines.append("# The chat template is the one inside the GGUF file.")
        else:
            lines.append(f'TEMPLATE """{go}"""')
    for end in sorted(model.end_ids & names.keys()):
        if '"' not in names[end]:
            lines.append(f'PARAMETER stop "{names[end]}"')
    return "\n".join(lines) + "\n"


def go_template(template: ChatTemplate, start: str = "") -> str | None:
    """The template in Go's language; None where it does more than put messages in frames. `start`
    is what Ollama itself puts before the text."""
    try:
        frames = _Frames(template, start)
        if not all(frames.render(chat) == frames.expected(chat) for chat in _chats()):
            return None
    except (BadInput, ValueError):
        return None
    parts = [*frames.frames.values(), (frames.head, frames.prompt)]
    if any("{{" in text or '"""' in text for pair in parts for text in pair):
        return None
    head = f"{{{{ if not .System }}}}{frames.head}{{{{ end }}}}" if frames.head else ""
    branches = "{{ else ".join(
        f'if eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}'
        for role, (before, after) in frames.frames.items()
    )
    return (
        f"{head}{{{{ range .Messages }}}}{{{{ {branches}{{{{ end }}}}{{{{ end }}}}{frames.prompt}"
    )


class _Frames:
    """What the template puts around each role's messages, before all where there is no system
    message, and behind all to ask for an answer."""

    def __init__(self, template: ChatTemplate, start: str) -> None:
        self._template, self._start = template, start
        one = [{"role": "user", "content": _CONTENTS[0]}]
        asked, told = self._full(one), self._full(one, prompt=False)
        if not asked.startswith(told):
            raise ValueError
        self.prompt = asked.removeprefix(told)
        chat = [{"role": "system", "content": _CONTENTS[4]}, *_talk(4)]
        found = self._full(chat, prompt=False)
        cuts = [found.index(message["content"]) for message in chat]
        between = [found[at + 1 : end] for at, end in pairwise(cuts)]
        # What ends one message and what begins the next lie together between them; the ends of
        # whole conversations tell the two apart.
        last = found[cuts[-1] + 1 :]
        system = found[: cuts[0]]
        if not between[2].startswith(last):
            raise ValueError
        user = between[2].removeprefix(last)
        if not between[0].endswith(user):
            raise ValueError
        after_system = between[0].removesuffix(user)
        closing = told[told.index(_CONTENTS[0]) + 1 :]
        if not between[1].startswith(closing):
            raise ValueError
        self.frames = {
            "system": (system, after_system),
            "user": (user, closing),
            "assistant": (between[1].removeprefix(closing), last),
        }
        start = told[: told.index(_CONTENTS[0])]
        if not start.endswith(user):
            raise ValueError
        self.head = start.removesuffix(user)

    def render(self, messages: Messages) -> str:
        """As Ollama renders the Go template."""
        head = "" if messages[0]["role"] == "system" else self.head
        framed = (
            f"{self.frames[one['role']][0]}{one['content']}{self.frames[one['role']][1]}"
            for one in messages
        )
        return head + "".join(framed) + self.prompt

    def expected(self, messages: Messages) -> str:
        return self._full(messages)

    def _full(self, messages: Messages, *, prompt: bool = True) -> str:
        text = self._template.render(messages, add_generation_prompt=prompt)
        return text.removeprefix(self._start)


def _talk(count: int) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[index % 2], "content": _CONTENTS[index]} for index in range(count)]


def _chats() -> list[Messages]:
    system = {"role": "system", "content": "Be brief."}
    said = [
        {**one, "content": text}
        for one, text in zip(_talk(3), ("Hi", "Yes? ", " 2+2"), strict=True)
    ]
    return [said[:1], said, [system, said[0]], [system, *said]]
