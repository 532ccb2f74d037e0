"""`langwright chat`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from langwright.cli.options import Backend, DeviceName, DtypeName, Json, ModelName
from langwright.cli.sampling import with_sampling

if TYPE_CHECKING:
    from langwright.providers import Options


@with_sampling
def chat(
    model: ModelName,
    message: Annotated[
        list[str] | None,
        typer.Option("--message", metavar="TEXT", help="Say this; again: the next turn."),
    ] = None,
    dtype: DtypeName = "float32",
    backend: Backend = "own",
    device: DeviceName = "cpu",
    as_json: Json = False,
    *,
    options: Options,
) -> None:
    """Talk to a model: at the terminal, or once with --message or piped text."""
    from langwright.cli.faults import WrongUsage
    from langwright.cli.given import decoded

    if as_json and not message:
        raise WrongUsage("--json needs a message.", remedy="Give it with --message.")
    if not message and not sys.stdin.isatty():
        # One line end is the pipe's (`echo`), not the message's.
        message = [decoded(sys.stdin.buffer.read(), "standard input").removesuffix("\n")]

    import langwright as lw
    from langwright.cli.answering import print_events
    from langwright.cli.output import put_json
    from langwright.cli.talk import talk
    from langwright.providers import Conversation, Generation

    conversation = Conversation(
        lw.load(model, dtype=dtype, backend=backend, device=device), **options
    )
    if not message:
        talk(conversation)
        return
    for turn in message:
        if as_json:
            last = Generation.collect(conversation.say(turn)).to_json()
        else:
            print_events(conversation.say(turn))
    if as_json:
        put_json(last | {"messages": conversation.messages})
