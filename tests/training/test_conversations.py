"""Data for fine-tuning: each shape becomes the conversation that is written out here by hand; what
cannot is named with its line; nothing is left out that is not told."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.store.hub_stand_in import StandIn, stand_in

from langwright.errors import BadInput, BadSettings
from langwright.model import ModelBundle, save_folder
from langwright.store import Store
from langwright.tokens import CHATML, ChatTemplate, Tokenizer
from langwright.training import sft
from langwright.training.conversations import lessons, open_conversations
from langwright.training.rebuilt import rebuild
from langwright.training.views.show_batch import show_batch

Json = dict[str, Any]
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A file of JSON lines, or of one JSON list."""

    def write(*rows: Json, name: str = "data.jsonl") -> str:
        text = "\n".join(map(json.dumps, rows)) if "jsonl" in name else json.dumps(rows)
        packed = {".gz": gzip.compress, ".bz2": bz2.compress}.get(Path(name).suffix)
        (tmp_path / name).write_bytes(packed(text.encode()) if packed else text.encode())
        return str(tmp_path / name)

    return write


def read(store: Store, name: str) -> list[Json]:
    path = store.path(open_conversations(name, store)) / "conversations.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def talk(*texts: str) -> list[Json]:
    return [
        {"role": ("user", "assistant")[turn % 2], "content": text}
        for turn, text in enumerate(texts)
    ]


DOUBLE = {"name": "double", "description": "Twice.", "parameters": {"type": "object"}}
CALL = {"type": "function", "function": {"name": "double", "arguments": {"x": 2}}}
WITH_CALL = {
    "messages": [
        {"role": "user", "content": "Double 2."},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "content": "4"},
        {"role": "assistant", "content": "It is 4."},
    ],
    "tools": [{"type": "function", "function": DOUBLE}],
}

SHAPES: list[tuple[str, Json, list[Json]]] = [
    ("messages", {"messages": talk("Hi", "Hello!")}, [{"messages": talk("Hi", "Hello!")}]),
    (
        "messages",
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Double 2."}]},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "type": "function",
                            "function": {"name": "double", "arguments": '{"x": 2}'},
                        }
                    ],
                },
                {"role": "tool", "content": "4"},
                {"role": "assistant", "content": "It is 4."},
            ],
            "tools": WITH_CALL["tools"],
        },
        [WITH_CALL],
    ),
    (
        "messages",
        {
            "messages": [
                {"role": "developer", "content": "S"},
                {"role": "user", "content": [{"type": "text", "value": "Q"}], "loss_weight": 0.0},
                {"role": "assistant", "content": "A", "weight": 0},
                {"role": "user", "content": "Q2"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "reasoning", "value": "R"},
                        {"type": "text", "value": "A2"},
                    ],
                    "loss_weight": 1.0,
                },
            ]
        },
        [
            {
                "messages": [
                    {"role": "system", "content": "S"},
                    {"role": "user", "content": "Q"},
                    {"role": "assistant", "content": "A", "weight": 0},
                    {"role": "user", "content": "Q2"},
                    {"role": "assistant", "content": "A2", "reasoning_content": "R"},
                ]
            }
        ],
    ),
    (
        "sharegpt",
        {
            "conversations": [
                {"from": "human", "value": "Double 2."},
                {"from": "function_call", "value": '{"name": "double", "arguments": {"x": 2}}'},
                {"from": "observation", "value": "4"},
                {"from": "gpt", "value": "It is 4."},
            ],
            "tools": json.dumps([DOUBLE]),
        },
        [WITH_CALL],
    ),
    (
        "alpaca",
        {
            "instruction": "Add.",
            "input": "1 and 2",
            "output": "3",
            "system": "S",
            "history": [["Q", "A"]],
        },
        [{"messages": [{"role": "system", "content": "S"}, *talk("Q", "A", "Add.\n1 and 2", "3")]}],
    ),
    (
        "alpaca",
        {"instruction": "Say hi.", "input": "", "output": "Hi."},
        [{"messages": talk("Say hi.", "Hi.")}],
    ),
    (
        "prompt and completion",
        {"prompt": "1 + 2 =", "completion": " 3\n"},
        [{"messages": talk("1 + 2 =", "3")}],
    ),
    (
        "prompt and completion",
        {"prompt": talk("Q", "A", "Q2"), "completion": talk("", "A2")[1:]},
        [
            {
                "messages": [
                    {"role": "user", "content": "Q"},
                    {"role": "assistant", "content": "A", "weight": 0},
                    *talk("Q2", "A2"),
                ]
            }
        ],
    ),
    (
        "self-instruct",
        {
            "instruction": "Add.",
            "instances": [{"input": "1 and 2", "output": "3"}, {"input": "", "output": "0"}],
        },
        [{"messages": talk("Add.\n1 and 2", "3")}, {"messages": talk("Add.", "0")}],
    ),
]


