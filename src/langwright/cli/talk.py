"""Talking with a model at the terminal."""

from __future__ import annotations

from contextlib import closing, suppress

from langwright.cli.answering import print_events
from langwright.cli.output import note
from langwright.errors import BadInput
from langwright.providers import Conversation


def talk(conversation: Conversation) -> None:
    """Until /exit or Ctrl-D. Ctrl-C stops an answer, and the conversation goes on."""
    with suppress(ImportError):  # line editing, where the system has it
        import readline  # noqa: F401
    note(f"Talking to {conversation.model.name}. /reset forgets all, /exit or Ctrl-D leaves.")
    while True:
        try:
            said = input("> ").strip()
        except KeyboardInterrupt:
            note("\n(/exit or Ctrl-D leaves.)")
            continue
        except EOFError:
            note("")
            return
        if said == "/exit":
            return
        if said == "/reset":
            conversation.reset()
            note("(Forgotten.)")
        elif said:
            _answer(conversation, said)


def _answer(conversation: Conversation, said: str) -> None:
    # Closed here, so that an answer broken off is settled before the next turn.
    with closing(conversation.say(said)) as events:
        try:
            print_events(events)
        except KeyboardInterrupt:
            note("\n(Stopped.)")
        except BadInput as error:  # most often: the conversation has outgrown the window
            note(f"Error: {error.message}\n{error.remedy} /reset begins a new conversation.")
