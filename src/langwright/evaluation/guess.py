"""The task that a person's own rows are meant for, told from their fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langwright.errors import BadInput
from langwright.evaluation.graders import last_number
from langwright.evaluation.rows import Rows
from langwright.evaluation.task import Task

PROMPTS = ("prompt", "question", "query", "instruction", "input")
ANSWERS = ("answer", "gold", "label", "target", "output", "completion", "response")

FORMS = (
    '{"question", "choices", "answer"} for multiple choice; {"question", "answer"} for answers; '
    '{"context", "continuation"}; {"prompt", "test", "entry_point"} for programs; {"prompt", '
    '"rules"} for rules of form; {"prompt", "chosen", "rejected"} for preference; {"text"} for '
    "perplexity"
)


def guess_task(rows: Rows, name: str, brief: bool = True) -> Task:
    """The task of a JSON-lines file without one: its kind is recognised from the fields that all
    rows have. A `brief` answer ends with its paragraph; that of a chat or a chain of thought does
    not. Raises `BadInput` that lists what is recognised."""
    fields = set(rows.rows[0])
    for row in rows.rows:
        fields &= set(row)
    prompt = next((one for one in PROMPTS if one in fields), None)
    answer = next((one for one in ANSWERS if one in fields), None)
    values = _by_fields(fields, prompt, answer, rows, brief)
    if values is None:
        raise BadInput(
            f"What is to be done with {rows.path} is not clear: its rows share the fields "
            f"{', '.join(sorted(fields)) or 'none'}.",
            remedy=f"Known are {FORMS}. Or write a task in TOML that names the fields.",
        )
    return Task.build({"name": name, **values})


def _by_fields(
    fields: set[str], prompt: str | None, answer: str | None, rows: Rows, brief: bool
) -> dict[str, Any] | None:
    if prompt is not None:
        asked = _template(prompt)
        if "choices" in fields and answer is not None:
            return {"kind": "multiple_choice", "prompt": asked, "answer": answer}
        if {"chosen", "rejected"} <= fields:
            return {
                "kind": "preference",
                "prompt": "{{ " + prompt + " }}",
                "candidate": "chosen",
                "against": "rejected",
            }
        if {"test", "entry_point"} <= fields:
            return _programs(prompt)
        if "rules" in fields:
            grader = {"kind": "format", "row_rules": "rules"}
            return {"kind": "generation", "prompt": asked, "grader": grader}
        if answer is not None:
            return {
                "kind": "generation",
                "prompt": asked,
                "answer": answer,
                "grader": "number" if _numbers([row[answer] for row in rows.rows]) else "exact",
                "stop": ["\n\n", "\nQuestion:"] if brief else [],
            }
    if {"context", "continuation"} <= fields:
        return {"kind": "continuation", "prompt": "{{ context }}", "answer": "continuation"}
    if "text" in fields and prompt is None:
        return {"kind": "perplexity", "prompt": "{{ text }}"}
    return None


def _template(prompt: str) -> str:
    """A bare question is put as lm-eval puts them; what is called a prompt is one already."""
    return "Question: {{ question }}\nAnswer:" if prompt == "question" else "{{ " + prompt + " }}"


def _programs(prompt: str) -> dict[str, Any]:
    program = "{{ " + prompt + " }}{{ completion }}\n{{ test }}\ncheck({{ entry_point }})\n"
    return {
        "kind": "generation",
        "prompt": "{{ " + prompt + " }}",
        "grader": {"kind": "code", "program": program},
        "max_tokens": 512,
        "stop": ["\nclass", "\ndef", "\n#", "\nif", "\nprint"],
    }


def _numbers(answers: Sequence[Any]) -> bool:
    """Whether each answer is a number and nothing else."""
    return all(
        not isinstance(one, bool)
        and (
            isinstance(one, int | float)
            or (
                isinstance(one, str)
                and last_number(one) is not None
                and not any(letter.isalpha() for letter in one)
            )
        )
        for one in answers
    )