@pytest.mark.parametrize(("shape", "row", "expected"), SHAPES)
def test_each_shape_becomes_the_same_kind_of_conversation(
    store: Store, write: Write, shape: str, row: Json, expected: list[Json]
) -> None:
    made = open_conversations(write(row), store)
    assert made.metrics == {"conversations": len(expected), "shape": shape}
    assert read(store, write(row)) == expected
    # What is ours already stays what it is.
    again = write(*expected, name="again.jsonl")
    assert open_conversations(again, store).digest == made.digest


@pytest.mark.parametrize("name", ["data.json", "data.jsonl.gz", "data.json.bz2", "lines.json"])
def test_the_same_from_every_kind_of_file(store: Store, write: Write, name: str) -> None:
    rows = [row for shape, row, _ in SHAPES if shape == "alpaca"]
    expected = [one for shape, _, made in SHAPES if shape == "alpaca" for one in made]
    if name == "lines.json":  # as data sets often are
        path = write(*rows)
        name = str(Path(path).rename(Path(path).with_name(name)))
        assert read(store, name) == expected
    else:
        assert read(store, write(*rows, name=name)) == expected


def test_parquet_whose_missing_fields_are_nulls(store: Store, tmp_path: Path) -> None:
    call = {"type": "function", "function": {"name": "double", "arguments": '{"x": 2}'}}
    messages = [
        {"role": "user", "content": "Double 2.", "tool_calls": None},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "4", "tool_calls": None},
        {"role": "assistant", "content": "It is 4.", "tool_calls": None},
    ]
    table = pa.table({"messages": [messages] * 300, "tools": [json.dumps([DOUBLE])] * 300})
    parquet.write_table(table, tmp_path / "data.parquet")
    assert read(store, str(tmp_path / "data.parquet")) == [WITH_CALL] * 300


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with stand_in() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield served


def test_a_data_set_of_the_hub_without_its_test_side(
    store: Store, hub: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "data/train-00000-of-00002.jsonl": b'{"prompt": "a", "completion": "b"}\n',
        "data/train-00001-of-00002.jsonl": b'{"prompt": "c", "completion": "d"}\n',
        "data/test-00000-of-00001.jsonl": b'{"prompt": "e", "completion": "f"}\n',
    }
    hub.add("dataset", "lab/talk", files, {"license": "cc0-1.0"})
    expected = [{"messages": talk("a", "b")}, {"messages": talk("c", "d")}]
    assert read(store, "hf:datasets/lab/talk") == expected
    assert "not data/test-00000-of-00001.jsonl" in capsys.readouterr().err
    made = store.get("conversations-talk")
    assert made.licence == "cc0-1.0"
    assert made.parents == [store.get("talk").digest]
    assert read(store, "hf:datasets/lab/talk:data/test-00000-of-00001.jsonl") == [
        {"messages": talk("e", "f")}
    ]


REAL = [
    ("alpaca_en_demo.json", "alpaca", 999),
    ("glaive_toolcall_en_demo.json", "sharegpt", 300),
    ("reason_tool_use_demo_50.jsonl", "messages", 50),
    ("v1_sft_demo.jsonl", "messages", 500),
    ("identity.json", "alpaca", 91),
]


@pytest.mark.parametrize(("name", "shape", "count"), REAL)
def test_public_data_is_read_whole(
    store: Store, data: Path, name: str, shape: str, count: int
) -> None:
    made = open_conversations(str(data / "llamafactory_demo" / name), store)
    assert made.metrics == {"conversations": count, "shape": shape}


