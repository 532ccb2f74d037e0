"""A task: what is asked of a model, and how its answers are read. One small TOML file."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from langwright.config import Settings, read_toml
from langwright.errors import BadSettings, NotFound, suggest
from langwright.evaluation.graders import Exact, Grader

Kind = Literal["multiple_choice", "continuation", "generation", "perplexity", "preference"]

_LIKELY = {"choices", "answer", "delimiter", "fewshot_answer"}
_SHOTS = {"description", "num_fewshot", "fewshot_data", "fewshot_order", "fewshot_separator"}
_DRAWN = {"max_tokens", "stop", "temperature", "top_k", "top_p", "chat"}
_FIELDS: dict[Kind, set[str]] = {
    "multiple_choice": _LIKELY | _SHOTS,
    "continuation": (_LIKELY | _SHOTS) - {"choices"},
    "generation": (_LIKELY | _SHOTS | _DRAWN | {"grader", "samples", "chain_of_thought", "extract"})
    - {"choices"},
    "perplexity": {"window", "stride"},
    "preference": _DRAWN | {"description", "candidate", "against"},
}
_COMMON = {"name", "kind", "data", "prompt"}


class Task(Settings):
    """What is asked, row by row of the `data`, and what counts as an answer.

    `kind`: `multiple_choice` (the likeliest of given choices), `continuation` (how likely the
    given one is), `generation` (an answer that a grader reads), `perplexity` (whole texts) and
    `preference` (a judge compares two answers). `data` is a JSON-lines file, relative to the task.

    `description` and `prompt` are Jinja templates over a row's fields; `choices`, `answer`,
    `candidate` and `against` are Jinja expressions. An answer to a multiple choice is an index
    from 0, the text of a choice, or its letter; others are a text or a list of texts that are all
    right. Between prompt and answer stands the `delimiter`.

    Examples: `num_fewshot` others are put before each prompt, behind each the `fewshot_separator`;
    they come from `fewshot_data`, or from the data itself without the row that is asked; `drawn`
    for each row anew, or the `first` of the file for all. They show `fewshot_answer` (a template)
    where it is given, and else the answer.

    Generation: `max_tokens`, `stop`, `temperature`, `top_k`, `top_p` as in `Sampling`; `chat`
    goes through the model's chat template. `chain_of_thought` is put behind the prompt, so that
    the model reasons first; `extract` is a regular expression whose last match (its first group)
    is the answer. With `samples` above 1 that many answers are drawn and the commonest counts
    (self-consistency, Wang et al. 2022).

    Preference: the model's answer to the prompt, or `candidate` where that is given, stands
    against `against`. Perplexity: `window` and `stride` in tokens, as in `score`.
    """

    name: str
    kind: Kind
    data: str = ""
    description: str = ""
    prompt: str = "{{ prompt }}"
    choices: str = "choices"
    answer: str = "answer"
    delimiter: str = " "
    num_fewshot: Annotated[int, Field(ge=0)] = 0
    fewshot_data: str = ""
    fewshot_order: Literal["drawn", "first"] = "drawn"
    fewshot_separator: str = "\n\n"
    fewshot_answer: str = ""
    grader: Grader = Exact()
    max_tokens: Annotated[int, Field(ge=1)] = 256
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    chat: bool = False
    chain_of_thought: str = ""
    extract: str = ""
    samples: Annotated[int, Field(ge=1)] = 1
    candidate: str = ""
    against: str = "against"
    window: int | None = None
    stride: int | None = None

    @field_validator("grader", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        odd = self.model_fields_set - _COMMON - _FIELDS[self.kind]
        if odd:
            raise ValueError(f"a {self.kind} task has no {', '.join(sorted(odd))}")
        if self.candidate and (idle := self.model_fields_set & _DRAWN):
            raise ValueError(f"nothing is drawn with a candidate, so {min(idle)} has no use")
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("several samples need a temperature above 0, or all are alike")
        if self.samples > 1 and not self.grader.votes and self.grader.kind != "code":
            raise ValueError(f"answers cannot be put to the vote by the grader {self.grader.kind}")
        return self

    def changed(self, **values: Any) -> Task:
        """The same task with other values; None leaves what is there."""
        given = {key: value for key, value in values.items() if value is not None}
        return Task.build({**self.model_dump(exclude_unset=True), **given})

    def fingerprint(self, digest: str) -> str:
        """Of the task and of data with this `digest`: results of the same one can be compared."""
        told = json.dumps([self.model_dump(mode="json"), digest], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def built_in() -> list[str]:
    """Names of the tasks that come with the package."""
    folder = resources.files("langwright.evaluation") / "tasks"
    return sorted(Path(entry.name).stem for entry in folder.iterdir())


def read_task(name: str) -> tuple[Task, Path | None]:
    """The task of a built-in name or of a TOML file, and the folder that its paths start from
    (None for a built-in one)."""
    if name in built_in():
        file = Path(str(resources.files("langwright.evaluation") / "tasks" / f"{name}.toml"))
        folder = None
    else:
        file = Path(name).expanduser()
        folder = file.parent
    if file.suffix != ".toml" and not file.exists():
        raise NotFound(f"There is no task '{name}'.", remedy=suggest(name, built_in()))
    values = read_toml(file)
    try:
        return Task.build({"name": file.stem, **values}), folder
    except BadSettings as error:
        raise BadSettings(f"{file.name}: {error.message}", remedy=error.remedy) from None
