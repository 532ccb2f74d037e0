"""What a call asks for, in no dialect."""

from __future__ import annotations

from dataclasses import dataclass

from langwright.backend import Request


@dataclass(frozen=True)
class Ask:
    """`requests` are put to `model` (None: the call names none): one, or in OpenAI's completions
    one for each prompt. `stream`: the answer comes piece by piece; `usage`: such a stream also
    tells what it took. `echo`: the prompt stands before the answer. `think`: whether the model is
    to think before it answers, where the call says so (None: as its template has it). `unheeded`
    are the parameters of the call that are not honoured. `assumes_top_k`: the dialect has one where
    the call says none."""

    model: str | None
    requests: tuple[Request, ...]
    stream: bool = False
    usage: bool = True
    echo: bool = False
    unheeded: tuple[str, ...] = ()
    think: bool | None = None
    assumes_top_k: bool = False

    @property
    def request(self) -> Request:
        """The only one."""
        (only,) = self.requests
        return only


@dataclass(frozen=True)
class EmbedAsk:
    """Texts, or the ids of their tokens, to be embedded. `base64`: as the bytes of float32 numbers,
    little-endian; `truncate`: what is too long is cut."""

    model: str | None
    texts: tuple[str | tuple[int, ...], ...]
    base64: bool = False
    truncate: bool = False
    unheeded: tuple[str, ...] = ()
