"""Talking at a real (pseudo) terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("pseudo terminals are a thing of Unix", allow_module_level=True)

from .terminal import Terminal


@pytest.fixture
def open_chat(open_terminal: Callable[..., Terminal], request: pytest.FixtureRequest) -> Terminal:
    return open_terminal("chat", *request.param)


PROMPT = "\n> "


@pytest.mark.parametrize("open_chat", [["tiny", "--seed", "1", "--max-tokens", "5"]], indirect=True)
def test_turns_reset_and_leaving(open_chat: Terminal) -> None:
    open_chat.until(PROMPT)
    open_chat.type("hello\n")
    open_chat.until(PROMPT)
    open_chat.type("/reset\n")
    assert "(Forgotten.)" in open_chat.until(PROMPT)
    open_chat.type("/exit\n")
    assert open_chat.leave() == 0


@pytest.mark.parametrize(
    "open_chat", [["tiny", "--temperature", "0", "--max-tokens", "4000"]], indirect=True
)
def test_ctrl_c_stops_the_answer_and_the_chat_goes_on(open_chat: Terminal) -> None:
    open_chat.until(PROMPT)
    open_chat.type("hello\n")
    open_chat.until("\n\r\n\r\n")  # the answer is on its way: it repeats a line end
    open_chat.type("\x03")
    assert "(Stopped.)" in open_chat.until(PROMPT)
    open_chat.type("\x04")
    assert open_chat.leave() == 0


@pytest.mark.parametrize("open_chat", [["short", "--seed", "1"]], indirect=True)
def test_a_full_window_is_said_and_reset_begins_again(open_chat: Terminal) -> None:
    open_chat.until(PROMPT)
    open_chat.type("words " * 60 + "\n")
    said = open_chat.until(PROMPT)
    assert "window is 48" in said
    assert "/reset" in said.partition("Error")[2]
    open_chat.type("hi\n")
    assert "Error" not in open_chat.until(PROMPT)
    open_chat.type("/exit\n")
    assert open_chat.leave() == 0


@pytest.mark.parametrize("open_chat", [["tinny"]], indirect=True)
def test_a_misspelt_model_ends_before_the_first_word(open_chat: Terminal) -> None:
    assert "There is no model" in open_chat.until("Did you mean 'tiny'?")
    assert open_chat.leave() == 1


@pytest.mark.slow
def test_what_was_grown_can_be_talked_to_at_once(
    open_terminal: Callable[..., Terminal], recipe: str, tmp_path: Path
) -> None:
    words, home = ("grow", "--preset", recipe, "--name", "mine"), str(tmp_path / "home")
    terminal = open_terminal(*words, LANGWRIGHT_HOME=home)
    assert "fine-tune" in terminal.until("Talk to it now? [Y/n]: ")
    terminal.type("\n")
    assert "Talking to mine." in terminal.until(PROMPT)
    terminal.type("hello\n")
    terminal.until(PROMPT)
    terminal.type("/exit\n")
    assert terminal.leave() == 0

    for no in ("n\n", "\x04", "\x03"):
        terminal = open_terminal(*words, LANGWRIGHT_HOME=home)
        terminal.until("Talk to it now? [Y/n]: ")
        terminal.type(no)
        assert terminal.leave() == 0
