"""Tasks in TOML, rows of one's own, and the prompts made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from langwright.errors import BadInput, BadSettings, NotFound, Unsupported
from langwright.evaluation import Task, built_in, read_task
from langwright.evaluation.guess import guess_task
from langwright.evaluation.item import make_items
from langwright.evaluation.rows import Rows, find_data, read_rows
from langwright.evaluation.template import render, value_of

Write = Callable[..., str]


def rows(*given: dict[str, Any]) -> Rows:
    return Rows(Path("rows.jsonl"), list(given), "digest")


QUIZ = [
    {"question": f"{n} + {n}?", "choices": [str(2 * n), str(n)], "answer": 0} for n in range(1, 30)
]


def test_the_built_in_tasks_read_the_test_data(data: Path) -> None:
    assert len(built_in()) >= 8
    for name in built_in():
        task, folder = read_task(name)
        found = read_rows(find_data(task, folder, None))
        items = make_items(task, found, None, seed=0, limit=20)
        assert items
        for item in items:
            assert item.question
            assert len(item.shots) == task.num_fewshot
            if task.kind == "multiple_choice":
                assert item.choices[item.gold] == item.answers[0]


def test_a_task_of_ones_own(write: Write, tmp_path: Path) -> None:
    path = write("sums.toml", 'kind = "generation"\ndata = "d.jsonl"\ngrader = "number"\n')
    write("d.jsonl", [{"prompt": "1 + 1 =", "answer": 2}])
    task, folder = read_task(path)
    assert (task.name, task.grader.kind) == ("sums", "number")
    assert find_data(task, folder, None) == tmp_path / "d.jsonl"
    (item,) = make_items(task, read_rows(tmp_path / "d.jsonl"), None, 0)
    assert (item.context(task), item.answers) == ("1 + 1 =", ("2",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('kind = "guessing"', "'kind'"),
        ('kind = "perplexity"\ngrader = "exact"', "has no grader"),
        ('kind = "multiple_choice"\nsamples = 3', "has no samples"),
        ('kind = "perplexity"\ndescription = "x"', "has no description"),
        ('kind = "preference"\ncandidate = "a"\ntop_k = 3', "top_k has no use"),
        ('kind = "generation"\nsamples = 3', "temperature above 0"),
        ('kind = "generation"\nsamples = 3\ntemperature = 1\ngrader = "format"', "to the vote"),
        ('kind = "generation"\nmax_token = 3', "max_tokens"),
        ('kind = "generation"\n[grader]\nkind = "number"\ntolerances = 1', "tolerances"),
        ('kind = "generation"\ngrader = "nummer"', "grader"),
    ],
)
def test_a_wrong_task_is_refused(write: Write, text: str, said: str) -> None:
    with pytest.raises(BadSettings, match=r"t\.toml: .*") as caught:
        read_task(write("t.toml", text))
    assert said in str(caught.value)


def test_what_is_not_there_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound, match="arc_easy"):
        read_task("arc_esy")
    monkeypatch.delenv("LANGWRIGHT_TEST_DATA", raising=False)
    task, folder = read_task("copa")
    with pytest.raises(NotFound, match="--data"):
        find_data(task, folder, None)
    with pytest.raises(BadInput, match="line 2"):
        read_rows(Path(write("d.jsonl", '{"a": 1}\nnonsense\n')))
    with pytest.raises(BadInput, match="no JSON object"):
        read_rows(Path(write("d.jsonl", "[1]\n")))
    with pytest.raises(BadInput, match="no rows"):
        read_rows(Path(write("d.jsonl", "\n")))
    with pytest.raises(NotFound, match="no file"):
        read_rows(Path("nowhere.jsonl"))


def test_parquet_has_the_same_rows(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(QUIZ), tmp_path / "quiz.parquet")
    assert read_rows(tmp_path / "quiz.parquet").rows == QUIZ


@pytest.mark.parametrize(
    ("row", "kind", "grader"),
    [
        ({"question": "q", "choices": ["a", "b"], "answer": "B"}, "multiple_choice", None),
        ({"query": "q", "choices": ["a", "b"], "gold": 0}, "multiple_choice", None),
        ({"prompt": "q", "answer": "Paris"}, "generation", "exact"),
        ({"question": "q", "answer": "1,200"}, "generation", "number"),
        ({"question": "q", "answer": 3.5}, "generation", "number"),
        ({"prompt": "q", "test": "t", "entry_point": "f"}, "generation", "code"),
        ({"prompt": "q", "rules": {"json": True}}, "generation", "format"),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, "preference", None),
        ({"context": "c", "continuation": "d"}, "continuation", None),
        ({"text": "t"}, "perplexity", None),
    ],
)
def test_rows_of_ones_own_are_recognised(row: dict[str, Any], kind: str, grader: str) -> None:
    task = guess_task(rows(row, row), "mine")
    assert (task.name, task.kind) == ("mine", kind)
    assert grader is None or task.grader.kind == grader
    assert len(make_items(task, rows(row, row), None, 0)) == 2


def test_rows_that_are_nothing_known_are_refused() -> None:
    with pytest.raises(BadInput, match="a, b") as caught:
        guess_task(rows({"a": 1, "b": 2}), "mine")
    assert '"choices"' in caught.value.remedy
    with pytest.raises(BadInput, match="none"):  # only one row says an answer
        guess_task(rows({"prompt": "q", "answer": "x"}, {"text": "t"}), "mine")


def test_the_right_choice_is_an_index_a_text_or_a_letter() -> None:
    task = Task(name="t", kind="multiple_choice")

    def gold(answer: Any, *choices: str) -> int:
        row = {"prompt": "q", "choices": list(choices), "answer": answer}
        return make_items(task, rows(row), None, 0)[0].gold

    assert gold(1, "x", "y") == 1
    assert gold("y", "x", "y") == 1
    assert gold("B", "x", "y") == 1
    assert gold("B", "B", "A") == 0  # the text before the letter
    for wrong in (2, -1, True, "C", "z", None, 0.0):
        with pytest.raises(BadInput, match="none of the 2 choices"):
            gold(wrong, "x", "y")
    with pytest.raises(BadInput, match="the choices are"):
        gold(0, "x")


def test_examples_are_other_rows_and_a_function_of_seed_and_row() -> None:
    task = Task(name="t", kind="multiple_choice", prompt="{{ question }}", num_fewshot=3)
    items = make_items(task, rows(*QUIZ), None, seed=1)
    for item in items:
        assert item.question not in [question for question, _ in item.shots]
        assert len(set(item.shots)) == 3
    assert items[:5] == make_items(task, rows(*QUIZ), None, seed=1, limit=5)
    assert items != make_items(task, rows(*QUIZ), None, seed=2)
    assert len({item.shots for item in items}) > 20
    asked = items[0]
    shown = "".join(f"{question} {answer}\n\n" for question, answer in asked.shots)
    assert asked.context(task) == shown + asked.question


def test_the_first_rows_of_other_data_serve_all() -> None:
    task = Task(
        name="t",
        kind="generation",
        prompt="{{ question }}",
        answer="choices[answer]",
        fewshot_answer="It is {{ choices[answer] }}.",
        fewshot_order="first",
        num_fewshot=2,
        description="Sums of {{ choices | length }}.\n",
    )
    items = make_items(task, rows(*QUIZ[5:]), rows(*QUIZ[:5]), seed=0)
    assert {item.shots for item in items} == {(("1 + 1?", "It is 2."), ("2 + 2?", "It is 4."))}
    assert items[0].messages() == [
        {"role": "system", "content": "Sums of 2.\n"},
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "It is 2."},
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "It is 4."},
        {"role": "user", "content": "6 + 6?"},
    ]
    with pytest.raises(BadInput, match="too few rows"):
        make_items(task.changed(num_fewshot=6), rows(*QUIZ), rows(*QUIZ[:5]), seed=0)


def test_templates_run_in_the_sandbox_and_know_their_row() -> None:
    row = {"word": "cat", "many": [1, 2]}
    assert render("{{ word | upper }}\n", row, "r") == "CAT\n"
    assert value_of("many[1]", row, "r") == 2
    assert render("{{ word | regex_replace('[aeiou]', '') }}", row, "r") == "ct"
    for wrong in ("{{ wrod }}", "{{ word.__class__.__mro__ }}", "{{ many.append(3) }}"):
        with pytest.raises(BadInput, match=r"row 7: .* cannot be filled in"):
            render(wrong, row, "row 7")
    with pytest.raises(BadInput, match="'wrod' is undefined"):
        value_of("wrod", row, "r")
    with pytest.raises(BadSettings, match="not valid Jinja"):
        render("{{ word", row, "r")


def test_a_fingerprint_tells_tasks_and_data_apart() -> None:
    task, _ = read_task("copa")
    same = task.fingerprint("digest")
    assert same == read_task("copa")[0].fingerprint("digest")
    assert same != task.fingerprint("other")
    assert same != task.changed(num_fewshot=1).fingerprint("digest")


def test_programs_are_refused_where_they_cannot_be_isolated(
    scripted: Any, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langwright.evaluation import answering, evaluate
    from langwright.providers import Model

    monkeypatch.setattr(answering, "available", lambda: "Programs cannot be isolated here.")
    row = {"prompt": "def f():\n", "test": "def check(f): pass", "entry_point": "f"}
    model = Model(scripted(lambda request, turn: "    return 1"))
    with pytest.raises(Unsupported, match="cannot be isolated"):
        evaluate(model, write("p.jsonl", [row]))
    assert model.backend.requests == []  # refused before anything is generated
