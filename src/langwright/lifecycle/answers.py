"""Asking a model questions, and grading the form and the words of what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langwright.backend import Backend, Request, Sampling
from langwright.evaluation import follows_format
from langwright.evaluation.rewards import overlap
from langwright.lifecycle.questions import Question
from langwright.progress import progress

MAX_TOKENS = 64


def ask_all(
    backend: Backend,
    questions: Sequence[Question],
    title: str,
    *,
    answers: int = 1,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """`answers` to each question, side by side, with their verdicts: prompt, term, right, answer,
    ok, reasons, and closeness: the F1 of its words against the right answer's (None without one).
    Temperature 0 takes the likeliest tokens."""
    requests = [
        Request(
            messages=[{"role": "user", "content": question.prompt}],
            max_tokens=MAX_TOKENS + 1,  # the end-of-turn token counts here
            n=answers,
            sampling=Sampling(temperature, seed=seed + answers * number),
            id=str(number),
        )
        for number, question in enumerate(questions)
    ]
    texts = [["" for _ in range(answers)] for _ in questions]
    graded: dict[tuple[int, int], dict[str, Any]] = {}
    with progress(title, len(questions) * answers) as bar:
        for event in backend.generate(requests):
            number = int(event.request_id)
            texts[number][event.index] += event.text
            if event.finish_reason is None or event.usage is None:
                continue
            ended = event.finish_reason == "stop"
            question = questions[number]
            answer = texts[number][event.index].strip()
            tokens = event.usage.completion_tokens - ended
            verdict = follows_format(question.term, answer, ended, tokens, MAX_TOKENS)
            graded[number, event.index] = {
                **vars(question),
                "answer": answer,
                "ok": verdict.ok,
                "reasons": list(verdict.reasons),
                "closeness": None if question.right is None else overlap(answer, question.right),
            }
            bar.advance(1)
    return [graded[place] for place in sorted(graded)]
