"""What a run goes by: constitution, prompts and helpful conversations, read once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from langwright.errors import BadInput
from langwright.store import Artifact, Store
from langwright.store.artifact import canonical_json
from langwright.training.constitutional.principles import Constitution, read_constitution
from langwright.training.constitutional.prompts import (
    Question,
    read_prompts,
    read_questions,
    require_apart,
)
from langwright.training.constitutional.settings import ConstitutionSettings
from langwright.training.lines import open_lines


@dataclass(frozen=True)
class Materials:
    """Raises `NotFound`, `BadSettings` and `BadInput` where something is not as it must be."""

    settings: ConstitutionSettings
    store: Store

    def check(self) -> None:
        """Read all; raises `BadInput` where what is learnt from is measured on, too."""
        require_apart(self.prompts, self.held_out)
        require_apart(self.prompts, [one.prompt for one in self.questions])
        require_apart(
            [
                said["content"]
                for one in self.helpful_lines
                for said in one["messages"]
                if said["role"] == "user" and isinstance(said["content"], str)
            ],
            [*self.held_out, *(one.prompt for one in self.questions)],
        )

    @cached_property
    def constitution(self) -> Constitution:
        return read_constitution(self.settings.constitution)

    @cached_property
    def prompts(self) -> list[str]:
        return read_prompts(self.settings.prompts, "red")

    @cached_property
    def held_out(self) -> list[str]:
        return read_prompts(self.settings.held_out, "held_out")

    @cached_property
    def questions(self) -> list[Question]:
        return read_questions(self.settings.helpful_held_out)

    @cached_property
    def helpful(self) -> Artifact | None:
        if self.settings.helpful is None:
            return None
        shape = '{"messages": [...]}'
        return open_lines(self.settings.helpful, "conversations", shape, self.store)

    @cached_property
    def helpful_lines(self) -> list[Any]:
        if self.helpful is None:
            return []
        path = self.store.path(self.helpful) / "conversations.jsonl"
        lines = path.read_bytes().splitlines()
        return [_conversation(n, line) for n, line in enumerate(lines, 1) if line.strip()]

    @cached_property
    def sources(self) -> dict[str, str]:
        """What the run goes by, file by file."""
        plain = [{"prompt": one.prompt, "expects": one.expects} for one in self.questions]
        values = {
            "constitution.json": self.constitution.model_dump(mode="json"),
            "prompts.json": self.prompts,
            "held_out.json": self.held_out,
            "helpful_held_out.json": plain,
        }
        return {
            file: json.dumps(value, ensure_ascii=False, indent=1) + "\n"
            for file, value in values.items()
        }

    @cached_property
    def fingerprint(self) -> str:
        """Changes with what the files say that the settings name."""
        return hashlib.sha256(canonical_json(self.sources).encode()).hexdigest()[:16]


def _conversation(number: int, line: bytes) -> Any:
    try:
        found = json.loads(line)
        said = [(one["role"], one["content"]) for one in found["messages"]]
    except (ValueError, KeyError, TypeError):
        said = []
    if not said:
        raise BadInput(
            f"Line {number} of the helpful conversations is none.",
            remedy='Write one {"messages": [{"role", "content"}, …]} a line.',
        )
    return found