def test_seed_tasks_are_read_and_their_other_fields_told(
    store: Store, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = open_conversations(str(data / "self_instruct" / "seed_tasks.jsonl"), store)
    assert made.metrics == {"conversations": 175, "shape": "self-instruct"}
    assert "'is_classification' (175)" in capsys.readouterr().err


def test_calls_of_public_data_have_their_tools(store: Store, data: Path) -> None:
    made = read(store, str(data / "llamafactory_demo" / "glaive_toolcall_en_demo.json"))
    called = 0
    for one in made:
        known = {tool["function"]["name"] for tool in one.get("tools", [])}
        for message in one["messages"]:
            for call in message.get("tool_calls", []):
                assert isinstance(call["function"]["arguments"], dict)
                called += call["function"]["name"] in known
    assert called == 211


OK = {"messages": talk("Hi", "Hello!")}


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ({"instruction": "a", "output": "b"}, "shape 'alpaca', while .* line 1 is 'messages'"),
        ({"text": "a"}, "it has 'text', and so none of the known shapes"),
        ({}, "no fields"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "it has 'chosen': answers .* judged"),
        ({**OK, "label": False}, "it has 'label'"),
        ({"messages": talk("Hi")}, "no turn of the assistant's"),
        ({"messages": []}, "no messages"),
        ({"messages": [{"role": "narrator", "content": "a"}]}, "turn 1 has the role 'narrator'"),
        ({"messages": [{"role": "user"}, *talk("", "a")[1:]]}, "turn 1 has no content"),
        ({"messages": [{"role": "user", "content": 5}]}, "content of turn 1 is no text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "turn 1 has a part of type 'image_url'",
        ),
        (
            {"messages": [{"role": "user", "content": "a", "weight": 1}, *talk("", "b")[1:]]},
            "turn 1, the user's, has the weight 1",
        ),
        ({"messages": [{**talk("a")[0], "tool_calls": [CALL]}]}, "turn 1 is the user's and calls"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}]},
            "arguments of a call of turn 1 is not JSON",
        ),
        ({**OK, "tools": "no json"}, "'tools' is not JSON"),
        ({"messages": talk("a", "\ud800")}, "half of a surrogate pair"),
    ],
)
def test_what_is_no_conversation_is_named_with_its_line(
    store: Store, write: Write, row: Json, match: str
) -> None:
    with pytest.raises(BadInput, match=rf"data\.jsonl, line 2: .*{match}") as error:
        open_conversations(write(OK, row, OK), store)
    assert error.value.remedy
    assert store.artifacts() == []


@pytest.mark.parametrize(
    ("turn", "match"),
    [
        ({"from": "narrator", "value": "a"}, "turn 1 is from 'narrator'"),
        ({"from": "human"}, "turn 1 is not"),
        ({"from": "function_call", "value": "double(2)"}, "the call of turn 1 is not JSON"),
        ({"from": "function_call", "value": '["x"]'}, "the call of turn 1 is not"),
    ],
)
def test_a_wrong_turn_of_sharegpt_is_named(
    store: Store, write: Write, turn: Json, match: str
) -> None:
    with pytest.raises(BadInput, match=f"object 1: {match}"):
        open_conversations(write({"conversations": [turn]}, name="data.json"), store)


def test_an_unknown_shape_is_told_all_that_are_known(store: Store, write: Write) -> None:
    with pytest.raises(BadInput) as error:
        open_conversations(write({"text": "a"}), store)
    for name in ("messages", "sharegpt", "self-instruct", "alpaca", "prompt and completion"):
        assert f"  {name}: " in (error.value.remedy or "")


# What is learnt of them


@pytest.fixture
def chatml(small_tokenizer: Tokenizer) -> ChatTemplate:
    return ChatTemplate(CHATML, small_tokenizer)


def artifact(store: Store, write: Write, *rows: Json) -> Path:
    return store.path(open_conversations(write(*rows), store)) / "conversations.jsonl"


LONG = {"messages": talk("short", "word " * 90)}
LONG_PROMPT = {"messages": talk("word " * 90, "short")}
EMPTY = {"messages": talk("Hi", " ")}


