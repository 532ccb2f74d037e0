"""What a call fails for, in no dialect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from langwright.errors import (
    BadInput,
    BadSettings,
    Busy,
    LangwrightError,
    NetworkMissing,
    NotFound,
    TooLong,
    Unsupported,
)
from langwright.wire.body import BadBody

FailureKind = Literal[
    "invalid", "unauthorized", "forbidden", "not_found", "too_large", "too_many", "internal",
    "unavailable", "timeout",
]  # fmt: skip

STATUS: dict[FailureKind, int] = {
    "invalid": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "timeout": 408,
    "too_large": 413,
    "too_many": 429,
    "internal": 500,
    "unavailable": 503,
}


@dataclass(frozen=True)
class Failure:
    """`param` is the parameter at fault, `code` a finer word for programs; `retry_after` is in
    seconds. `prompt_tokens` and `window` are told where the one does not fit the other."""

    kind: FailureKind
    message: str
    param: str | None = None
    code: str | None = None
    retry_after: int | None = None
    prompt_tokens: int | None = None
    window: int | None = None

    @property
    def status(self) -> int:
        return STATUS[self.kind]


class Refused(LangwrightError):
    """A call that fails for what `failure` says."""

    type = "refused"

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message, remedy="")
        self.failure = failure

    def __str__(self) -> str:
        return self.message


def failure_of(error: Exception) -> Failure:
    """What an error means to who called. What is no error of ours tells nothing of the inside."""
    if isinstance(error, Refused):
        return error.failure
    if isinstance(error, TooLong):
        return Failure(
            "invalid",
            str(error),
            "messages",
            "context_length_exceeded",
            prompt_tokens=error.tokens,
            window=error.window,
        )
    if isinstance(error, BadBody):
        return Failure("invalid", error.message, error.param)
    if isinstance(error, NotFound):
        return Failure("not_found", str(error), "model", "model_not_found")
    if isinstance(error, Unsupported):
        return Failure("invalid", str(error), code="unsupported")
    if isinstance(error, Busy):
        return Failure("too_many", str(error), retry_after=1)
    if isinstance(error, BadInput | BadSettings):
        return Failure("invalid", str(error))
    if isinstance(error, NetworkMissing):
        return Failure("unavailable", str(error))
    if isinstance(error, LangwrightError):
        return Failure("internal", str(error))
    return Failure("internal", "The server failed; its log says where.")


KINDS: dict[int, FailureKind] = {
    **{status: kind for kind, status in STATUS.items()},
    422: "invalid",
    502: "unavailable",
    504: "timeout",
    529: "unavailable",
}


def kind_of(status: int) -> FailureKind:
    """What a status of HTTP means."""
    return KINDS.get(status) or ("invalid" if 400 <= status < 500 else "internal")


def error_of(failure: Failure, *, known: Sequence[str] = ()) -> LangwrightError:
    """A failure that another server tells, as the error a person needs to hear. `known` are the
    models that it has."""
    said = f"The server says: {failure.message.rstrip('.')}."
    if failure.kind in ("unauthorized", "forbidden"):
        return BadSettings(said, remedy="Set LANGWRIGHT_API_KEY to a key of this server's.")
    if failure.kind == "not_found":
        named = f"It knows {', '.join(known)}." if known else "Check the address and the model."
        return NotFound(said, remedy=named)
    if failure.kind == "too_many":
        wait = f"in {failure.retry_after} seconds" if failure.retry_after else "later"
        return Busy(said, remedy=f"Try again {wait}, or ask for less at once.")
    if failure.kind in ("invalid", "too_large"):
        long = "context" in (failure.code or "")
        remedy = "Shorten the prompt or the answer." if long else "Change the request."
        return BadInput(said, remedy=remedy)
    return LangwrightError(said, remedy="Try again, and look into the server's log.")
