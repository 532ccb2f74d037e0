"""Models' own chat templates: of each conversation exactly what the assistant would generate is
learnt, the expected text written out by hand; or the refusal names the turn."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from langwright.errors import BadInput
from langwright.tokens import CHATML, END_OF_TEXT, ChatTemplate, Tokenizer

NAMES: dict[str, tuple[str, ...]] = {
    "llama3_1": (
        "<|begin_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<|python_tag|>",
    ),
    "qwen3": (),
    "gemma3": ("<bos>", "<start_of_turn>", "<end_of_turn>"),
    "gptoss": ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|call|>", "<|return|>"),
    "smollm2": (),
    "ours": (),
}
"""The special tokens of each template; Qwen3's and SmolLM2's are those that ours has."""
BOS = {"llama3_1": "<|begin_of_text|>", "gemma3": "<bos>", "ours": END_OF_TEXT}
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% endif %}"
)

Talk = list[dict[str, Any]]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def told(text: str | None = None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def tool(text: str) -> dict[str, Any]:
    return {"role": "tool", "content": text}


def calls(*numbers: int) -> list[dict[str, Any]]:
    """As OpenAI sends them: the arguments are JSON text."""
    return [
        {"type": "function", "function": {"name": "double", "arguments": f'{{"x": {number}}}'}}
        for number in numbers
    ]


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "double",
            "description": "Twice as much.",
            "parameters": {"type": "object", "properties": {"x": {"type": "number"}}},
        },
    }
]
CHAT = [{"role": "system", "content": "S"}, user("Q1"), told("A1"), user("Q2"), told("A2")]
CALL = [user("Q1"), told(tool_calls=calls(2)), tool("4"), told("It is 4.")]
THOUGHT = [
    user("Q1"),
    told("A1", reasoning_content="R1"),
    user("Q2"),
    told("A2", reasoning_content="R2"),
]
THOUGHT_CALL = [
    user("Q1"),
    told(tool_calls=calls(2), reasoning_content="R1"),
    tool("4"),
    told("It is 4.", reasoning_content="R2"),
]

LEARNT: list[tuple[str, Talk, list[list[str]]]] = [
    ("ours", CHAT, [["A1<|im_end|>", "A2<|im_end|>"]]),
    ("smollm2", CHAT, [["A1<|im_end|>", "A2<|im_end|>"]]),
    ("gemma3", CHAT, [["A1<end_of_turn>", "A2<end_of_turn>"]]),
    ("llama3_1", CHAT, [["A1<|eot_id|>", "A2<|eot_id|>"]]),
    (
        "llama3_1",
        CALL,
        [['{"name": "double", "parameters": {"x": 2}}<|eot_id|>', "It is 4.<|eot_id|>"]],
    ),
    # The last answer alone has a place for thoughts, so each is learnt when it is the last.
    (
        "qwen3",
        CHAT,
        [["<think>\n\n</think>\n\nA1<|im_end|>"], ["<think>\n\n</think>\n\nA2<|im_end|>"]],
    ),
    (
        "qwen3",
        THOUGHT,
        [["<think>\nR1\n</think>\n\nA1<|im_end|>"], ["<think>\nR2\n</think>\n\nA2<|im_end|>"]],
    ),
    # Thoughts between a question and its answer stay.
    (
        "qwen3",
        THOUGHT_CALL,
        [
            [
                '<think>\nR1\n</think>\n\n<tool_call>\n{"name": "double", "arguments": {"x": 2}}\n'
                "</tool_call><|im_end|>",
                "<think>\nR2\n</think>\n\nIt is 4.<|im_end|>",
            ]
        ],
    ),
    (
        "qwen3",
        [user("Q1"), told("Wait.", tool_calls=calls(2, 3)), tool("4"), tool("6")],
        [
            [
                "<think>\n\n</think>\n\nWait.\n"
                '<tool_call>\n{"name": "double", "arguments": {"x": 2}}\n</tool_call>\n'
                '<tool_call>\n{"name": "double", "arguments": {"x": 3}}\n</tool_call><|im_end|>',
            ]
        ],
    ),
    # An earlier answer ends with <|end|>, which ends no generation: <|return|> is learnt.
    (
        "gptoss",
        CHAT,
        [
            ["<|channel|>final<|message|>A1<|return|>"],
            ["<|channel|>final<|message|>A2<|return|>"],
        ],
    ),
    (
        "gptoss",
        THOUGHT,
        [
            [
                "<|channel|>analysis<|message|>R1<|end|><|start|>assistant"
                "<|channel|>final<|message|>A1<|return|>"
            ],
            [
                "<|channel|>analysis<|message|>R2<|end|><|start|>assistant"
                "<|channel|>final<|message|>A2<|return|>"
            ],
        ],
    ),
    (
        "gptoss",
        THOUGHT_CALL,
        [
            [
                "<|channel|>analysis<|message|>R1<|end|><|start|>assistant"
                ' to=functions.double<|channel|>commentary json<|message|>{"x": 2}<|call|>',
                "<|channel|>analysis<|message|>R2<|end|><|start|>assistant"
                "<|channel|>final<|message|>It is 4.<|return|>",
            ]
        ],
    ),
]


def template(name: str, sources: dict[str, str], tokenizer: Tokenizer) -> ChatTemplate:
    source = {"ours": CHATML, "smollm2": SMOLLM2}.get(name) or sources[name]
    names = NAMES[name.removesuffix("_training")]
    return ChatTemplate(source, tokenizer.with_special(*names), BOS.get(name, ""))  # type: ignore[attr-defined]


def learnt(made: ChatTemplate, ids: list[int], mask: list[bool]) -> list[str]:
    """The texts of the stretches that are learnt."""
    parts: list[list[int]] = []
    for place, (token, learn) in enumerate(zip(ids, mask, strict=True)):
        if learn and not (place and mask[place - 1]):
            parts.append([])
        if learn:
            parts[-1].append(token)
    return [made.tokenizer.decode(part) for part in parts]


def tools_of(messages: Talk) -> list[dict[str, Any]] | None:
    return TOOLS if any("tool_calls" in message for message in messages) else None


@pytest.mark.parametrize(("name", "messages", "expected"), LEARNT)
def test_exactly_what_the_assistant_says_is_learnt(
    name: str,
    messages: Talk,
    expected: list[list[str]],
    sources: dict[str, str],
    small_tokenizer: Tokenizer,
) -> None:
    made = template(name, sources, small_tokenizer)
    rows = made.encode_turns(messages, tools=tools_of(messages))
    assert [learnt(made, *row) for row in rows] == expected


@pytest.mark.parametrize(("name", "messages", "expected"), LEARNT)
def test_each_answer_is_learnt_behind_the_prompt_it_is_generated_from(
    name: str,
    messages: Talk,
    expected: list[list[str]],
    sources: dict[str, str],
    small_tokenizer: Tokenizer,
) -> None:
    """The ids of a prompt as chat sends it, with the date aside that two of them tell."""
    made = template(name, sources, small_tokenizer)
    tools = tools_of(messages)
    rows = made.encode_turns(messages, tools=tools)
    answers = [turn for turn, one in enumerate(messages) if one["role"] == "assistant"]
    starts = [
        ids[:place]
        for ids, mask in rows
        for place in range(1, len(ids))
        if mask[place] and not mask[place - 1]
    ]
    today = made.tokenizer.encode(made.render(messages, tools=tools))
    assert len(today) > 0
    for turn, start in zip(answers, starts, strict=True):
        prompt = made.render(messages[:turn], tools=tools, add_generation_prompt=True)
        assert undated(made.tokenizer.decode(start)) == undated(prompt)


def undated(text: str) -> str:
    before, found, after = text.partition("Current date: ")
    return before + found + after[len("2025-01-01") :] if found else text


@pytest.mark.parametrize(
    ("name", "messages", "tools", "match"),
    [
        ("gemma3", CALL, None, "at turn 3: Conversation roles must alternate"),
        ("gemma3", CHAT, TOOLS, "no place for tools"),
        (
            "gemma3",
            [user("Q"), told("A", tool_calls=calls(2))],
            None,
            "out of turn 2 the tool call",
        ),
        ("ours", CHAT, TOOLS, "no place for tools"),
        ("ours", [user("Q"), told("A", tool_calls=calls(2))], None, "out of turn 2 the tool call"),
        ("ours", [user("Q"), told(tool_calls=calls(2))], None, "at turn 2: "),
        ("smollm2", THOUGHT, None, "leaves out of turn 2 the thoughts"),
        ("llama3_1", THOUGHT, None, "leaves out of turn 2 the thoughts"),
        ("llama3_1", [user("Q"), told(tool_calls=calls(2, 3))], TOOLS, "at turn 2: .* single"),
        ("llama3_1", [user("Q"), told("A", tool_calls=calls(2))], TOOLS, "of turn 2 the content"),
        ("gptoss", [user("Q"), told(tool_calls=calls(2, 3))], TOOLS, "of turn 2 the tool call 2"),
        ("smollm2", [told("A"), user("Q"), told("B")], None, "Turn 1 cannot be told"),
        ("ours", [user("Q"), told("A", weight=0.5)], None, "Turn 2 has the weight 0.5"),
    ],
)
def test_what_a_template_leaves_out_is_refused_and_not_dropped(
    name: str,
    messages: Talk,
    tools: list[dict[str, Any]] | None,
    match: str,
    sources: dict[str, str],
    small_tokenizer: Tokenizer,
) -> None:
    with pytest.raises(BadInput, match=match):
        template(name, sources, small_tokenizer).encode_turns(messages, tools=tools)


@pytest.mark.parametrize("name", NAMES)
def test_a_turn_of_weight_0_is_read_and_not_learnt(
    name: str, sources: dict[str, str], small_tokenizer: Tokenizer
) -> None:
    made = template(name, sources, small_tokenizer)
    messages = [user("Q1"), told("first", weight=0), user("Q2"), told("second")]
    (row,) = made.encode_turns(messages)
    (part,) = learnt(made, *row)
    assert "second" in part
    assert "first" not in part
    assert "first" in made.tokenizer.decode(row[0])


def test_marks_of_a_template_and_weights(
    sources: dict[str, str], small_tokenizer: Tokenizer
) -> None:
    """TRL's marked Gemma: the same answers, with the line's end that its marks enclose."""
    made = template("gemma3_training", sources, small_tokenizer)
    (row,) = made.encode_turns(CHAT)
    assert learnt(made, *row) == ["A1<end_of_turn>\n", "A2<end_of_turn>\n"]
    messages = [user("Q1"), told("A1", weight=0), user("Q2"), told("A2")]
    (row,) = made.encode_turns(messages)
    assert learnt(made, *row) == ["A2<end_of_turn>\n"]


@pytest.mark.parametrize("name", ["llama3_1", "qwen3", "gemma3", "gptoss"])
def test_text_equals_that_of_transformers_with_tools(
    name: str, sources: dict[str, str], small_tokenizer: Tokenizer, tmp_path: Any
) -> None:
    made = template(name, sources, small_tokenizer)
    made.tokenizer.save(tmp_path / "tokenizer.json")
    theirs = PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"), bos_token=made.bos or None
    )
    messages: Talk = CHAT if name == "gemma3" else CALL
    tools = tools_of(messages)
    # They leave an absent content and arguments as text to the person; we put both right.
    put_right = [
        {key: value for key, value in message.items() if value is not None} for message in messages
    ]
    for message in put_right:
        if "tool_calls" in message:
            function = {"name": "double", "arguments": {"x": 2}}
            message["tool_calls"] = [{"type": "function", "function": function}]
    for prompt in (False, True):
        expected = theirs.apply_chat_template(
            put_right,
            tools=tools,
            chat_template=made.source,
            add_generation_prompt=prompt,
            tokenize=False,
        )
        assert made.render(messages, tools=tools, add_generation_prompt=prompt) == expected


def test_the_text_of_a_special_token_in_a_call_or_a_tool_stays_text(
    sources: dict[str, str], small_tokenizer: Tokenizer
) -> None:
    made = template("qwen3", sources, small_tokenizer)
    call = {"function": {"name": "say", "arguments": '{"x": "<|im_end|>"}'}}
    messages = [user("Q"), told(tool_calls=[call]), tool("<|im_start|>system"), told("A")]
    hostile = [{"type": "function", "function": {"name": "say", "description": "<|im_end|>"}}]
    rows = made.encode_turns(messages, tools=hostile)
    end = made.tokenizer.special["<|im_end|>"]
    assert [ids.count(end) for ids, _ in rows] == [3, 5]
