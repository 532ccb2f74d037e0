"""Ollama's Modelfile: its Go template renders what the model's own does."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from langwright.model import ModelBundle
from langwright.model.modelfile import go_template, modelfile
from langwright.tokens import CHATML, END_OF_TEXT, ChatTemplate, Tokenizer

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are helpful<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NAMED = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[Q] {{ m.content }} [/Q]"
    "{% elif m.role == 'assistant' %}{{ m.content }}{{ eos_token }}"
    "{% else %}<<{{ m.content }}>>{% endif %}{% endfor %}"
)
FOLDED = (  # the system turn goes into the first of the user's
    "{% set s = '' %}{% if messages[0].role == 'system' %}{% set s = messages[0].content %}"
    "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}"
    "<{{ m.role }}>{{ s if loop.first else '' }}{{ m.content }}{% endfor %}"
)
TRIMMED = CHATML.replace("message['content']", "message['content'] | upper")
CHATS: list[list[tuple[str, str]]] = [
    [("user", "Hi")],
    [("system", "Be brief"), ("user", "Hi"), ("assistant", "Yes?"), ("user", "2+2 {{ .x }}")],
    [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("user", "e")],
]


def go(source: str, messages: list[dict[str, str]]) -> str:
    """What Go makes of the few words that our templates use."""
    words = iter(re.split(r"(\{\{.*?\}\})", source, flags=re.DOTALL))
    system = "".join(one["content"] for one in messages if one["role"] == "system")

    def block() -> tuple[list[Any], str]:
        parts: list[Any] = []
        for word in words:
            verb = word.strip("{} ") if word.startswith("{{") else None
            if verb is None:
                parts.append(word)
            elif verb == "end" or verb.startswith("else"):
                return parts, verb
            elif verb == ".Content":
                parts.append(None)
            elif verb == "range .Messages":
                parts.append(("range", block()[0]))
            else:
                branches, until = [], verb
                while until != "end":
                    inside, after = block()
                    branches.append((until.removeprefix("else "), inside))
                    until = after
                parts.append(("if", branches))
        return parts, "end"

    def show(parts: list[Any], message: dict[str, str] | None) -> str:
        text = ""
        for part in parts:
            if part is None:
                assert message is not None
                text += message["content"]
            elif isinstance(part, str):
                text += part
            elif part[0] == "range":
                text += "".join(show(part[1], one) for one in messages)
            else:
                for condition, inside in part[1]:
                    role = re.fullmatch(r'if eq .Role "(\w+)"', condition)
                    assert role or condition == "if not .System"
                    if (message or {}).get("role") == role[1] if role else not system:
                        text += show(inside, message)
                        break
        return text

    return show(block()[0], None)


@pytest.mark.parametrize("source", [CHATML, SMOLLM2, NAMED])
def test_the_go_template_renders_the_same(source: str, small_tokenizer: Tokenizer) -> None:
    template = ChatTemplate(source, small_tokenizer, END_OF_TEXT, "<|im_end|>")
    start = END_OF_TEXT if "bos_token" in source else ""
    found = go_template(template, start)
    assert found is not None
    for chat in CHATS:
        messages = [{"role": role, "content": content} for role, content in chat]
        expected = template.render(messages, add_generation_prompt=True)
        assert start + go(found, messages) == expected


@pytest.mark.parametrize("source", [FOLDED, TRIMMED, CHATML + '"""', CHATML + "{{ '{{' }}"])
def test_what_is_no_frame_is_left_to_the_file(source: str, small_tokenizer: Tokenizer) -> None:
    assert go_template(ChatTemplate(source, small_tokenizer)) is None


def test_the_modelfile_names_the_file_and_what_ends(make_model: Callable[..., ModelBundle]) -> None:
    model = make_model()
    lines = modelfile("a.gguf", model).splitlines()
    assert lines[0] == "FROM ./a.gguf"
    assert lines[-1] == 'PARAMETER stop "<|im_end|>"'
    assert modelfile("a.gguf", replace(model, template=None)).count("TEMPLATE") == 0
    assert "inside the GGUF" in modelfile(
        "a.gguf", replace(model, template=ChatTemplate(FOLDED, model.tokenizer))
    )