def test_too_long_ones_and_empty_answers_are_left_out_and_counted(
    store: Store, write: Write, chatml: ChatTemplate, capsys: pytest.CaptureFixture[str]
) -> None:
    path = artifact(store, write, OK, LONG, EMPTY, OK, LONG_PROMPT)
    found = lessons(chatml, path, 64)
    assert found.counts() == {
        "conversations": 5,
        "rows": 2,
        "too_long": 2,
        "cut": 0,
        "cut_to_nothing": 0,
        "empty_answers": 1,
    }
    assert found.lines()["too_long"] == ["2", "5"]
    assert found.lines()["empty_answers"] == ["3"]
    said = " ".join(capsys.readouterr().err.split())
    assert "Left out 2 conversations longer than 64 tokens (lines 2, 5)" in said
    assert "Left out 1 conversations with an empty answer (lines 3)" in said


def test_a_cut_keeps_the_beginning_and_something_to_learn(
    store: Store, write: Write, chatml: ChatTemplate
) -> None:
    path = artifact(store, write, OK, LONG, LONG_PROMPT)
    whole = lessons(chatml, path, 1000).rows
    found = lessons(chatml, path, 64, "cut")
    assert found.lines()["cut"] == ["2"]
    assert found.lines()["cut_to_nothing"] == ["3"]
    first, cut = found.rows
    assert np.array_equal(first.ids, whole[0].ids)
    assert len(cut.ids) == 65
    assert np.array_equal(cut.ids, whole[1].ids[:65])
    assert cut.learn is not None
    assert cut.learn[1:].any()


def test_an_answer_of_which_only_the_first_token_of_a_row_is_left_is_not_learnt(
    store: Store, write: Write, chatml: ChatTemplate
) -> None:
    """The least that a cut may leave is one target, which the first token of a row never is."""
    path = artifact(store, write, LONG, LONG, LONG)
    start = chatml.encode_with_mask(LONG["messages"])[1].index(True)
    assert lessons(chatml, path, start, "cut").lines()["cut"] == ["1", "2", "3"]
    with pytest.raises(BadInput, match="0 usable conversations; 3 are left out"):
        lessons(chatml, path, start - 1, "cut")


def test_too_long_may_be_an_error_and_nothing_left_is_one(
    store: Store, write: Write, chatml: ChatTemplate
) -> None:
    with pytest.raises(BadInput, match=r"Line 2: the conversation has \d+ tokens, more than 65"):
        lessons(chatml, artifact(store, write, OK, LONG, OK), 64, "raise")
    with pytest.raises(BadInput, match="1 usable conversations; 2 are left out"):
        lessons(chatml, artifact(store, write, OK, LONG, EMPTY), 64)


def test_a_refusal_names_line_and_turn(store: Store, write: Write, chatml: ChatTemplate) -> None:
    path = artifact(store, write, OK, {**OK, "tools": [DOUBLE]})
    with pytest.raises(BadInput, match="Line 2: The chat template has no place for tools"):
        lessons(chatml, path, 64)
    with pytest.raises(BadInput, match=r"Line 1: .* at turn 2: "):
        lessons(chatml, artifact(store, write, {**WITH_CALL, "tools": []}, OK), 64)


LAST = "'(last) ' if loop.last and message['role'] == 'assistant' else ''"
REWRITING = CHATML.replace("message['content']", f"({LAST}) + message['content']")
"""Writes an answer that is the last otherwise, as Qwen3's and gpt-oss's do."""


