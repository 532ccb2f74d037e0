"""Asking a model the questions kept back, and grading the form of what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langwright.backend import Backend, Request, Sampling
from langwright.evaluation import follows_format
from langwright.lifecycle.questions import Question
from langwright.progress import progress

MAX_TOKENS = 64


def ask_all(backend: Backend, questions: Sequence[Question], title: str) -> list[dict[str, Any]]:
    """Greedy answers with their verdicts: prompt, term, answer, ok, reasons."""
    sampling = Sampling(temperature=0.0)
    requests = {
        (
            request := Request(
                messages=[{"role": "user", "content": question.prompt}],
                max_tokens=MAX_TOKENS + 1,  # the end-of-turn token counts here
                sampling=sampling,
            )
        ).id: (request, question)
        for question in questions
    }
    texts = dict.fromkeys(requests, "")
    graded: dict[str, dict[str, Any]] = {}
    with progress(title, len(requests)) as bar:
        for event in backend.generate([request for request, _ in requests.values()]):
            texts[event.request_id] += event.text
            if event.finish_reason is None or event.usage is None:
                continue
            ended = event.finish_reason == "stop"
            question = requests[event.request_id][1]
            answer = texts[event.request_id].strip()
            tokens = event.usage.completion_tokens - ended
            verdict = follows_format(question.term, answer, ended, tokens, MAX_TOKENS)
            graded[event.request_id] = {
                "prompt": question.prompt,
                "term": question.term,
                "answer": answer,
                "ok": verdict.ok,
                "reasons": list(verdict.reasons),
            }
            bar.advance(1)
    return [graded[request_id] for request_id in requests]
