"""Comparisons as they are kept, and as people have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from langwright.errors import BadInput
from langwright.store import Store
from langwright.training.comparisons import Comparison, comparisons_of, read_comparisons
from langwright.training.judged import Judged, read_judged
from langwright.training.preference_import import (
    Preferences,
    import_preferences,
    open_comparisons,
    read_preferences,
)

ASKED = [{"role": "user", "content": "Hi?"}]
LINE: dict[str, Any] = {"messages": ASKED, "answers": ["a", "b"], "ranks": [0, 1]}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(*rows: Any, name: str = "c.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


def test_pairs_are_all_two_of_different_rank_the_better_one_first() -> None:
    three = Comparison(ASKED, ["a", "b", "c", "d"], [2, 0, 1, 1])
    assert three.pairs() == [("b", "a"), ("c", "a"), ("d", "a"), ("b", "c"), ("b", "d")]
    assert Comparison(ASKED, ["a", "b"], [1, 1]).pairs() == []


def test_a_soft_label_says_how_sure_the_pair_is() -> None:
    assert Comparison(ASKED, ["a", "b"], [1, 0], probability=0.2).certainty == 0.8
    assert Comparison(ASKED, ["a", "b"], [1, 0], probability=0.2).pairs() == [("b", "a")]
    assert Comparison(ASKED, ["a", "b"], [0, 1]).certainty == 1.0


def test_a_line_is_read_as_it_was_written(write: Write) -> None:
    whole = LINE | {
        "probability": 0.75, "margin": 1.5, "rater": "anna", "at": "2026-11-26T12:00:00+00:00",
        "models": ["one", "two"], "sampling": {"temperature": 0.7}, "source": "here",
    }  # fmt: skip
    (found,) = read_comparisons(write(whole))
    assert found.to_json() == whole
    (found,) = read_comparisons(write(LINE))
    assert found.to_json() == LINE


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answers": ["a"], "ranks": [0]}, "two answers or more"),
        ({"answers": ["a", "a"]}, "the same"),
        ({"answers": ["a", 1]}, "no text"),
        ({"answers": "ab"}, "no list 'answers'"),
        ({"ranks": [0]}, "not 2 whole numbers"),
        ({"ranks": [0, -1]}, "not 2 whole numbers"),
        ({"ranks": [0, True]}, "not 2 whole numbers"),
        ({"probability": 1.5}, "between 0 and 1"),
        ({"probability": 0.3}, "contradict"),
        ({"probability": 0.7, "ranks": [1, 1]}, "contradict"),
        ({"probability": float("nan")}, "no finite number"),
        ({"probability": 0.7, "answers": ["a", "b", "c"], "ranks": [0, 1, 2]}, "two answers"),
        ({"margin": "much"}, "no finite number"),
        ({"models": ["one"]}, "not 2 names"),
        ({"rater": 7}, "'rater' is no text"),
        ({"messages": []}, "none"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "ends with the assistant"),
        ({"messages": [{"role": "wizard", "content": "Hi"}]}, "roles"),
        ({"messages": [{"role": "user", "content": None}]}, "no text"),
        ({"probabilty": 0.7}, "field 'probabilty'"),
    ],
)
def test_what_contradicts_itself_is_an_error_with_its_line(
    write: Write, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput, match=f"line 2.*{said}"):
        read_comparisons(write(LINE, LINE | changes))


def first(path: Path, **options: Any) -> Comparison:
    (found,) = read_preferences(path, **options).comparisons
    return found


TURNS = [
    {"role": "user", "content": "Hi?"},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": "How?"},
]
SAYS = [{"role": "assistant", "content": one} for one in ("Well.", "No.")]
FROM = [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Yes?"}]
FROM += [{"from": "human", "value": "How?"}]
HUMAN = "\n\nHuman: Hi?\n\nAssistant: Yes?\n\nHuman: How?\n\nAssistant:"
SHAPES: dict[str, dict[str, Any]] = {
    "LLaMA-Factory v1": {
        "chosen_messages": [
            {"role": m["role"], "content": [{"type": "text", "value": m["content"]}]}
            | {"loss_weight": 0.0}
            for m in [*TURNS, SAYS[0]]
        ],
        "rejected_messages": [*TURNS, SAYS[1]],
    },
    "sharegpt": {
        "conversations": FROM,
        "chosen": {"from": "gpt", "value": "Well."},
        "rejected": {"from": "gpt", "value": "No."},
    },
    "TRL, explicit prompt": {"prompt": TURNS, "chosen": [SAYS[0]], "rejected": [SAYS[1]]},
    "TRL, implicit prompt": {"chosen": [*TURNS, SAYS[0]], "rejected": [*TURNS, SAYS[1]]},
    "hh-rlhf": {"chosen": f"{HUMAN} Well.", "rejected": f"{HUMAN} No."},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_conversation_is_read_from_every_shape(write: Write, shape: str) -> None:
    found = read_preferences(write(SHAPES[shape]))
    assert found.shape == shape
    (one,) = found.comparisons
    assert (one.messages, one.answers, one.ranks) == (TURNS, ["Well.", "No."], [0, 1])
    assert one.source == "c.jsonl:1"
    assert (found.left_out, found.unread) == ({}, set())


def test_instructions_with_their_input(write: Write) -> None:
    row = {"instruction": "Add.", "input": "1 2", "chosen": "3", "rejected": "4"}
    found = read_preferences(write(row | {"system": "Be exact."}, row | {"input": ""}))
    assert found.shape == "alpaca"
    first, second = found.comparisons
    assert [one["content"] for one in first.messages] == ["Be exact.", "Add.\n1 2"]
    assert [one["content"] for one in second.messages] == ["Add."]
    assert first.pairs() == second.pairs() == [("3", "4")]
    with pytest.raises(BadInput, match="'history'"):
        read_preferences(write(row | {"history": [["a", "b"]]}))


def test_half_a_character_is_an_error_with_its_line(write: Write) -> None:
    """The escape \\ud83d alone is JSON, and no text: it could not be written down."""
    for change in ({"answers": ["a", "\ud83d"]}, {"messages": [ASKED[0] | {"content": "\ud83d"}]}):
        with pytest.raises(BadInput, match=r"line 1.*no text"):
            read_preferences(write(LINE | change))


def test_prompts_as_texts(write: Write) -> None:
    plain = {"prompt": "Hi?", "chosen": "Well.", "rejected": "No.", "margin": 2}
    found = first(write(plain))
    assert (found.messages, found.answers, found.margin) == (ASKED, ["Well.", "No."], 2)
    marked = {"prompt": HUMAN, "chosen": " Well.", "rejected": " No."}
    found = first(write(marked))
    assert (found.messages, found.answers) == (TURNS, [" Well.", " No."])
    twice = {"prompt": "Hi?", "chosen": [*ASKED, SAYS[0]], "rejected": [*ASKED, SAYS[1]]}
    found = first(write(twice))
    assert (found.messages, found.answers) == (ASKED, ["Well.", "No."])


def test_a_json_list_and_parquet_are_read_as_json_lines_are(write: Write, tmp_path: Path) -> None:
    from pyarrow import Table, parquet

    rows = [SHAPES["TRL, explicit prompt"], {"prompt": ASKED, "chosen": [SAYS[1]]} | {
        "rejected": [SAYS[0] | {"name": None}], "margin": None}]  # fmt: skip
    lines = [one.to_json() for one in read_preferences(write(*rows)).comparisons]
    (tmp_path / "c.json").write_text(json.dumps(rows))
    parquet.write_table(Table.from_pylist(rows), tmp_path / "c.parquet")
    for name in ("c.json", "c.parquet"):
        found = [one.to_json() for one in read_preferences(tmp_path / name).comparisons]
        assert [one | {"source": f"c.jsonl:{n}"} for n, one in enumerate(found, 1)] == lines


def test_trees_give_the_ranked_answers_of_each_turn_of_the_users(write: Write) -> None:
    def answer(text: str, rank: int | None, *replies: Any) -> dict[str, Any]:
        return {"message_id": text, "role": "assistant", "text": text, "rank": rank,
                "replies": list(replies)}  # fmt: skip

    def ask(text: str, *replies: Any) -> dict[str, Any]:
        return {"message_id": text, "role": "prompter", "text": text, "replies": list(replies)}

    deep = ask("More?", answer("much", 0), answer("little", 1))
    tree = ask("Hi?", answer("b", 1), answer("a", 0, deep), answer("?", None))
    alone = ask("Hi?", answer("a", 0))
    found = read_preferences(write({"prompt": tree}, {"prompt": alone}))
    top, below = found.comparisons
    assert (top.messages, top.answers, top.ranks) == (ASKED, ["b", "a"], [1, 0])
    assert [one["content"] for one in below.messages] == ["Hi?", "a", "More?"]
    assert (below.answers, below.source) == (["much", "little"], "c.jsonl:1/More?")
    assert dict(found.left_out) == {
        "an answer has no rank, or was deleted": ["c.jsonl:1"],
        "no prompt has two ranked answers": ["c.jsonl:2"],
    }


def test_what_cannot_be_learnt_from_is_left_out_and_counted_by_its_rows(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    def row(prompt: Any, chosen: str, rejected: str) -> dict[str, Any]:
        return {"prompt": prompt, "chosen": chosen, "rejected": rejected, "id": 7}

    rows = [row("Hi?", "a", "b"), row("Hi?", "a", "a"), row("Hi?", " ", "a"),
            row([*ASKED, SAYS[0]], "a", "b")]  # fmt: skip
    found = read_preferences(write(*rows))
    assert len(found.comparisons) == 1
    assert dict(found.left_out) == {
        "both answers are the same": ["c.jsonl:2"],
        "an answer is empty": ["c.jsonl:3"],
        "the prompt does not end with the user": ["c.jsonl:4"],
    }
    found.report()
    said = capsys.readouterr().err
    for words in ("c.jsonl:2", "c.jsonl:3", "c.jsonl:4", "not read: id", "TRL, explicit prompt"):
        assert words in said
    kept = read_preferences(write(*rows), keep_empty=True)
    assert (len(kept.comparisons), kept.kept_empty) == (2, ["c.jsonl:3"])

    sides = {"chosen": [*TURNS, SAYS[0]], "rejected": [*ASKED, SAYS[1]]}
    with pytest.raises(BadInput, match=r"Nothing is left.*different prompts \(c.jsonl:1\)"):
        read_preferences(write(sides))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "a"}, "'text' are of no shape"),
        ({"chosen": "The sky is blue.", "rejected": "The sky is red."}, "of no shape"),
        ({"prompt": "Hi?", "chosen": 1, "rejected": "b"}, "no list"),
        ({"prompt": ASKED, "chosen": ASKED, "rejected": "b"}, "no text of the assistant's"),
        ({"prompt": "Hi?", "chosen": [*TURNS, SAYS[0]], "rejected": [*ASKED[:0], TURNS[2]]},
         "do not hold the prompt"),
        (SHAPES["sharegpt"], "shape sharegpt, what is before it TRL"),
    ],
)  # fmt: skip
def test_anything_else_is_an_error_with_its_line(
    write: Write, row: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput, match=f"line 2.*{said}"):
        read_preferences(write({"prompt": "Hi?", "chosen": "a", "rejected": "b"}, row))


def test_tools_are_not_passed_over(write: Write) -> None:
    with pytest.raises(BadInput, match="line 1: there are 'tools'"):
        read_preferences(write(SHAPES["sharegpt"] | {"tools": "[]"}))
    (with_system,) = read_preferences(
        write(SHAPES["sharegpt"] | {"system": "Be kind."})
    ).comparisons
    assert with_system.messages == [{"role": "system", "content": "Be kind."}, *TURNS]


def test_single_answers_that_were_judged(write: Write, data: Path, store: Store) -> None:
    row = {"prompt": "Hi?", "completion": "Well.", "label": True}
    found = read_preferences(write(row))
    assert found.judged == [Judged(ASKED, "Well.", True, "c.jsonl:1")]
    with pytest.raises(BadInput, match=r"line 1: the label is 1"):
        read_preferences(write(row | {"label": 1}))

    artifact, whole = import_preferences(
        str(data / "llamafactory_demo/kto_en_demo.json"), store=store
    )
    assert (artifact.kind, len(whole.judged)) == ("judged", 300)
    assert sum(one.label for one in whole.judged) == 150
    assert read_judged(store.path(artifact) / "judged.jsonl") == whole.judged


def real(data: Path, name: str) -> Preferences:
    return read_preferences(data / name)


def test_all_of_the_real_files_is_read(data: Path) -> None:
    demo = real(data, "llamafactory_demo/dpo_en_demo.json")
    assert (demo.shape, len(demo.comparisons), dict(demo.left_out)) == ("sharegpt", 300, {})
    source = json.loads((data / "llamafactory_demo/dpo_en_demo.json").read_bytes())
    for row, one in zip(source, demo.comparisons, strict=True):
        assert one.pairs() == [(row["chosen"]["value"], row["rejected"]["value"])]
        assert [m["content"] for m in one.messages] == [m["value"] for m in row["conversations"]]

    v1 = real(data, "llamafactory_demo/v1_dpo_demo.jsonl")
    assert (v1.shape, len(v1.comparisons)) == ("LLaMA-Factory v1", 10)
    assert {tuple(m["role"] for m in one.messages) for one in v1.comparisons} == {
        ("system", "user")
    }


def test_every_character_of_hh_rlhf_is_in_the_turns(data: Path) -> None:
    path = data / "hh_rlhf/harmless_a.jsonl"
    found = read_preferences(path, keep_empty=True)
    assert (len(found.comparisons), len(found.kept_empty)) == (1156, 4)
    names = {"user": "Human", "assistant": "Assistant"}
    for line, one in zip(path.open(), found.comparisons, strict=True):
        prompt = "".join(f"\n\n{names[m['role']]}: {m['content']}" for m in one.messages)
        ((better, worse),) = one.pairs()
        sides = {"chosen": f"{prompt}\n\nAssistant: {better}"}
        assert sides | {"rejected": f"{prompt}\n\nAssistant: {worse}"} == json.loads(line)
    rows = [f"harmless_a.jsonl:{n}" for n in (87, 517, 926, 1104)]
    assert dict(read_preferences(path).left_out) == {"an answer is empty": rows}


def test_the_real_trees_give_every_pair_of_ranks(data: Path) -> None:
    path = data / "oasst/en_100_tree.jsonl"
    pairs = 0

    def count(node: dict[str, Any]) -> None:
        nonlocal pairs
        ranked = sum("rank" in one for one in node["replies"])
        pairs += ranked * (ranked - 1) // 2
        for one in node["replies"]:
            count(one)

    for line in path.open():
        count(json.loads(line)["prompt"])
    assert read_preferences(path).pairs == pairs == 754


def test_an_artifact_holds_what_was_read_and_tells_what_was_left_out(
    data: Path, store: Store
) -> None:
    source = str(data / "hh_rlhf/harmless_a.jsonl")
    artifact = open_comparisons(source, store)
    assert (artifact.kind, artifact.name) == ("comparisons", "comparisons-harmless_a")
    assert artifact.metrics["comparisons"] == 1152
    assert artifact.metrics["left_out"][0]["rows"][0] == "harmless_a.jsonl:87"
    again = comparisons_of(artifact, store)
    assert [one.to_json() for one in again] == [
        one.to_json() for one in read_preferences(Path(source)).comparisons
    ]
    # What was made once is read again as it is, and made again it is the same.
    assert open_comparisons(artifact.name, store) == artifact
    assert open_comparisons(source, store).digest == artifact.digest
    (own,) = [store.path(artifact) / "comparisons.jsonl"]
    assert read_preferences(own).shape == "langwright"
    with store.writing("other", "corpus") as draft:
        (draft.folder / "text.txt").write_text("x")
    with pytest.raises(BadInput, match="kind corpus"):
        open_comparisons("other", store)