def test_a_template_that_rewrites_turns_gives_each_its_own_row_on_one_side(
    store: Store, write: Write, small_tokenizer: Tokenizer, make_model: Callable[..., ModelBundle]
) -> None:
    rows = [{"messages": talk(f"Say {n % 9}", f"{n % 9}!", "And", f"{n}.")} for n in range(30)]
    template = ChatTemplate(REWRITING, small_tokenizer)
    found = lessons(template, artifact(store, write, *rows), 200)
    assert found.counts()["conversations"] == 30
    assert found.counts()["rows"] == 60
    assert [row.source for row in found.rows[:3]] == [
        "conversations.jsonl:1#1",
        "conversations.jsonl:1#2",
        "conversations.jsonl:2#1",
    ]
    bundle = make_model(vocab_size=384, context_length=256)
    with store.writing("base", "model") as draft:
        odd = ModelBundle(bundle.module, bundle.tokenizer, template, bundle.end_ids, None)
        save_folder(draft.folder, odd)
    tune(store, "run", write(*rows), validation_fraction=0.3, context_length=200)
    stage = rebuild(store.run("run"), store).stage
    sides = [{one.stem for one in side} for side in (stage.examples, stage.held_out)]
    assert len(sides[1]) > 3
    assert not sides[0] & sides[1]
    assert len(stage.examples) == 2 * len(sides[0])
    # Several conversations begin alike: what they share is not on both sides either.
    assert not {one.digest for one in stage.examples} & {one.digest for one in stage.held_out}


def tune(store: Store, name: str, data: str, **settings: Any) -> dict[str, Any]:
    recipe = str(Path(__file__).parents[1] / "mini.toml")
    given = {
        "model": "base",
        "data": data,
        "context_length": 64,
        "tokens_per_step": 256,
        "steps": 2,
    }
    return sft(recipe, name=name, store=store, **(given | settings))


@pytest.fixture
def base(store: Store, make_model: Callable[..., ModelBundle]) -> Store:
    with store.writing("base", "model") as draft:
        save_folder(draft.folder, make_model(vocab_size=384, context_length=256))
    return store


def test_programs_see_what_was_left_out(base: Store, write: Write) -> None:
    rows = [{"messages": talk(f"Say {n}", f"{n}!")} for n in range(20)]
    data = write(*rows[:10], LONG, *rows[10:], EMPTY)
    result = tune(base, "run", data)
    assert result["metrics"]["conversations"] == 22
    assert result["metrics"]["too_long"] == result["metrics"]["empty_answers"] == 1
    assert result["data"]["too_long"] == ["11"]
    assert result["data"]["empty_answers"] == ["22"]
    assert tune(base, "run", data) == result


def test_show_batch_marks_the_cut_and_does_not_take_it_for_a_missing_end(
    base: Store, write: Write
) -> None:
    rows = [{"messages": talk(f"Say {n}", "word " * (n % 2 * 60 + 1))} for n in range(20)]
    tune(base, "run", write(*rows), too_long="cut")
    shown = show_batch("run", store=base)
    cut = [token for row in shown["rows"] for token in row["tokens"] if token["state"] == "cut"]
    assert len(cut) == shown["counts"]["cut"] > 0
    assert all(token["trained"] for token in cut)


def test_packing_changes_neither_loss_nor_weights(base: Store, write: Write) -> None:
    rows = [{"messages": talk(f"Say {n}", f"{n} " * (n % 9 + 1))} for n in range(40)]
    data = write(*rows)
    runs = [
        tune(base, name, data, packing=packing, precision="float32", steps=4)
        for name, packing in (("packed", True), ("unpacked", False))
    ]
    shown = [show_batch(name, store=base) for name in ("packed", "unpacked")]
    assert len(shown[0]["rows"]) < len(shown[1]["rows"])
    assert shown[0]["counts"]["trained"] == shown[1]["counts"]["trained"]
    for key in ("train_loss", "val_loss"):
        first, second = (run["metrics"][key] for run in runs)
        assert first == pytest.approx(second, rel=1e-5)


def test_show_batch_shows_data_that_no_run_has_learnt(base: Store, write: Write) -> None:
    rows = [{"messages": talk(f"Say {n}", f"{n}!")} for n in range(9)]
    shown = show_batch("base", write(*rows, LONG), store=base)
    assert (shown["steps"], len(shown["rows"])) == (2, 8)
    said = [
        "".join(token["text"] for token in row["tokens"] if token["trained"])
        for row in shown["rows"]
    ]
    assert said == [f"{n}!<|im_end|>" for n in range(8)]
    second = show_batch("base", write(*rows, LONG), step=2, store=base)
    assert second["rows"][1]["trained"] > 90
    assert second["counts"]["cut"] == second["counts"]["padded"] == 0
    with pytest.raises(BadSettings, match="no step 3"):
        show_batch("base", write(*rows, LONG), step=3, store=base)
