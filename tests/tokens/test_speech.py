"""What a model says, taken apart by the form that its own template writes."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tokens.test_chat_templates import TOOLS, template, user

from langwright.tokens import CallForm, Said, Speech, SpeechForm, Tokenizer, speech_form

HERMES = CallForm("<tool_call>\n", "\n</tool_call>", "\n</tool_call>\n<tool_call>\n", "arguments")
LISTED = CallForm("[TOOL_CALLS][", "]", ", ", "arguments")
BARE = CallForm("", "", None, "parameters")


@pytest.mark.parametrize(
    ("name", "thinks", "form"),
    [
        ("qwen3", True, HERMES),
        ("llama3_1", False, BARE),
        ("gemma3", False, None),
        ("gptoss", False, None),  # not JSON with a name
        ("smollm2", False, None),
        ("ours", False, None),
    ],
)
def test_the_form_is_read_off_the_template(
    name: str,
    thinks: bool,
    form: CallForm | None,
    sources: dict[str, str],
    small_tokenizer: Tokenizer,
) -> None:
    assert speech_form(template(name, sources, small_tokenizer)) == SpeechForm(thinks, form)


def said(text: str, form: CallForm | None, cuts: list[int], **how: Any) -> Said:
    """What is said of the text, fed in pieces."""
    speech = Speech(SpeechForm(True, form), calls=True, thinking=how.get("thinking", False))
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    found = Said()
    for start, end in pairwise(edges):
        found += speech.feed(text[start:end])
    return found + speech.finish()


def plain(found: Said) -> tuple[str, str, list[tuple[str, Any]]]:
    calls = [(one.name, json.loads(one.arguments)) for one in found.calls]
    return found.thought, found.text, calls


ONE = '{"name": "double", "arguments": {"x": "}"}}'
TWO = '{"name": "half", "arguments": {}}'
CASES = [
    (HERMES, "Just text, a < b.", "", "Just text, a < b.", []),
    (HERMES, "<think>\nHm.\n\nWell.\n</think>\n\nYes.", "Hm.\n\nWell.", "Yes.", []),
    (HERMES, "<think>\n\n</think>\n\nYes.\n", "", "Yes.\n", []),
    (
        HERMES,
        f"Wait.\n<tool_call>\n{ONE}\n</tool_call>\n<tool_call>\n{TWO}\n</tool_call>",
        "",
        "Wait.",
        [("double", {"x": "}"}), ("half", {})],
    ),
    (
        HERMES,
        f"<think>\nT\n</think>\n\n<tool_call>\n{ONE}\n</tool_call>",
        "T",
        "",
        [("double", {"x": "}"})],
    ),
    (HERMES, "<tool_call>\nno call\n</tool_call>", "", "<tool_call>\nno call\n</tool_call>", []),
    (HERMES, '<tool_call>\n{"name": "do', "", '<tool_call>\n{"name": "do', []),
    (LISTED, f"[TOOL_CALLS][{ONE}, {TWO}]", "", "", [("double", {"x": "}"}), ("half", {})]),
    (BARE, '{"name": "double", "parameters": {"x": 2}}', "", "", [("double", {"x": 2})]),
    (BARE, '{"a": 1} is JSON', "", '{"a": 1} is JSON', []),
    (BARE, "{no JSON", "", "{no JSON", []),
    (BARE, "A {", "", "A {", []),
]


@pytest.mark.parametrize(("form", "text", "thought", "answer", "calls"), CASES)
@given(cuts=st.lists(st.integers(0, 200), max_size=8))
def test_an_answer_is_taken_apart_wherever_it_is_cut(
    form: CallForm, text: str, thought: str, answer: str, calls: list[Any], cuts: list[int]
) -> None:
    assert plain(said(text, form, cuts)) == (thought, answer, calls)


@given(st.lists(st.integers(0, 50), max_size=4))
def test_thoughts_that_the_prompt_began(cuts: list[int]) -> None:
    found = said("So.\n</think>\n\nYes.", HERMES, cuts, thinking=True)
    assert plain(found) == ("So.", "Yes.", [])


@given(
    st.text(alphabet='<>/thinkol_ca\n{}"', max_size=40), st.lists(st.integers(0, 40), max_size=5)
)
def test_where_it_is_cut_changes_nothing(text: str, cuts: list[int]) -> None:
    assert plain(said(text, HERMES, cuts)) == plain(said(text, HERMES, []))


def test_a_written_call_is_read_as_it_was_meant(
    sources: dict[str, str], small_tokenizer: Tokenizer
) -> None:
    """What Qwen3's template writes of calls comes out of the parser again."""
    made = template("qwen3", sources, small_tokenizer)
    given = {"text": 'a "quoted" {brace}\n</tool_call> ünï', "n": [1, 2.5, None, True]}
    calls = [{"type": "function", "function": {"name": "double", "arguments": given}}] * 2
    before = made.render([user("Q")], tools=TOOLS, add_generation_prompt=True)
    whole = made.render(
        [user("Q"), {"role": "assistant", "content": "A", "tool_calls": calls}], tools=TOOLS
    )
    text = whole.removeprefix(before).strip().removesuffix("<|im_end|>")
    found = plain(said(text, speech_form(made).calls, []))
    assert found == ("", "A", [("double", given)] * 2)
